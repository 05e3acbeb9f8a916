"""Focal stacks of real views: a light field in its dataset's layout becomes a store that says true CoCs."""

import math

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from datasets_a import hci

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.pipelines.shipped import find_recipe
from defocal.pipelines.verify import verify
from defocal.synth.readers import read_scenes
from defocal.synth.store import open_store

SIZE, DISPARITY = (64, 96), 1.5


@pytest.fixture
def light_field(tmp_path):
    """One plane of smooth waves, 1.5 pixels nearer to the left from view to view."""
    root = hci(tmp_path / "hci", size=SIZE, views=True)
    for folder in ("training/cotton", "additional/town"):
        y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
        for number in range(81):
            v, u = divmod(number, 9)
            at = (x + DISPARITY * (u - 4)) / 17 + (y + DISPARITY * (v - 4)) / 29
            view = np.rint(128 + 60 * np.sin(2 * math.pi * at)).astype(np.uint8)
            cv2.imwrite(str(root / folder / f"input_Cam{number:03d}.png"), np.stack([view] * 3, -1))
    field = read_scenes("hci", root).geometry(0)
    depth = np.full(SIZE, field.depth(DISPARITY), "<f4")
    for folder in ("training/cotton", "additional/town"):
        (root / folder / "gt_depth_lowres.pfm").write_bytes(b"Pf\n96 64\n-1.0\n" + depth.tobytes())
    return root, field


def test_a_light_field_becomes_a_store_of_stacks(light_field, tmp_path):
    root, field = light_field
    focus = [float(field.depth(DISPARITY)), float(field.depth(DISPARITY - 1))]
    out = tmp_path / "out"
    arguments = ["generate", "hci-refocused", out, "--scenes", f"hci:{root}", "--set", f"stack={{ focus = {focus} }}"]
    result = CliRunner().invoke(cli, [str(word) for word in [*arguments, "--set", "scenes.part=training"]])
    assert result.exit_code == 0, result.output
    store = open_store(out)
    assert list(store.splits) == ["training"]
    sample = store.sample("training", 0)
    aif, stack = sample["aif"].astype(float), sample["stack"].astype(float)
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(stack[0] - aif)[inner].max() <= 1
    assert np.abs(stack[1] - aif)[inner].max() > 20
    width = math.sqrt(9 * 9 - 1)  # of a line that blurs as nine points in a row do
    assert np.abs(sample["coc"][0]).max() < 0.01
    np.testing.assert_allclose(sample["coc"][1], width, rtol=2e-3)
    np.testing.assert_allclose(sample["f_number"], field.focal * 1e-6 / field.aperture, rtol=1e-5)
    np.testing.assert_allclose(sample["focus"], focus, rtol=1e-6)
    assert not verify(out, rerender=1).problems


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["scenes.kind=sintel"], "light fields, of scenes.kind hci alone"),
        (["scenes.size=[32, 32]"], "leave size, align and distortion out"),
        (['output.arrays=["capture", "stack"]'], "no other captures"),
        (["stack.breathing=true"], "leave all else out"),
        (["render.model=eq7"], "goes with render.method = 'layered' only"),
        (['camera.focal_length={ from = "views" }'], r"only camera\.f_number"),
    ],
)
def test_what_views_cannot_be_asked_for(changes, words):
    with pytest.raises(InputError, match=words):
        find_recipe("hci-refocused", scenes="hci:x", changes=changes)


def test_scenes_without_views(tmp_path):
    with pytest.raises(InputError, match="MPI Sintel has one view of each scene"):
        read_scenes("sintel", tmp_path).views(0)
