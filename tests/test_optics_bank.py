"""PSFs of learned masks: those of numpy's banks, with gradients that are right, found again from a wrong start."""

import numpy as np
import pytest
from click.testing import CliRunner
from test_optics_masks import SECTIONS, made

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create
from defocal.pipelines.shipped import find_recipe
from defocal.synth import AmplitudeMask, CubicMask, HeightMap, PsfBank, SpiralMask, ThinLens, ZernikeMask
from defocal.synth import load_mask as load
from defocal.synth import save_mask as save
from defocal.synth.samples import SampleMaker

torch = pytest.importorskip("torch")

from defocal.train.optics import bank as bank_module  # noqa: E402
from defocal.train.optics.bank import DifferentiableBank  # noqa: E402

COLOURS = (640e-9, 550e-9, 460e-9)
DEPTH = (0.7, 10.0)
each_kind = pytest.mark.parametrize("data", SECTIONS.values(), ids=SECTIONS)


def lens_for(psi=(-5.0, 5.0), pixel=1.0):
    """A lens with that defocus at the ends of the depths, whose pixels are so many green wavelengths N_w wide."""
    lens = ThinLens.for_defocus(*DEPTH, psi, 550e-9, focal_length=0.05, pixel_pitch=5e-6)
    pitch = pixel * 550e-9 * lens.working_f_number
    return ThinLens.for_defocus(*DEPTH, psi, 550e-9, focal_length=0.05, pixel_pitch=pitch)


def bank_of(lens=None, **changes):
    given = {"wavelengths": COLOURS, "planes": 4, "size": 15, "samples": 64, "dtype": torch.float64} | changes
    return DifferentiableBank(lens or lens_for(), DEPTH, **given)


@pytest.fixture
def few_points(monkeypatch):
    """Look at masks in few points, everywhere alike."""

    def set_points(count):
        monkeypatch.setattr("defocal.synth.psf_wave.POINTS_ACROSS", count)
        monkeypatch.setattr(bank_module, "POINTS_ACROSS", count)

    set_points(256)
    return set_points


def same(mask, lens, planes=4, **changes):
    bank = bank_of(lens, planes=planes, **changes)
    ours = bank.kernels(mask, "cpu")
    theirs = PsfBank.from_mask(
        mask, lens, bank.wavelengths, depth=DEPTH, planes=planes, size=bank.size, samples=bank.samples
    )
    assert ours.dtype == bank.dtype
    np.testing.assert_allclose(ours.detach().numpy(), theirs.kernels, atol=1e-6)
    np.testing.assert_allclose(bank.coc.numpy(), theirs.coc, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(bank.held.numpy(), theirs.energy, atol=1e-5)
    return bank


@each_kind
def test_kernels_are_those_of_numpys_bank(few_points, data):
    mask = made(data).finished()
    same(mask, lens_for(), samples=128)


@pytest.mark.parametrize("wavelengths", [(550e-9,), COLOURS])
@pytest.mark.parametrize(("size", "pixel"), [(14, 1.3), (9, 2.4), (31, 0.4)])
def test_kernels_of_any_size_and_colour_are_the_same(few_points, wavelengths, size, pixel):
    same(SpiralMask(lobes=2, form="rings"), lens_for(pixel=pixel), size=size, wavelengths=wavelengths, samples=128)


@pytest.mark.parametrize("mask", [CubicMask(4.0), SpiralMask(obstruction=0.3, wavelength=500e-9)])
def test_any_mask_and_every_point(mask):
    """At the full number of points, and of another design wavelength, where defocus is counted otherwise."""
    same(mask, lens_for(), planes=3, samples=96)


def test_planes_on_one_side_of_the_focus(few_points):
    lens = ThinLens(focal_length=0.025, f_number=8.0, focus_distance=0.6, pixel_pitch=12e-6)
    bank = same(HeightMap(np.linspace(0, 4e-7, 16).reshape(4, 4)), lens, planes=3, size=21, samples=128)
    assert (bank.psi < 0).all()


def test_single_precision_is_enough(few_points):
    mask = made(SECTIONS["spiral"]).finished()
    single, double = (bank_of(dtype=dtype).kernels(mask, "cpu") for dtype in (torch.float32, torch.float64))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), double.numpy(), atol=1e-6)
    np.testing.assert_allclose(single.sum(dim=(2, 3)).numpy(), 1, atol=1e-5)


