"""HCI 4D light field benchmark."""

import numpy as np
import pytest
from datasets_a import hci
from rgbd import pfm, refusal, save

from defocal.synth.light import decode
from defocal.synth.readers.hci import Hci


def test_scenes(tmp_path):
    reader = Hci(path=hci(tmp_path))
    assert [(i.source, i.group, i.split) for i in reader.scan()] == [
        ("additional/town", "town", "additional"),
        ("stratified/dots", "dots", "stratified"),
        ("training/cotton", "cotton", "training"),  # the truth of "test" is hidden
    ]
    scene = reader.read(2)
    np.testing.assert_array_equal(scene.aif, decode(np.full((6, 8, 3), 40, np.uint8), "srgb"))
    # depth = 1 / (1000 sensor disp / (baseline f max(w, h)) + 1 / focus), all of parameters.cfg
    disparity = np.linspace(-0.1, 0.1, 48).reshape(6, 8)
    expected = 1 / (1000 * 35 * disparity / (25 * 100 * 8) + 1 / 4.25)
    np.testing.assert_allclose(scene.depth, expected, rtol=1e-5)
    np.testing.assert_allclose(Hci(path=tmp_path, variant="disparity").read(2).depth, expected, rtol=1e-5)
    lens = scene.intrinsics
    assert (lens.fx, lens.cx, lens.cy) == (pytest.approx(100 / 35 * 8), 3.5, 2.5)


def test_the_numbers_of_a_true_scene(tmp_path):
    """Cotton: 512 x 512, disparity 1.5 is nearer than the focus at 4.25 m, -1.6 farther."""
    folder = hci(tmp_path, size=(512, 512)) / "training" / "cotton"
    (folder / "gt_disp_lowres.pfm").write_bytes(pfm(np.tile([-1.6, 0, 1.5, 0.5], (512, 128)), -1.0))
    depth = Hci(path=folder, variant="disparity").read(0).depth
    np.testing.assert_allclose(depth[5, :4], [5.2207, 4.25, 3.6191, 4.0166], atol=1e-4)
    field = Hci(path=folder).geometry(0)
    assert field.focal == pytest.approx(1462.857)
    np.testing.assert_allclose(field.disparity(depth[5, :4].astype(float)), [-1.6, 0, 1.5, 0.5], atol=1e-5)


@pytest.mark.parametrize("scale", [-0.0039, -1.0, 1.0, 7.0])
def test_the_scale_of_a_pfm_is_no_factor_and_its_rows_are_bottom_up(tmp_path, scale):
    folder = hci(tmp_path) / "training" / "cotton"
    values = np.arange(1, 49, dtype=float).reshape(6, 8)
    (folder / "gt_depth_lowres.pfm").write_bytes(pfm(values, scale))
    np.testing.assert_array_equal(Hci(path=folder).read(0).depth, values)


def test_views(tmp_path):
    reader = Hci(path=hci(tmp_path, views=True) / "training" / "cotton")
    assert [(item.source, item.split) for item in reader.scan()] == [("cotton", "training")]
    views = reader.views(0)
    assert (views.shape, views.dtype) == ((9, 9, 6, 8, 3), np.uint8)
    np.testing.assert_array_equal(views[..., 0, 0, 0], np.arange(81).reshape(9, 9))  # row by row
    field = reader.geometry(0)
    assert (field.baseline, field.convergence, field.views) == (0.025, 4.25, 9)


def test_a_view_that_is_missing_or_of_another_size(tmp_path):
    folder = hci(tmp_path, views=True) / "training" / "cotton"
    (folder / "input_Cam007.png").unlink()
    refusal(lambda: Hci(path=folder).views(0), folder / "input_Cam007.png")
    save(folder / "input_Cam007.png", np.zeros((5, 8, 3), np.uint8))
    refusal(lambda: Hci(path=folder).views(0), folder / "input_Cam007.png", "8x6")


@pytest.mark.parametrize("name", ["input_Cam040.png", "parameters.cfg"])
def test_a_partner_that_is_missing(tmp_path, name):
    path = hci(tmp_path) / "training" / "cotton" / name
    path.unlink()
    refusal(Hci(path=tmp_path).scan, path, "missing")


@pytest.mark.parametrize(
    ("old", "new", "mention"),
    [
        ("baseline_mm = 25.0", "", "baseline_mm"),
        ("baseline_mm = 25.0", "baseline_mm = -1", "baseline_mm"),
        ("baseline_mm = 25.0", "baseline_mm = nan", "baseline_mm"),
        ("focal_length_mm = 100.0", "focal_length_mm = long", "focal_length_mm"),
        ("[intrinsics]", "", "damaged"),
        ("num_cams_x = 9", "num_cams_x = 5", "9x9"),
        ("image_resolution_x_px = 8", "image_resolution_x_px = 9", "9x6"),
    ],
)
def test_parameters_that_cannot_be(tmp_path, old, new, mention):
    path = hci(tmp_path) / "training" / "cotton" / "parameters.cfg"
    path.write_text(path.read_text().replace(old, new))
    refusal(lambda: Hci(path=path.parent).read(0), "parameters.cfg", mention)
