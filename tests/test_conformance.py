"""The conformance page names what `render` offers; what measures it reads references and scores pictures rightly."""

import json
import math
import re

import conformance
import numpy as np
import pytest
from halfplanes import HalfPlanes, Ramp
from references import read_reference

from defocal.synth import ThinLens

LENS = ThinLens(focal_length=0.05, f_number=1.0, focus_distance=1.5, pixel_pitch=1e-4)
NAMES = [row.name for row in conformance.rows()]


@pytest.fixture(scope="module")
def scores():
    """Scores of the quick rows on small half-planes: by case, by row."""
    slow = ("exact 4096", "exact 256, image")
    rows = [row for row in conformance.rows() if not row.name.startswith(slow)]
    cases = [conformance.analytic_case(heading, pair) for heading, pair in conformance.half_planes((64, 80)).items()]
    found = conformance.measure(rows, cases)
    return {case: dict(zip([row.name for row in rows], found[case], strict=True)) for case in found}


def first_column(text):
    """First cells of the tables in a text: one list a table, without the heading."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return [[line.split("|")[1].strip() for line in table.splitlines()[2:]] for table in tables]


def test_the_page_lists_what_render_offers():
    text = conformance.PAGE.read_text()
    assert text.startswith(conformance.INTRODUCTION)
    ours, _, traced = text.partition(conformance.ABOUT_TRACED)
    assert first_column(ours) == [NAMES] * 4, "run `make conformance`"
    assert all(f"| {heading} |" in ours for heading in conformance.half_planes())
    date = rf"{conformance.MEASURED} \d{{4}}-\d\d-\d\d with defocal \S+"
    assert re.search(date, ours)
    assert re.search(date, traced) or conformance.NOT_MEASURED in traced


def test_every_model_and_method_has_a_row():
    assert set(conformance.MODELS) <= set(NAMES)
    for method in conformance.METHODS:
        assert any(name.startswith(method) for name in NAMES), method


def test_figures_of_path_tracing_stay_with_their_date_where_there_are_no_references():
    figures = "Measured on 2020-02-02 with defocal 0.0.1.\n\n| PSNR | a |\n| --- | --: |\n| b | 1.0 |\n"
    page = conformance.page(conformance.rows(), "Measured on 2030-03-03 with defocal 9.\n", figures)
    assert conformance.kept(page) == figures
    assert conformance.kept("") == f"{conformance.NOT_MEASURED}\n"
    empty = conformance.page(conformance.rows(), "Measured on 2030-03-03 with defocal 9.\n", conformance.kept(""))
    assert conformance.kept(empty) == f"{conformance.NOT_MEASURED}\n"


def test_scores_are_what_they_say():
    truth = np.full((50, 60, 3), 0.5)
    truth[25, 30] = 4.0
    got = truth.copy()
    got[:20] = 9.0
    got[20:-20, 20:-20] += 0.01
    psnr, energy, _ = conformance.score(got, truth, 0.0)
    assert psnr == pytest.approx(40 - 10 * math.log10(199 / 200)), "light over 1 is clipped, the border left out"
    assert energy == pytest.approx(1 + 0.01 / truth[20:-20, 20:-20].mean())


@pytest.mark.parametrize("case", ["near edge in focus", "wall in focus"])
def test_with_a_surface_in_focus_true_layers_come_to_the_closed_form(case, scores):
    assert scores[case]["layered, 1 x"].psnr > 60
    assert scores[case]["surfaces"].psnr > 38
    assert scores[case]["surfaces"].energy == pytest.approx(1, abs=5e-3)
    assert scores[case]["eq7"].psnr < 30, "light leaks"


@pytest.mark.parametrize("case", ["both blurred", "both blurred, upright"])
def test_with_two_blurs_layers_stop_at_what_independence_costs(case, scores):
    """Both the edge and the step depend on the same point of the aperture; only the exact method knows."""
    layered = scores[case]["layered, 1 x"]
    assert 33 < layered.psnr < 45
    assert layered.energy == pytest.approx(1, abs=5e-3)
    for name, score in scores[case].items():
        if name.startswith("exact") and "true layers" in name:
            assert score.psnr > layered.psnr


def write_reference(folder, pair, layers, **images):
    lens = pair.lens
    camera = {
        "focal_length_m": lens.focal_length,
        "f_number": lens.f_number,
        "focus_distance": lens.focus_distance,
        "pixel_pitch_m": lens.pixel_pitch,
        "tau": lens.pixel_pitch / lens.image_distance,
    }
    keys = ("rgb", "alpha")
    textures = {f"{key}{i}": layer.pop(key) for i, layer in enumerate(layers) for key in keys}
    np.savez(folder / "layers.npz", **textures)
    np.savez(folder / "images.npz", **images)
    (folder / "params.json").write_text(json.dumps({"camera": camera, "layers": layers}))


def placed(frame, patch):
    """Return a patch laid into its empty frame."""
    out = np.zeros((*frame, 4), np.float32)
    height, width = patch.rgba.shape[:2]
    top, left = max(patch.top, 0), max(patch.left, 0)
    inside = patch.rgba[top - patch.top : frame[0] - patch.top, left - patch.left : frame[1] - patch.left]
    out[top : patch.top + height, left : patch.left + width] = inside
    return out


@pytest.mark.parametrize("texels", [1, 2])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_reference_of_layers_is_read_as_it_was_laid_out(texels, kind, tmp_path):
    """Texels of half a pixel, and corners at half pixels; every layer a colour, the near one from a half pixel on."""
    ramps = [Ramp(tuple(np.array(c) / 255)) for c in ((20, 90, 200), (250, 30, 60), (80, 180, 10))]
    pair = HalfPlanes(LENS, (20, 30), 0.0, 1.0, 3.0, 1.5, -2.5, *ramps)
    near, before, after = ((np.array(ramp.base) * (255 if kind == np.uint8 else 1)).round(6) for ramp in ramps)
    wall = np.empty((80, 100, 3), kind)  # from (-10, -10), past the margin
    wall[:, :45], wall[:, 45:] = before, after
    card = np.broadcast_to(near.astype(kind), (81, 61, 3))  # from (16.5, -10.5)
    layers = [
        {"kind": "fronto", "z": 3.0, "ox": -10.0, "oy": -10.0, "texel": 0.5, "rgb": wall},
        {"kind": "fronto", "z": 1.0, "ox": 16.5, "oy": -10.5, "texel": 0.5, "rgb": card},
    ]
    for layer in layers:
        layer["alpha"] = np.ones(layer["rgb"].shape[:2], np.uint8)
    scene = pair.scene(0)
    write_reference(tmp_path, pair, layers, aif=scene.aif, depth_z=scene.depth, thinlens=pair.truth())
    read = read_reference(tmp_path)
    assert read.lens == pair.lens
    assert read.heading == "2 layers, CoC -8.6 to 8.6 px"
    frame, patches = read.patches(8, texels)
    expected_frame, expected = pair.patches(8, texels)
    assert frame == expected_frame
    for got, true in zip(patches, expected, strict=True):
        np.testing.assert_allclose(placed(frame, got), true.rgba, atol=1e-6)
        assert got.depth == true.depth


@pytest.mark.parametrize("texels", [1, 2])
def test_a_slanted_reference_is_seen_from_the_centre_of_the_lens(texels, tmp_path):
    """A texture that says where on the plane it is: each texel must show where its own ray meets the plane."""
    pair = HalfPlanes(LENS, (20, 30))
    per_pixel = LENS.pixel_pitch / LENS.image_distance
    a, b = (np.arange(400) + 0.5) / 1000 - 0.2, (np.arange(300) + 0.5) / 1000 - 0.15
    texture = np.dstack([*np.meshgrid(a + 0.5, b + 0.5), np.full((300, 400), 0.5)]).astype(np.float32)
    layer = {"kind": "slanted", "z0": 1.5, "m": 1.2, "a0": -0.2, "b0": -0.15, "da": 1e-3, "db": 1e-3}
    layer |= {"rgb": texture, "alpha": np.ones((300, 400), np.uint8)}
    x, y = (((np.arange((n + 8) * texels) + 0.5) / texels - 4 - n / 2) * per_pixel for n in (30, 20))
    depth = np.tile(1.5 / (1 - 1.2 * x), (len(y), 1))
    shown = np.dstack([0.5 + x * depth, 0.5 + y[:, None] * depth, np.full(depth.shape, 0.5), np.ones(depth.shape)])
    flat = np.full((20, 30, 3), 0.5)
    write_reference(tmp_path, pair, [layer], aif=flat, depth_z=np.full((20, 30), 1.5), thinlens=flat)
    frame, (patch,) = read_reference(tmp_path).patches(4, texels)
    assert frame == depth.shape
    np.testing.assert_allclose(patch.depth, depth, rtol=1e-6)
    np.testing.assert_allclose(patch.rgba, shown, atol=2e-4)
