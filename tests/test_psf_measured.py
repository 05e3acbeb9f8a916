"""Measured PSFs and banks in files: what was measured is read, what was saved comes back, the rest is refused."""

import json
import math
import pickle

import numpy as np
import pytest
import zarr

from defocal import InputError
from defocal.synth import PsfBank, ThinLens
from defocal.synth.psf_files import bank_arrays, bank_attributes, bank_from
from defocal.synth.psf_sampled import SampledBank

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=5e-5)
DEPTHS = np.array([1.0, 1.6, 2.0, 3.5])


def write(tmp_path, name="measured.npz", **arrays):
    path = tmp_path / name
    np.savez(path, **arrays)
    return path


def blob(size=21, centre=(10.0, 10.0), sigma=(1.0, 1.0)):
    y, x = np.mgrid[:size, :size]
    return np.exp(-(((y - centre[0]) / sigma[0]) ** 2 + ((x - centre[1]) / sigma[1]) ** 2) / 2)


def stack(centre=(10.0, 10.0)):
    """One spot for each of `DEPTHS`, narrowest where the lens is focused."""
    return np.stack([blob(centre=centre, sigma=(s, 1.3 * s)) for s in (2.0, 1.3, 0.9, 1.7)])


def centroid(kernel):
    middle = np.array(kernel.shape) // 2
    y, x = (np.arange(n) - m for n, m in zip(kernel.shape, middle, strict=True))
    return kernel.sum(axis=1) @ y / kernel.sum(), kernel.sum(axis=0) @ x / kernel.sum()


def test_planes_are_sorted_and_normalised(tmp_path):
    order = [2, 0, 3, 1]
    psf = stack()
    bank = PsfBank.measured(write(tmp_path, psf=psf[order] * 7, depth=DEPTHS[order]), LENS)
    np.testing.assert_allclose(bank.coc, np.sort(LENS.coc(DEPTHS)), rtol=1e-12)
    np.testing.assert_allclose(bank.depth, DEPTHS[::-1], rtol=1e-9)
    assert bank.kernels.shape == (4, 1, 21, 21)
    np.testing.assert_allclose(bank.kernels.sum(axis=(2, 3)), 1, atol=1e-6)
    expected = psf[::-1] / psf[::-1].sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(bank.kernels[:, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(bank.energy, np.ones((4, 1)))
    np.testing.assert_allclose(bank.kernel(LENS.coc(1.6)), expected[2], atol=1e-6)
    assert bank.facts["kind"] == "measured"
    json.dumps(bank.facts)


def test_planes_may_be_given_by_coc(tmp_path):
    coc = np.array([3.0, -2.0, 0.5, 1.0], np.float32)
    bank = PsfBank.measured(write(tmp_path, psf=stack(), coc=coc), LENS)
    np.testing.assert_array_equal(bank.coc, [-2.0, 0.5, 1.0, 3.0])


@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "i8", ">f4"])
def test_any_type_of_number_is_read(tmp_path, dtype):
    psf = np.round(stack() * 200).astype(dtype)
    bank = PsfBank.measured(write(tmp_path, psf=psf, depth=DEPTHS, centre=[10, 10]), LENS)
    expected = psf.astype(float)[::-1]
    np.testing.assert_allclose(bank.kernels[:, 0], expected / expected.sum(axis=(1, 2), keepdims=True), atol=1e-6)


def test_channels_may_stand_first_or_last(tmp_path):
    colours = stack()[:, None] * np.array([1.0, 2.0, 3.0])[:, None, None] + np.arange(3)[:, None, None] * 0.01
    first = PsfBank.measured(write(tmp_path, "a.npz", psf=colours, depth=DEPTHS), LENS)
    last = PsfBank.measured(write(tmp_path, "b.npz", psf=np.moveaxis(colours, 1, 3), depth=DEPTHS), LENS)
    assert first.channels == 3
    np.testing.assert_array_equal(first.kernels, last.kernels)
    np.testing.assert_allclose(first.kernels.sum(axis=(2, 3)), 1, atol=1e-6)
    assert first.kernel(0.0).shape[0] == 3


