"""Learned masks: they start where they are told, stay in range, and say what they are."""

import json
import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from defocal import InputError
from defocal.synth import (
    AmplitudeMask,
    ClearMask,
    CubicMask,
    HeightMap,
    RadialMask,
    SpiralMask,
    ZernikeMask,
    fisher_mask,
    load_mask,
    save_mask,
)
from defocal.synth.pupil.designs import FISHER_COEFFICIENTS
from defocal.synth.recipe_errors import explain

torch = pytest.importorskip("torch")

from defocal.train.optics.mask_settings import ZernikeSection  # noqa: E402
from defocal.train.optics.masks import Bounded, MaskSection, build_mask  # noqa: E402

SECTIONS = {
    "spiral": {"kind": "spiral", "lobes": 1.3, "confinement": 0.6},
    "blend": {"kind": "spiral", "form": "blend", "lobes": 2.0},
    "zernike": {"kind": "zernike", "last": 10, "coefficients": [0.0, 0.3, 0.0, 0.5, -0.4]},
    "wrapped": {"kind": "zernike", "last": 15, "coefficients": "zero", "wrapped": True},
    "height": {"kind": "height", "cells": 6, "spread": 0.1},
    "wrapping height": {"kind": "height", "cells": 5, "bound": "wrap", "spread": 0.2},
    "radial": {"kind": "radial", "rings": 7, "spread": 0.1},
    "flat rings": {"kind": "radial", "rings": 5, "form": "flat", "spread": 0.1},
    "amplitude": {"kind": "amplitude", "cells": 5},
    "pattern": {"kind": "amplitude", "pattern": "mura-5", "square": True},
}
each_kind = pytest.mark.parametrize("data", SECTIONS.values(), ids=SECTIONS)


def section(data):
    return TypeAdapter(MaskSection).validate_json(json.dumps(data))


def made(data, seed=3):
    return build_mask(section(data), seed)


def refusal(data):
    with pytest.raises(ValidationError) as caught:
        section(data)
    return explain(caught.value, "the mask", tagged=("",))


@pytest.mark.parametrize(
    ("coefficients", "words"),
    [
        ("foo", "the mask: coefficients: must be 'zero' or 'fisher' or a list of values in brackets, not 'foo'."),
        ([1, "x"], "the mask: coefficients.1: must be a valid number, not 'x'."),
        ([], "the mask: coefficients: has 0 values, and needs another number of them."),
    ],
)
def test_a_value_of_several_types_is_one_error(coefficients, words):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(ZernikeSection).validate_json(json.dumps({"kind": "zernike", "coefficients": coefficients}))
    assert explain(caught.value, "the mask") == words


def test_everything_starts_where_it_is_told():
    assert made(SECTIONS["spiral"]).numbers() == pytest.approx({"lobes": 1.3, "confinement": 0.6}, abs=1e-6)
    zernike = made(SECTIONS["zernike"]).finished()
    np.testing.assert_allclose(zernike.coefficients, [0, 0.3, 0, 0.5, -0.4] + 5 * [0], atol=1e-6)
    fisher = made({"kind": "zernike", "coefficients": "fisher"}).finished()
    np.testing.assert_allclose(fisher.coefficients[:28], FISHER_COEFFICIENTS, atol=1e-6)
    turn = fisher_mask().wavelength / (fisher_mask().material.index(550e-9) - 1)
    assert made(SECTIONS["wrapped"]).finished().coefficients == pytest.approx([math.pi] + 14 * [0])
    flat = made({"kind": "height", "cells": 4, "spread": 0.0}).finished()
    np.testing.assert_allclose(flat.heights, np.full((4, 4), turn / 2), rtol=1e-6)
    low = made({"kind": "radial", "rings": 4, "highest": "400 nm", "start": 0.25}).finished()
    np.testing.assert_allclose(low.heights, np.full(4, 100e-9), rtol=1e-6)
    pattern = made(SECTIONS["pattern"]).finished()
    assert pattern.square
    assert set(np.round(pattern.transmission, 6).flat) == {0.05, 0.95}