def test_strips_make_no_difference(few_points, monkeypatch):
    whole = bank_of().kernels(made(SECTIONS["blend"]).mask(), "cpu")
    monkeypatch.setattr(bank_module, "ROWS_AT_ONCE", 5)
    torch.testing.assert_close(bank_of().kernels(made(SECTIONS["blend"]).mask(), "cpu"), whole, atol=1e-12, rtol=0)


@each_kind
def test_gradients_are_those_of_differences(few_points, data):
    few_points(48)
    learned = made(data).double()
    bank = bank_of(lens_for((-1.5, 1.5)), planes=3, size=4, samples=24)

    def kernels(*raw):
        return bank.kernels(learned.mask(), "cpu")

    # Every number of the spiral's slopes; of masks with many parameters sums of them with random weights.
    assert torch.autograd.gradcheck(kernels, list(learned.parameters()), fast_mode=data["kind"] != "spiral")


def test_gradients_reach_heights_and_transmissions_at_once(few_points):
    """A mask of both has a way of its own through the fields."""

    class Both(HeightMap):
        def amplitude(self, x, y):
            return super().amplitude(x, y) * through

    few_points(48)
    bank = bank_of(lens_for((-1.5, 1.5)), planes=3, size=4, samples=24)
    through = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    heights = torch.rand(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def windows(t, h):
        return bank.windows(Both(h * 1e-6), "cpu")

    assert torch.autograd.gradcheck(windows, (through, heights), fast_mode=True)


def test_slopes_of_the_kernels_along_n_and_epsilon(few_points):
    """In the plain units of the mask, against central differences of numpy's bank in float64."""
    lens = lens_for()
    bank = bank_of(lens, planes=3, wavelengths=(550e-9,))
    at = {"lobes": 1.3, "confinement": 0.6}
    values = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in at.items()}
    weights = torch.rand(bank.kernels(SpiralMask(), "cpu").shape, dtype=torch.float64)
    slopes = torch.autograd.grad(
        (bank.kernels(SpiralMask(form="rings", **values), "cpu") * weights).sum(), list(values.values())
    )
    step = 1e-5
    for name, slope in zip(at, slopes, strict=True):
        ends = [
            float((bank.kernels(SpiralMask(form="rings", **at | {name: at[name] + d}), "cpu") * weights).sum())
            for d in (step, -step)
        ]
        assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("start", [(0.7, 0.4), (1.9, 0.85)])
def test_n_and_epsilon_of_a_psf_stack_are_found_from_a_wrong_start(few_points, start):
    """Squared differences of all kernels, over the squares of the stack's; Adam on the raw parameters.

    In N the loss has one valley from 0.6 to about 2.2 round the N = 1.3 of the stack; starts beyond it that have a
    small epsilon too, as (2.6, 0.4), end in another at N = 2.55 and epsilon = 0.36, where the loss is 0.53.
    """
    few_points(192)
    bank = bank_of(lens_for((-8, 8)), wavelengths=(550e-9,), planes=5, size=25, samples=48, dtype=torch.float32)
    spiral = {"kind": "spiral", "zones": 3}
    stack = bank.kernels(made(spiral | {"lobes": 1.3, "confinement": 0.6}).finished(), "cpu")
    learned = made(spiral | {"lobes": start[0], "confinement": start[1]})
    optimiser = torch.optim.Adam(learned.parameters(), lr=0.1, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 80, eta_min=0.01)
    for _ in range(80):
        loss = (bank.kernels(learned.mask(), "cpu") - stack).square().sum() / stack.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    assert learned.numbers() == pytest.approx({"lobes": 1.3, "confinement": 0.6}, rel=0.01)