@pytest.mark.parametrize("centre", [(8.0, 11.0), (10.3, 9.8), (9.5, 10.5)])
def test_the_sharpest_plane_is_centred_and_the_others_go_with_it(tmp_path, centre):
    psf = stack(centre)
    psf[0] = blob(centre=(centre[0] + 1.4, centre[1] - 0.7), sigma=(1.5, 1.5))
    bank = PsfBank.measured(write(tmp_path, psf=psf, depth=DEPTHS), LENS)
    np.testing.assert_allclose(centroid(bank.kernels[1, 0]), (0, 0), atol=2e-3)
    np.testing.assert_allclose(centroid(bank.kernels[-1, 0]), (1.4, -0.7), atol=5e-3)
    assert (bank.kernels >= 0).all()
    np.testing.assert_array_equal(bank.energy, np.ones((4, 1)))


def test_a_shift_by_a_fraction_is_linear_interpolation(tmp_path):
    psf = np.zeros((1, 5, 5))
    psf[0, 2, 2] = 1
    bank = PsfBank.measured(write(tmp_path, psf=psf, depth=[2.0], centre=[2.25, 2.0]), LENS)
    kernel = bank.kernels[0, 0]
    middle = kernel.shape[0] // 2
    np.testing.assert_allclose(kernel[middle - 1 : middle + 1, middle], [0.25, 0.75], atol=1e-7)
    assert kernel.sum() == pytest.approx(1)


@pytest.mark.parametrize("ratio", [0.25, 0.7, 1.9, 3.0])
def test_another_pitch_keeps_energy_centroid_and_size(tmp_path, ratio):
    """The variance scales with the pitch, and each of the two pixels adds 1/12 of its square."""
    sigma = 2.0 / min(ratio, 1.0)
    psf = np.stack([blob(101, (50.2, 49.9), (s * sigma, s * sigma)) for s in (1.5, 1.2, 1.0, 1.1)])
    psf[3] = blob(101, (51.0, 49.0), (1.2 * sigma, 1.1 * sigma))
    path = write(tmp_path, psf=psf, depth=DEPTHS, pixel_pitch=LENS.pixel_pitch * ratio)
    bank = PsfBank.measured(path, LENS)
    np.testing.assert_array_equal(bank.energy, np.ones((4, 1)))
    sharp, far = bank.kernels[1, 0].astype(float), bank.kernels[0, 0].astype(float)
    np.testing.assert_allclose(centroid(sharp), (0, 0), atol=1e-2)
    np.testing.assert_allclose(centroid(far), (0.8 * ratio, -0.9 * ratio), atol=1e-2)
    x = np.arange(sharp.shape[0]) - sharp.shape[0] // 2
    variance = sharp.sum(axis=1) @ x**2
    assert variance == pytest.approx((sigma * ratio) ** 2 + ratio**2 / 12 + 1 / 12, rel=0.01)


def test_whole_ratios_of_pitch_are_exact(tmp_path):
    psf = np.random.default_rng(0).random((1, 5, 5))
    fine = PsfBank.measured(
        write(tmp_path, psf=psf, depth=[2.0], centre=[2, 2], pixel_pitch=3 * LENS.pixel_pitch), LENS
    )
    np.testing.assert_allclose(fine.kernels[0, 0], np.kron(psf[0], np.ones((3, 3))) / 9 / psf.sum(), atol=1e-7)
    big = np.kron(psf, np.ones((1, 3, 3)))
    same = PsfBank.measured(
        write(tmp_path, psf=big, depth=[2.0], centre=[7, 7], pixel_pitch=LENS.pixel_pitch / 3), LENS
    )
    np.testing.assert_allclose(same.kernels[0, 0], psf[0] / psf.sum(), atol=1e-7)