def test_random_starts_are_those_of_the_seed():
    one, same, other = (made(SECTIONS["height"], seed).finished().heights for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(np.asarray(one) - other).max() > 1e-8


@each_kind
def test_masks_are_finished_as_they_are(data):
    """The mask with gradients and the one on numpy are the same, through JSON too."""
    learned = made(data).double()
    finished = learned.finished()
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    live = learned.mask().field(torch.from_numpy(x), torch.from_numpy(y), 610e-9).detach().numpy()
    np.testing.assert_allclose(finished.field(x, y, 610e-9), live, atol=1e-11)
    assert type(json.loads(json.dumps(finished.to_dict()))) is dict
    assert all(math.isfinite(value) for value in learned.numbers().values())


@each_kind
@pytest.mark.parametrize("push", [-200.0, 200.0])
def test_no_step_leaves_the_range_or_breaks_a_gradient(data, push):
    learned = made(data)
    with torch.no_grad():
        for raw in learned.parameters():
            raw.add_(push)
    axis = torch.linspace(-0.9, 0.9, 12)
    mask = learned.mask()
    field = mask.field_of(mask.height_on(axis, axis), mask.amplitude_on(axis, axis), 610e-9)
    (field.real.sum() + learned.penalty()).backward()
    for raw in learned.parameters():
        assert raw.grad is not None
        assert torch.isfinite(raw.grad).all()
    learned.finished()


def test_frozen_parameters_are_no_parameters():
    learned = made(SECTIONS["spiral"] | {"frozen": ["lobes"]})
    assert [name for name, _ in learned.named_parameters()] == ["confinement.raw"]
    assert learned.finished().lobes == 1.3
    whole = made({"kind": "spiral", "form": "hard", "lobes": 2.0, "frozen": ["lobes", "confinement"]})
    assert not list(whole.parameters())
    assert whole.finished().form == "hard"
    assert whole.finished(form="blend").form == "blend"
    tilts = made({"kind": "zernike", "last": 6, "coefficients": [1.0, 2.0, 3.0]})
    assert tilts.learned.raw.shape == (3,)
    np.testing.assert_array_equal(tilts.finished().coefficients[:3], [1, 2, 3])


def test_smoothness_is_the_mean_squared_step_of_the_phase():
    learned = made({"kind": "radial", "rings": 3, "smoothness": 2.0, "highest": "1 um", "spread": 0.1}).double()
    heights = np.asarray(learned.finished().heights)
    steps = np.diff(heights) * 2 * math.pi / 550e-9 * (learned.mask().material.index(550e-9) - 1)
    assert learned.penalty().item() == pytest.approx(2 * (steps**2).mean())
    wrapped = made({"kind": "height", "cells": 4, "smoothness": 1.0, "bound": "wrap"}).double()
    before = wrapped.penalty().item()
    with torch.no_grad():
        wrapped.heights.raw[1, 1] += 1.0
    assert wrapped.penalty().item() == pytest.approx(before)
    assert made(SECTIONS["spiral"]).penalty().item() == 0
    assert made(SECTIONS["amplitude"] | {"binary": 1.0}).penalty().item() > 0.8


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"kind": "spiral", "lobes": 4.0}, "lobes starts at 4, which must be inside the range from 0.5 to 3.5"),
        ({"kind": "spiral", "confinement": 0.95}, "widen confinement_range, or freeze it"),
        ({"kind": "spiral", "lobes_range": [2.0, 1.0]}, r"lobes_range must be \[least, greatest\]"),
        ({"kind": "spiral", "form": "hard"}, "has no gradient"),
        ({"kind": "spiral", "frozen": ["lobes"], "lobes": 40.0}, "lobes must be within"),
        ({"kind": "spiral", "glass": "butter"}, "glass must be one of"),
        ({"kind": "spiral", "wavelength": "2 um"}, "the refractive index of NOA61 is known from"),
        ({"kind": "zernike", "coefficients": [0, 0, 0, 2.0]}, "coefficient 4 starts at 2.*raise limit"),
        ({"kind": "zernike", "first": 9, "last": 5}, "first .9. must not be above last"),
        ({"kind": "zernike", "last": 4, "coefficients": [0, 0, 0, 0, 1.0]}, "more than last"),
        ({"kind": "height", "cells": 0}, "cells"),
        ({"kind": "radial", "bound": "clip"}, "bound"),
        ({"kind": "amplitude", "pattern": "levin"}, "pattern must be one of mura-5"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(data, sentence):
    import re

    assert re.search(sentence, refusal(data))


LEARNABLE = {
    "spiral": SpiralMask(lobes=1.4, confinement=0.7, form="rings", zones=5, gain=50.0),
    "zernike": ZernikeMask((0.1, 0.0, 0.0, 0.5, 2.2), wrapped=True),
    "heights": HeightMap(np.linspace(-1e-7, 2e-6, 9).reshape(3, 3), glass="n=1.5", obstruction=0.2),
    "radial": RadialMask([0.0, 3e-7, 1e-7], "flat"),
}


@pytest.mark.parametrize("mask", LEARNABLE.values(), ids=LEARNABLE)
def test_a_mask_of_a_file_is_learned_on_from_where_it_is(tmp_path, mask):
    save_mask(mask, tmp_path / "m.json")
    learned = made({"kind": "file", "path": str(tmp_path / "m.json"), "learn": True})
    assert list(learned.parameters())
    again = learned.finished().to_dict()
    for name, value in mask.to_dict().items():
        if isinstance(value, str | bool):
            assert again[name] == value
        else:
            np.testing.assert_allclose(again[name], value, atol=1e-6 if mask.kind != "height-map" else 1e-12, rtol=1e-6)


def test_a_mask_of_a_file_is_kept(tmp_path):
    save_mask(CubicMask(9.0), tmp_path / "m.json")
    kept = made({"kind": "file", "path": str(tmp_path / "m.json")})
    assert not list(kept.parameters())
    assert kept.finished().to_dict() == load_mask(tmp_path / "m.json").to_dict()
    assert kept.numbers() == {}
    assert float(kept.penalty()) == 0


def test_an_aperture_of_a_file_is_softened(tmp_path):
    save_mask(AmplitudeMask(np.tri(3)), tmp_path / "m.json")
    learned = made({"kind": "file", "path": str(tmp_path / "m.json"), "learn": True})
    np.testing.assert_allclose(learned.finished().transmission, 0.05 + 0.9 * np.tri(3), atol=1e-6)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (ClearMask(), "has no parameters that are learned: set learn = false"),
        (SpiralMask(), "has hard zones, which have no gradient"),
        (SpiralMask(form="rings", lobes=5.0), "lobes starts at 5.*wider ranges"),
    ],
)
def test_a_file_that_cannot_be_learned_on_is_refused(tmp_path, mask, sentence):
    save_mask(mask, tmp_path / "m.json")
    with pytest.raises(InputError, match=sentence):
        made({"kind": "file", "path": str(tmp_path / "m.json"), "learn": True})


def test_bounded_numbers_have_the_gradient_of_their_range():
    number = Bounded(0.5, 0.0, 2.0).double()
    number().backward()
    assert float(number.raw.grad) == pytest.approx(2 * 0.25 * 0.75)
    wrapped = Bounded(0.5, 0.0, 2.0, "wrap")
    wrapped().backward()
    assert float(wrapped.raw.grad) == 2.0