@each_kind
def test_a_mask_survives_its_file(tmp_path, few_points, data):
    """Learned, written, read: numpy's bank of it is that which was trained with, in float32 as in training."""
    learned, lens = made(data), lens_for()
    bank = bank_of(lens, samples=128, dtype=torch.float32)
    kernels = bank.kernels(learned.mask(), "cpu").detach()
    save(learned.finished(), tmp_path / "mask.json")
    again = PsfBank.from_mask(load(tmp_path / "mask.json"), lens, COLOURS, depth=DEPTH, planes=4, size=15, samples=128)
    np.testing.assert_allclose(kernels.numpy(), again.kernels, atol=1e-6)


def by_command(recipe, out):
    done = CliRunner().invoke(cli, ["generate", str(recipe), str(out), "--limit", "1"])
    assert done.exit_code == 0, done.output


def begun(recipe, out):
    """What the command does first: the store with its bank, and no sample yet, which the renderer compiles for."""
    create(out, SampleMaker(find_recipe(str(recipe), limit=1)))


@pytest.mark.parametrize("generate", [begun, pytest.param(by_command, marks=pytest.mark.slow)])
def test_a_dataset_has_the_psfs_that_were_trained_with(tmp_path, generate):
    """Mask file, recipe, `defocal generate`, the store's bank."""
    learned = made(SECTIONS["spiral"] | {"zones": 3})
    save(learned.finished(), tmp_path / "mask.json")
    (tmp_path / "mine.toml").write_text(
        """
        version = 1
        name = "mine"
        seed = 1
        scenes = { kind = "procedural", count = 3, size = [40, 56], depth = ["0.8 m", "4 m"], objects = [3, 5] }
        camera = { focal_length = "50 mm", defocus = [-4, 4], pixel_pitch = "15 um" }
        output = { splits = { train = 1.0 } }
        [psf]
        kind = "mask"
        mask = { kind = "file", path = "mask.json", wavelength = "550 nm" }
        planes = 5
        size = 15
        samples = 64
        """
    )
    generate(tmp_path / "mine.toml", tmp_path / "out")
    stored = PsfBank.load(tmp_path / "out")
    bank = DifferentiableBank(stored.lens, (0.8, 4.0), wavelengths=COLOURS, planes=5, size=15, samples=64)
    kernels = bank.kernels(learned.mask(), "cpu").detach().numpy()
    np.testing.assert_allclose(kernels, stored.kernels, atol=1e-6)
    np.testing.assert_allclose(bank.coc.numpy(), stored.coc, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: bank_of(lens_for((-60, 60))), "does not fit kernels of 15 px: raise optics.size"),
        (
            lambda: bank_of(lens_for((-10, 10), 0.8), samples=12),
            "samples across it, not 12: raise optics.samples",
        ),
        (lambda: bank_of(wavelengths=(1.0,)), "wavelengths must be positive lengths"),
        (lambda: bank_of(wavelengths=COLOURS[:2]), "needs 1 or 3 wavelengths, not 2"),
        (lambda: bank_of(planes=2), "leave the focus plane alone: optics.planes"),
        (lambda: bank_of().check(ZernikeMask((0, 0, 0, 30.0))), "the pupil is undersampled"),
        (lambda: bank_of().check(AmplitudeMask(np.eye(65)[:, :1] @ np.eye(65)[:1] * 1e-4)), "lets no light through"),
        (
            lambda: bank_of(lens_for((-0.2, 0.2), 0.2), size=3).check(SpiralMask(zones=1)),
            "hold only .* of the light",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_checking_tells_what_the_window_holds():
    bank = bank_of()
    mask = made(SECTIONS["spiral"])
    held = bank.check(mask.mask())
    bank.kernels(mask.mask(), "cpu")
    assert held.shape == (len(bank.coc), 3)
    torch.testing.assert_close(held, bank.held, atol=1e-6, rtol=0)
    assert not bank.held.requires_grad
    assert 0.5 < float(held.min()) < 1
