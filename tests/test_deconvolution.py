"""Wiener deconvolution in torch: beside the classical one, slow twins, gradients; banks of stores, planes of depths."""

import numpy as np
import pytest
import torch
import zarr
from conftest import recipe_data
from stores import noise_store

from defocal import InputError
from defocal.evaluate import wiener as classical
from defocal.synth import PsfBank, ThinLens, open_store
from defocal.train.banks import Bank, common_bank, planes_of, read_bank
from defocal.train.deconvolution import edgetaper, median, noise_to_signal, transfer, wiener_layers

pytestmark = pytest.mark.usefixtures("one_thread")

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.6, pixel_pitch=2e-4)


def drawn(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kernels(count, rows=4, columns=5, seed=1):
    taps = drawn(count, rows, columns, seed=seed)
    return taps / taps.sum((-2, -1), keepdim=True)


# --- the filter -----------------------------------------------------------------------------------------------------


def test_transform_and_taper_are_those_of_the_classical_filter():
    features, kernel = drawn(2, 3, 24, 31), kernels(1)[0]
    np.testing.assert_allclose(transfer(kernel, (24, 31)), classical.transfer(kernel, (24, 31)), atol=1e-12)
    found = edgetaper(features, kernel)
    for b, c in np.ndindex(2, 3):
        np.testing.assert_allclose(found[b, c], classical.edgetaper(features[b, c], kernel), atol=1e-12)


@pytest.mark.parametrize("taper", [False, True])
def test_layers_are_those_of_a_slow_twin(taper):
    """Each whole feature filtered by each kernel, the layers cut out of the results."""
    features, taps, ratio = drawn(2, 3, 20, 26), kernels(5), 0.01 + drawn(2, 3, seed=2)
    plane = torch.zeros(2, 20, 26, dtype=torch.int64)
    plane[0, :, 10:], plane[1, 7:] = 3, 4  # of five layers two have no pixel, and one is in one image alone
    plane[1, :, 20:] = 3
    found = wiener_layers(features, plane, taps, ratio, taper=taper)
    around = np.pad(features, [(0, 0), (0, 0), (4, 4 + 2), (5, 5)], mode="edge")
    for b, c in np.ndindex(2, 3):
        whole = around[b, c]
        if taper:
            whole = classical.edgetaper(whole, taps.mean(0))
        for k in range(5):
            mask = (plane[b] == k).numpy()
            restored = classical.wiener(whole, taps[k], float(ratio[b, c]))[4:24, 5:31]
            np.testing.assert_allclose(found[b, c][mask], restored[mask], atol=1e-10)


def test_with_little_noise_it_undoes_a_periodic_blur():
    taps = torch.zeros(1, 5, 5, dtype=torch.float64)
    taps[0, 2, 2], taps[0, 1, 3], taps[0, 4, 0] = 0.6, 0.3, 0.1
    features = drawn(1, 2, 40, 40)
    blurred = torch.fft.irfft2(torch.fft.rfft2(features) * transfer(taps[0], (40, 40)), s=(40, 40))
    # Its borders are continued, not wrapped: the middle alone is that of the periodic picture.
    found = wiener_layers(blurred, torch.zeros(1, 40, 40, dtype=torch.int64), taps, torch.full((1, 2), 1e-10))
    assert (found - features)[..., 12:-12, 12:-12].abs().max() < 0.02
    whole = torch.fft.irfft2(torch.fft.rfft2(blurred) * transfer(taps[0], (40, 40)).reciprocal(), s=(40, 40))
    torch.testing.assert_close(whole, features)


def test_the_noise_is_estimated_as_the_public_code_does():
    features = drawn(2, 3, 17, 19) * torch.tensor([1.0, 5.0, 0.1])[:, None, None]
    found = noise_to_signal(features)
    for b, c in np.ndindex(2, 3):
        one = features[b, c].numpy()
        around = np.pad(one, 1, mode="reflect")
        middle = np.array([[np.median(around[y : y + 3, x : x + 3]) for x in range(19)] for y in range(17)])
        expected = np.var(one - middle, ddof=1) / np.std(one, ddof=1) * 8 / 30
        assert float(found[b, c]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(median(torch.from_numpy(around)), middle)


def test_a_feature_that_is_the_same_everywhere_does_no_harm():
    features = torch.zeros(1, 2, 16, 16, requires_grad=True)
    found = wiener_layers(features, torch.zeros(1, 16, 16, dtype=torch.int64), kernels(1).float())
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(features.grad).all()


def test_gradients_reach_features_kernels_and_ratios():
    features, taps, ratio = drawn(2, 2, 7, 6), kernels(3, 2, 3), 0.1 + drawn(2, 2, seed=3)
    plane = torch.zeros(2, 7, 6, dtype=torch.int64)
    plane[0, 3:], plane[1, :, 2:] = 1, 2
    given = [one.requires_grad_() for one in (features, taps, ratio)]
    assert torch.autograd.gradcheck(lambda *g: wiener_layers(g[0], plane, g[1], g[2]), given)
    assert torch.autograd.gradcheck(lambda g: wiener_layers(g, plane, taps.detach()), [features])


def test_memory_holds_the_spectra_of_one_layer(monkeypatch):
    """What the graph keeps must not grow with the layers by more than their masks."""

    def kept(layers):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        features = torch.rand(1, 4, 48, 48, requires_grad=True)
        plane = (torch.arange(48) * layers // 48).expand(1, 48, 48).contiguous()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            wiener_layers(features, plane, kernels(layers).float())
        return sum(sizes.values())

    assert kept(16) - kept(1) < 16 * 48 * 48 * 2


def test_half_precision_computes_transforms_in_full():
    features, plane = torch.rand(1, 2, 20, 20), torch.zeros(1, 20, 20, dtype=torch.int64)
    whole = wiener_layers(features.bfloat16().float(), plane, kernels(1).float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = wiener_layers(features.bfloat16(), plane, kernels(1).float())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole)


# --- banks ----------------------------------------------------------------------------------------------------------


def bank(coc=(-4.0, 0.0, 4.0)):
    return Bank.of(np.ones((len(coc), 1, 1, 1)), coc, LENS)


def test_planes_are_the_nearest_in_blur():
    depth = torch.tensor([[[0.5, 1.0, 1.5, 1.6, 1.8, 4.0, torch.inf]]])
    expected = np.abs(LENS.coc(depth.numpy())[..., None] - np.array([-4.0, 0.0, 4.0])).argmin(-1)
    np.testing.assert_array_equal(bank().planes_of(depth), expected)


def test_unknown_depth_takes_the_plane_of_the_nearest_known_pixel():
    rng = np.random.default_rng(0)
    for size, share in (((13, 21), 0.5), ((9, 8), 0.03), ((1, 30), 0.2)):
        depth = torch.from_numpy(rng.uniform(0.5, 6, (2, *size)).astype(np.float32))
        known = torch.from_numpy(rng.random((2, *size)) < share)
        known[:, 0, 0] = True
        whole = bank().planes_of(depth)
        for unknown in (torch.nan, 0.0):
            found = bank().planes_of(torch.where(known, depth, unknown))
            for b in range(2):
                places = known[b].nonzero()
                for y, x in np.ndindex(*size):
                    far = ((places - torch.tensor([y, x])) ** 2).sum(1)
                    nearest = places[far == far.min()]
                    assert int(found[b, y, x]) in {int(whole[b, i, j]) for i, j in nearest.tolist()}


def test_where_nothing_is_known_all_is_in_focus():
    assert (bank().planes_of(torch.zeros(1, 4, 5)) == 1).all()


def test_a_bank_is_thinned_evenly_and_trimmed_to_its_light():
    fine = Bank.of(np.ones((81, 1, 1, 1)), np.linspace(-4, 16, 81), LENS)
    thin = fine.thinned(6)
    np.testing.assert_allclose(thin.coc, [-4, 0, 4, 8, 12, 16], atol=0.13)
    assert fine.thinned(81) is fine
    for size, lit in (((9, 9), (2, 4)), ((8, 10), (0, 3)), ((4, 4), (3, 3))):
        taps = np.zeros((1, 3, *size), np.float32)
        taps[0, 1, lit[0], lit[1]] = 1
        cut = Bank.of(taps, [0.0], LENS).trimmed().kernels
        half = max(abs(lit[0] - size[0] // 2), abs(lit[1] - size[1] // 2))
        assert cut.shape == (1, 3, 2 * half + 1, 2 * half + 1)
        assert cut[0, 1, half + lit[0] - size[0] // 2, half + lit[1] - size[1] // 2] == 1
    assert Bank.of(np.zeros((1, 1, 5, 5)), [0.0], LENS).trimmed().kernels.shape == (1, 1, 1, 1)


def test_the_bank_of_a_store_is_that_it_was_rendered_with(tiny_store, tmp_path):
    found = read_bank(open_store(tiny_store))
    made = PsfBank.load(tiny_store)
    np.testing.assert_allclose(found.coc, made.coc, rtol=1e-6)
    np.testing.assert_allclose(found.kernels.sum((-2, -1)), 1, rtol=1e-5)
    lens = open_store(tiny_store).recipe.lens
    np.testing.assert_allclose(found.optics, [lens.coc_per_dioptre, 1 / lens.focus_distance], rtol=1e-6)
    for k in (0, len(made.coc) // 2, len(made.coc) - 1):
        taps, whole = found.kernels[k, 0].numpy(), made.slot_kernels(k)[0]
        margin = (len(whole) - len(taps)) // 2
        np.testing.assert_array_equal(taps, whole[margin : len(whole) - margin, margin : len(whole) - margin])


def test_a_bank_comes_back_from_the_state_of_a_model():
    kernels = torch.rand(2, 1, 3, 3)
    kernels /= kernels.sum((2, 3), keepdim=True)
    state = {"bank_kernels": kernels, "bank_coc": torch.tensor([0.0, 1.0]), "bank_optics": torch.ones(2)}
    assert torch.equal(Bank.of_state(state).coc, state["bank_coc"])
    damaged = [
        {"bank_kernels": kernels * 2}, {"bank_kernels": kernels[0]}, {"bank_kernels": kernels * torch.nan},
        {"bank_kernels": "kernels"}, {"bank_kernels": kernels.to(torch.int32)}, {"bank_coc": torch.tensor([1.0, 0.0])},
        {"bank_coc": torch.zeros(3)}, {"bank_optics": torch.ones(3)}, {"bank_optics": torch.tensor([0.0, 1.0])},
    ]  # fmt: skip
    for change in damaged:
        with pytest.raises(InputError, match="the PSF bank in the checkpoint is damaged"):
            Bank.of_state({**state, **change})
    del state["bank_coc"]
    with pytest.raises(InputError, match="holds no PSF bank"):
        Bank.of_state(state)


def test_stores_without_one_bank_are_refused(tmp_path):
    drawn_lens = noise_store(tmp_path / "drawn", count=2, camera={"f_number": {"uniform": [2.0, 4.0]}})
    with pytest.raises(InputError, match=r"draws camera\.f_number for each sample"):
        read_bank(open_store(drawn_lens))
    eyes = noise_store(tmp_path / "eyes", count=2, psf={"kind": "cat-eye", "nodes": 3})
    with pytest.raises(InputError, match="vary over the picture"):
        read_bank(open_store(eyes))
    stack = {"focus": ["0.9 m", "1.6 m"]}
    stacks = noise_store(tmp_path / "stacks", count=2, stack=stack, output={"arrays": ["aif", "depth", "stack"]})
    with pytest.raises(InputError, match="holds focal stacks"):
        read_bank(open_store(stacks))


def test_a_damaged_bank_is_told(tmp_path):
    store = noise_store(tmp_path / "store", count=2)
    split = next(store.glob("*.zarr"))
    group = zarr.open_group(split, mode="r+")["psf/main"]
    good = group["kernel"][...]
    for bad in (np.nan * good, 0 * good, 2 * good, -good, good - 0.5 + 0.5 / good[0, 0].size):
        group["kernel"][:] = bad
        with pytest.raises(InputError, match="is damaged: fetch the dataset again"):
            read_bank(open_store(store))
    del group["coc"]
    with pytest.raises(InputError, match="cannot be read"):
        read_bank(open_store(store))


def test_several_stores_share_the_bank_that_covers_all(tmp_path):
    near = noise_store(tmp_path / "near", count=2, scenes={"depth": ["0.8 m", "3 m"]})
    whole = noise_store(tmp_path / "whole", count=2)
    far = noise_store(tmp_path / "far", count=2, scenes={"depth": ["1 m", "6 m"]})
    assert torch.equal(common_bank([near, whole]).coc, read_bank(open_store(whole)).coc)
    with pytest.raises(InputError, match="no store has PSFs for the depths of all"):
        common_bank([near, far])
    other = noise_store(tmp_path / "other", count=2, psf={"kind": "gaussian"})
    with pytest.raises(InputError, match="has other PSFs"):
        common_bank([whole, other])


def test_planes_need_no_bank_of_their_own():
    one = bank()
    assert torch.equal(planes_of(torch.full((1, 2, 2), 1.6), one.coc, one.optics), torch.ones(1, 2, 2, dtype=int))
    assert recipe_data()["camera"]["f_number"] == LENS.f_number