@pytest.mark.parametrize("background", [0.3, [0.1, 0.2, 0.3, 0.4]])
def test_the_background_goes(tmp_path, background):
    psf = stack()
    noise = np.reshape(background, (-1, 1, 1))
    clean = PsfBank.measured(write(tmp_path, "a.npz", psf=psf, depth=DEPTHS), LENS)
    bank = PsfBank.measured(write(tmp_path, "b.npz", psf=psf + noise, depth=DEPTHS, background=background), LENS)
    np.testing.assert_allclose(bank.kernels, clean.kernels, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 8, 21, 30])
def test_a_crop_says_what_it_keeps(tmp_path, size):
    path = write(tmp_path, psf=stack(), depth=DEPTHS)
    whole, bank = PsfBank.measured(path, LENS), PsfBank.measured(path, LENS, size=size)
    assert bank.kernels.shape == (4, 1, size, size)
    low = max(0, 10 - size // 2)
    window = whole.kernels[:, :, low : 10 - size // 2 + size, low : 10 - size // 2 + size].astype(float)
    np.testing.assert_allclose(bank.energy, window.sum(axis=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(bank.kernels.sum(axis=(2, 3)), 1, atol=1e-6)
    middle = bank.kernels[:, 0, size // 2, size // 2] * bank.energy[:, 0]
    np.testing.assert_allclose(middle, whole.kernels[:, 0, 10, 10], rtol=1e-5)


def bad(**changes):
    arrays = {"psf": stack(), "depth": DEPTHS, **changes}
    return {name: value for name, value in arrays.items() if value is not None}


def spoiled(value, count=3):
    psf = stack()
    psf[2, 4, :count] = value
    return psf


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (bad(psf=None), "no array 'psf'"),
        (bad(psf=np.ones((4, 5))), r"shape \(4, 5\)"),
        (bad(psf=np.ones((4, 5, 5, 2))), "shape"),
        (bad(psf=np.ones((0, 5, 5))), "shape"),
        (bad(psf=np.ones((4, 5, 5), complex)), "complex"),
        (bad(psf=np.full((4, 5, 5), "x")), "values"),
        (bad(psf=spoiled(np.nan)), "plane 2 of 'psf' has 3 values that are not finite"),
        (bad(psf=spoiled(np.inf, 2)), "plane 2 of 'psf' has 2 values that are not finite"),
        (bad(psf=spoiled(-1e-6, 1)), "plane 2 of 'psf' has 1 values that are negative"),
        (bad(background=np.ones(3)), "'background' has shape"),
        (bad(background=np.nan), "'background'.*finite"),
        (bad(background=2.0), "plane 0 of 'psf', channel 0, has no light"),
        (bad(depth=None), "neither"),
        (bad(coc=np.arange(4.0)), "both"),
        (bad(depth=DEPTHS[:3]), r"shape \(3,\).*4 planes"),
        (bad(depth=np.array(["a", "b", "c", "d"])), "'depth'"),
        (bad(depth=[1.0, 2.0, 0.0, 3.0]), "'depth' of plane 2 is 0.0"),
        (bad(depth=[1.0, np.nan, 2.0, 3.0]), "'depth' of plane 1 is nan"),
        (bad(depth=[1.0, 2.0, 3.0, 1.0]), "planes 0 and 3 .* same CoC"),
        (bad(depth=None, coc=[1.0, 0.0, 2.0, 2.0]), "planes 2 and 3 .* same CoC"),
        (bad(depth=None, coc=[1.0, 0.0, np.inf, 2.0]), "'coc' of plane 2 is inf"),
        (bad(pixel_pitch=0.0), "'pixel_pitch'"),
        (bad(pixel_pitch=[1e-6, 1e-6]), "'pixel_pitch'"),
        (bad(pixel_pitch=1.0), "check 'pixel_pitch'"),
        (bad(centre=[1.0]), "'centre'"),
        (bad(centre=[40.0, 3.0]), "'centre'"),
        (bad(psf=np.array([None, 1], dtype=object)), "Python objects"),
    ],
)
def test_wrong_measurements_are_refused(tmp_path, arrays, message):
    path = write(tmp_path, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        PsfBank.measured(path, LENS)
    assert len(str(caught.value).splitlines()) == 1
    assert "pixel_pitch" in message or str(path) in str(caught.value)


@pytest.mark.parametrize("size", [0, -3, 2.5, 9999])
def test_wrong_sizes_are_refused(tmp_path, size):
    with pytest.raises(InputError, match="size"):
        PsfBank.measured(write(tmp_path, psf=stack(), depth=DEPTHS), LENS, size=size)


def test_a_window_without_light_is_refused(tmp_path):
    psf = np.zeros((2, 9, 9))
    psf[0, 4, 4] = psf[1, 0, 0] = psf[1, 8, 8] = 1
    with pytest.raises(InputError, match="no light of plane 1"):
        PsfBank.measured(write(tmp_path, psf=psf, depth=[2.0, 1.0]), LENS, size=3)


@pytest.mark.parametrize("read", [lambda p: PsfBank.measured(p, LENS), PsfBank.load])
def test_files_that_are_no_archives_are_refused(tmp_path, read):
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"folder"):
        read(tmp_path)
    for name, content in (("empty.npz", b""), ("text.npz", b"PSF"), ("object.npz", pickle.dumps({"psf": 1}))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is damaged or not"):
            read(tmp_path / name)
    np.save(tmp_path / "single.npy", np.ones((3, 3)))
    with pytest.raises(InputError, match="single array"):
        read(tmp_path / "single.npy")
    whole = write(tmp_path, psf=stack(), depth=DEPTHS).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="half"):
        read(tmp_path / "half.npz")
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(InputError, match="flipped"):
        read(tmp_path / "flipped.npz")


def wave_bank(focus=2.0):
    lens = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=focus, pixel_pitch=5e-5)
    rng = np.random.default_rng(4)
    kernels = rng.random((5, 3, 7, 7))
    kernels /= kernels.sum(axis=(2, 3), keepdims=True)
    return SampledBank(
        "cubic",
        lens,
        kernels,
        np.array([-3.1, -1.0, 0.0, 1 / 3, 2.0]),
        wavelengths=(640e-9, 550e-9, 460e-9),
        reference=550e-9,
        energy=rng.random((5, 3)),
        facts={"kind": "cubic", "height": [1e-6, 2e-6], "nested": {"glass": "NOA61"}},
    )


def check_same(one, other):
    assert (one.kind, one.lens, one.wavelengths, one.reference, one.facts) == (
        other.kind,
        other.lens,
        other.wavelengths,
        other.reference,
        other.facts,
    )
    np.testing.assert_array_equal(one.kernels, other.kernels)
    np.testing.assert_array_equal(one.coc, other.coc)
    assert (one.energy is None) == (other.energy is None)
    if one.energy is not None:
        np.testing.assert_array_equal(one.energy, other.energy)
    assert other.kernels.dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [wave_bank, lambda: wave_bank(math.inf), lambda: PsfBank.disk(LENS).sampled(1.0, 4.0)],
    ids=["wave", "infinity", "disk"],
)
def test_saved_banks_come_back_the_same(tmp_path, make):
    bank, path = make(), tmp_path / "bank.npz"
    bank.save(path)
    check_same(bank, PsfBank.load(str(path)))
    assert [p.name for p in tmp_path.iterdir()] == ["bank.npz"]
    before = path.read_bytes()
    bank.save(path)
    assert path.read_bytes() == before
    # Alone, the file tells all: anyone can read it without this package.
    with np.load(path, allow_pickle=False) as arrays:
        assert {"kernel", "coc", "depth", "bank"} <= set(arrays.files)
        assert ("defocus" in arrays.files) == (bank.reference is not None)
        facts = json.loads(str(arrays["bank"]))
    assert facts["lens"]["focal_length"] == 0.05
    assert facts["version"] == 1


def test_measured_banks_come_back_the_same(tmp_path):
    bank = PsfBank.measured(write(tmp_path, psf=stack(), depth=DEPTHS), LENS, size=9)
    bank.save(tmp_path / "bank.npz")
    check_same(bank, PsfBank.load(tmp_path / "bank.npz"))


def store(folder, bank, **attributes):
    group = zarr.create_group(folder).create_group("psf/main", attributes={**bank_attributes(bank), **attributes})
    for name, (data, dims, unit) in bank_arrays(bank).items():
        array = group.create_array(
            name, shape=data.shape, dtype=data.dtype, dimension_names=dims, attributes={"units": unit}
        )
        array[...] = data


def test_banks_come_back_from_datasets(tmp_path):
    store(tmp_path / "train.zarr", wave_bank())
    check_same(wave_bank(), PsfBank.load(tmp_path))
    check_same(wave_bank(), PsfBank.load(tmp_path / "train.zarr"))


def test_datasets_without_a_bank_are_refused(tmp_path):
    zarr.create_group(tmp_path / "a" / "train.zarr")
    with pytest.raises(InputError, match="stores no PSF bank"):
        PsfBank.load(tmp_path / "a")
    (tmp_path / "b" / "train.zarr").mkdir(parents=True)
    with pytest.raises(InputError, match="not a split"):
        PsfBank.load(tmp_path / "b")
    store(tmp_path / "c" / "train.zarr", wave_bank(), lens={"focal_length": 1.0})
    with pytest.raises(InputError, match=r"train.zarr/psf/main holds no whole PSF bank \('f_number'"):
        PsfBank.load(tmp_path / "c")
    store(tmp_path / "d" / "train.zarr", wave_bank())
    (tmp_path / "d" / "train.zarr" / "psf" / "main" / "kernel" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="psf/main is damaged"):
        PsfBank.load(tmp_path / "d")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, _: a.pop("kind"), "'kind' is missing"),
        (lambda a, _: a.update(lens=None), "subscriptable"),
        (lambda a, _: a["lens"].update(focal_length=-1), "focal_length"),
        (lambda _, b: b.pop("kernel"), "'kernel' is missing"),
        (lambda _, b: b.update(coc=b["coc"][::-1]), "ascending"),
        (lambda _, b: b.update(kernel=b["kernel"] * 2), "sum to 1"),
        (lambda _, b: b.update(energy=np.ones((2, 2))), "energy"),
    ],
)
def test_unfit_parts_are_refused(change, message):
    attributes = bank_attributes(wave_bank())
    arrays = {name: array for name, (array, _, _) in bank_arrays(wave_bank()).items()}
    check_same(wave_bank(), bank_from(attributes, arrays, "here"))
    change(attributes, arrays)
    with pytest.raises(InputError, match=f"here holds no.*{message}"):
        bank_from(attributes, arrays, "here")


def test_foreign_and_later_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"PsfBank\.measured"):
        PsfBank.load(write(tmp_path, psf=stack(), depth=DEPTHS))
    with pytest.raises(InputError, match="not JSON"):
        PsfBank.load(write(tmp_path, bank="{"))
    with pytest.raises(InputError, match="version 2"):
        PsfBank.load(write(tmp_path, bank='{"version": 2}'))


def test_files_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.npz"):
        wave_bank().save(tmp_path / "bank.npy")
    with pytest.raises(InputError, match="cannot be written"):
        wave_bank().save(tmp_path / "no" / "bank.npz")
    (tmp_path / "bank.npz").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        wave_bank().save(tmp_path / "bank.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["bank.npz"]
