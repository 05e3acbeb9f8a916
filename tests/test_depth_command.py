"""`defocal depth`: photographs in, a folder of pictures out; registration; classical methods in evaluations."""

import json
import os
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from commanding import defocal, refused
from PIL import Image
from rgbd import refusal
from stacking import stack_store, toy_config

from defocal.pipelines.photographs import find_photographs, focus_distances, read_photographs
from defocal.pipelines.registration import by_lens, register, residual
from defocal.train import train
from defocal.train.config import Config

FOCUS = (0.5, 0.7, 1.0, 1.6, 4.0)
ROOT = Path(__file__).resolve().parents[1]


def picture(height=120, width=160, seed=0):
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((n, n, 3)).astype(np.float32), (width, height)) for n in (6, 20, 60)]
    return np.clip(0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2], 0, 1)


def stack(moves=None):
    """Two walls, at 0.7 and 1.6 m; `moves` are scale and shifts of every slice."""
    sharp, found = picture(), []
    for k, distance in enumerate(FOCUS):
        sides = [cv2.GaussianBlur(sharp, (0, 0), float(np.hypot(0.4, 3 * (1 / z - 1 / distance)))) for z in (0.7, 1.6)]
        one = np.concatenate([sides[0][:, :80], sides[1][:, 80:]], axis=1)
        if moves is not None:
            scale, x, y = moves[k]
            matrix = np.array([[scale, 0, 79.5 + x - scale * 79.5], [0, scale, 59.5 + y - scale * 59.5]])
            one = cv2.warpAffine(one, matrix, (160, 120), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        found.append(np.rint(255 * np.clip(one, 0, 1)).astype(np.uint8))
    return np.stack(found)


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    # In the order of letters 10 would come before 8.
    for k, one in enumerate(stack()):
        cv2.imwrite(str(folder / f"IMG_{k + 7}.png"), one[..., ::-1])
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def test_photographs_become_depth(photographs, tmp_path):
    (tmp_path / "focus.txt").write_text("0.5\r\n700 mm\r\n# near to far\r\n1.0 m  # the middle\r\n1.6\r\n4\r\n")
    done = defocal("depth", photographs, tmp_path / "out", "--focus", tmp_path / "focus.txt", "--radius", 3)
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"depth.npy", "depth.png", "depth-mm.png", "all-in-focus.png", "confidence.png", "depth.json",
                     "depth.html"}  # fmt: skip
    depth = np.load(tmp_path / "out/depth.npy")
    assert depth.dtype == np.float32
    assert depth.shape == (120, 160)
    assert np.median(depth[:, :70]) == pytest.approx(0.7, rel=0.1)
    assert np.median(depth[:, 90:]) == pytest.approx(1.6, rel=0.15)
    millimetres = cv2.imread(str(tmp_path / "out/depth-mm.png"), cv2.IMREAD_UNCHANGED)
    assert millimetres.dtype == np.uint16
    assert millimetres == pytest.approx(1000 * depth, abs=0.51)
    assert cv2.imread(str(tmp_path / "out/depth.png")).shape == (184, 160, 3)
    fused = cv2.imread(str(tmp_path / "out/all-in-focus.png"))[..., ::-1] / 255
    errors = [np.square(one - picture()).mean() for one in (fused, *(stack() / 255))]
    assert errors[0] < 0.5 * min(errors[1:])
    record = json.loads((tmp_path / "out/depth.json").read_text())
    assert record["focus_m"] == list(FOCUS)
    assert record["photographs"][0] == "IMG_7.png"
    assert record["photographs"][-1] == "IMG_11.png"


def test_the_page_holds_all_and_refers_to_nothing(photographs, tmp_path):
    assert defocal("depth", photographs, tmp_path / "out").exit_code == 0
    text = (tmp_path / "out/depth.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert len(data["slices"]) == 5
    assert data["name"] == "slice"
    assert "told in slices" in text
    assert not (tmp_path / "out/depth-mm.png").exists()
    slices = np.load(tmp_path / "out/depth.npy")
    assert slices.min() >= 1
    assert slices.max() <= 5
    assert np.median(slices[:, :70]) == pytest.approx(2, abs=0.3)
    assert "slice" in json.loads((tmp_path / "out/depth.json").read_text())["depth_unit"]


def test_distances_known_up_to_a_scale_are_not_called_metres(photographs, tmp_path):
    for out, words in (("metres", ()), ("scale", ("--arbitrary",))):
        done = defocal("depth", photographs, tmp_path / out, "--focus", "0.5,0.7,1,1.6,4", *words)
        assert done.exit_code == 0, done.output
    assert " m" not in re.search(r"focus +(.*)", done.output)[1]
    assert "unit of the focus" in done.output
    out = tmp_path / "scale"
    assert not (out / "depth-mm.png").exists()
    assert np.array_equal(np.load(out / "depth.npy"), np.load(tmp_path / "metres/depth.npy"))
    record = json.loads((out / "depth.json").read_text())
    assert record["focus"] == list(FOCUS)
    assert "focus_m" not in record
    assert record["depth_unit"] == "that of the focus distances"
    text = (out / "depth.html").read_text()
    assert json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["labels"][0] == "0.5"
    assert "depth in m" not in text.lower()


def test_the_same_photographs_give_the_same_bytes(photographs, tmp_path):
    for name in ("a", "b"):
        arguments = (
            "depth",
            photographs,
            tmp_path / name,
            "--focus",
            "0.5,0.7m,1,1.6,400cm",
            "--method",
            "windowed-ls",
        )
        assert defocal(*arguments, "--no-fill", "--fusion", "depth", "--size", 96).exit_code == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert np.load(tmp_path / "a/depth.npy").shape == (72, 96)


MOVES = np.array([[1.05, 2.0, -1.5], [1.035, 1.2, -1.0], [1.02, 0.5, -0.2], [1.01, 0.3, 0.4], [1.0, 0.0, 0.0]])


def test_slices_that_breathe_are_registered():
    found = register(stack(MOVES), FOCUS)
    # The nearest slice is the largest: all others are brought onto it.
    assert found.reference == 0
    scale = MOVES[:, 0] / MOVES[0, 0]
    wanted = np.column_stack([scale, MOVES[:, 1:] - scale[:, None] * MOVES[0, 1:]])
    # By corners: half the picture times the error of scale, and the error of shift.
    corner = np.array([80, 60])
    off = np.abs(found.moves[:, :1] - wanted[:, :1]) * corner + np.abs(found.moves[:, 1:] - wanted[:, 1:])
    assert off.max() < 0.4
    assert found.after < 0.9 * found.before
    top, bottom, left, right = found.box
    assert found.slices.shape == (5, bottom - top, right - left, 3)
    assert bottom - top > 100


def test_slices_of_one_distance_move_together_and_a_reference_can_be_given():
    both = np.concatenate([stack(MOVES), stack(MOVES)])
    found = register(both, FOCUS * 2, reference=4, cut=False)
    assert found.slices.shape == both.shape
    assert (found.moves[:5] == found.moves[5:]).all()
    assert (found.slices[4] == both[4]).all()
    assert residual(found.slices[:5, 10:-10, 10:-10]) < residual(both[:5, 10:-10, 10:-10])


def test_a_lens_magnifies_as_it_should():
    found = by_lens(stack(), FOCUS, 0.02)
    wanted = (1 / (1 - 0.02 / np.array(FOCUS))) / (1 / (1 - 0.02 / 0.5))
    assert found.moves[:, 0] == pytest.approx(wanted)
    assert not found.moves[:, 1:].any()
    refusal(lambda: by_lens(stack(), FOCUS, 0.6), "units")


def test_registration_of_other_views_is_refused():
    others = np.stack([stack()[0], (255 * picture(seed=9)).astype(np.uint8)[::-1, ::-1]])
    refusal(lambda: register(others))


def test_aligned_depth_is_better(tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    for k, one in enumerate(stack(MOVES)):
        cv2.imwrite(str(folder / f"{k}.png"), one[..., ::-1])
    focus = ",".join(map(str, FOCUS))
    done = defocal("depth", folder, tmp_path / "out", "--focus", focus, "--align")
    assert done.exit_code == 0, done.output
    assert re.search(r"registered +by the pictures onto 0.png: 4\.\d+ % of breathing", done.output)
    record = json.loads((tmp_path / "out/depth.json").read_text())["registration"]
    assert record["rms_after"] < record["rms_before"]
    depth = np.load(tmp_path / "out/depth.npy")
    assert np.median(depth[:, :60]) == pytest.approx(0.7, rel=0.12)
    assert np.median(depth[:, -50:]) == pytest.approx(1.6, rel=0.2)


def test_what_cannot_be_used_is_refused_in_a_sentence(photographs, tmp_path):
    out = tmp_path / "out"
    assert "not a folder" in refused("depth", tmp_path / "nothing", out)
    (tmp_path / "empty").mkdir()
    assert "no photographs" in refused("depth", tmp_path / "empty", out)
    assert "4 focus distances for 5 photographs" in refused("depth", photographs, out, "--focus", "1,2,3,4")
    assert "'three'" in refused("depth", photographs, out, "--focus", "1,2,three,4,5")
    assert "above 0" in refused("depth", photographs, out, "--focus", "1,2,0,4,5")
    assert "no file" in refused("depth", photographs, out, "--focus", tmp_path / "none.txt")
    assert "--focus" in refused("depth", photographs, out, "--run", tmp_path)
    assert "--align" in refused("depth", photographs, out, "--focal-length", "5 mm")
    assert "there are none" in refused("depth", photographs, out, "--arbitrary")
    assert "in metres" in refused("depth", photographs, out, "--focus", "1,2,3,4,5", "--arbitrary", "--run", tmp_path)
    lens = ("--align", "--focus", "1,2,3,4,5", "--focal-length")
    assert "above 0" in refused("depth", photographs, out, *lens, "-5 mm")
    assert "not empty" in refused("depth", photographs, photographs)
    cv2.imwrite(str(photographs / "IMG_8.png"), np.zeros((50, 60, 3), np.uint8))
    assert "one size" in refused("depth", photographs, out)
    (photographs / "IMG_8.png").write_bytes(b"nothing")
    assert "damaged" in refused("depth", photographs, out)
    assert not out.exists()


@pytest.mark.parametrize("suffix", ["tif", "png", "bmp", "jpg"])
def test_a_photograph_cut_short_is_refused_in_one_sentence(suffix, tmp_path, capfd):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), stack()[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    refusal(lambda: read_photographs([path], None), path)
    assert capfd.readouterr() == ("", "")


def test_what_lies_beside_photographs_and_files_of_several(photographs, tmp_path):
    (photographs / "more.png").mkdir()
    assert defocal("depth", photographs, tmp_path / "a").exit_code == 0
    slices = [Image.fromarray(one) for one in stack()]
    for suffix in ("tif", "webp"):
        folder = tmp_path / suffix
        folder.mkdir()
        slices[0].save(folder / f"all.{suffix}", save_all=True, append_images=slices[1:])
        assert "holds 5 pictures" in refused("depth", folder, tmp_path / "b")
        # A small preview beside a picture is no other picture.
        slices[0].save(folder / f"all.{suffix}", save_all=suffix == "tif", append_images=[slices[1].reduce(4)])
        assert len(read_photographs(find_photographs(folder), None)) == 1
    (photographs / "gone.png").symlink_to("nowhere")
    assert "gone.png does not exist" in refused("depth", photographs, tmp_path / "b")
    (photographs / "gone.png").unlink()
    # So large that OpenCV raises an error and does not return nothing.
    header = struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts]
    (photographs / "vast.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert "vast.png is damaged" in refused("depth", photographs, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_names_need_not_be_text(tmp_path):
    folder = tmp_path / "<b>&"
    folder.mkdir()
    # Latin-1 as an old card has it, a line break, and a digit that is no decimal between two that are.
    names = [b"\xe9.png", b"a\nb.png", "1\u00b23.png".encode()]
    for name, one in zip(names, stack(), strict=False):
        try:
            (folder / os.fsdecode(name)).write_bytes(cv2.imencode(".png", one[:48, :64])[1].tobytes())
        except OSError:
            pytest.skip("this file system takes text alone")
    done = defocal("depth", folder, tmp_path / "out", "--focus", "1,2,3")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out/depth.json").read_text())
    assert record["photographs"] == ["1\u00b23.png", "a\ufffdb.png", "\ufffd.png"]
    assert "<h1>&lt;b&gt;&amp;</h1>" in (tmp_path / "out/depth.html").read_text(encoding="utf-8")


def test_out_may_be_a_link_and_must_be_a_possible_name(photographs, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert defocal("depth", photographs, tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there/depth.npy").is_file()
    assert "choose another folder" in refused("depth", photographs, tmp_path / ("x" * 300))


def test_what_tells_no_depth_is_said(photographs, tmp_path):
    far = defocal("depth", photographs, tmp_path / "far", "--focus", "0.5,0.7,1,inf,inf")
    assert "nan" not in far.output
    infinite = defocal("depth", photographs, tmp_path / "infinite", "--focus", "inf,inf,inf,inf,inf")
    assert "inf to inf m" in infinite.output
    assert "at one distance tell no depth" in infinite.output
    for path in photographs.glob("*.png"):
        cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    black = defocal("depth", photographs, tmp_path / "black", "--no-fill", "--focus", "1,2,3,4,5")
    assert black.exit_code == 0, black.output
    assert "nowhere known" in black.output
    assert "the depth means nothing" in black.output
    assert np.isnan(np.load(tmp_path / "black/depth.npy")).all()


def test_distances_are_read_as_they_are_written(tmp_path):
    # Longer than the name of a file may be.
    assert len(focus_distances("0.123456m," * 99, 99)) == 99
    assert focus_distances("1e-12,1e12", 2) == [1e-12, 1e12]
    for word in ("1e-320", "1e400", "1e13 m"):
        refusal(lambda word=word: focus_distances(word, 1), "write inf")
    assert focus_distances("0.1m, 20 cm,300 mm,inf", 4) == [0.1, 0.2, 0.3, float("inf")]
    path = tmp_path / "focus_distance.txt"
    path.write_text("\ufeff7223525.79\r\n208.1\r\n1e1\r\n\r\n")
    assert focus_distances(str(path), 3) == [7223525.79, 208.1, 10.0]
    path.write_bytes(b"\xff\xfe\x00")
    refusal(lambda: focus_distances(str(path), 3), "text")


def test_classical_methods_are_judged_on_stacks(tmp_path):
    recipe = tmp_path / "stacks.toml"
    recipe.write_text(
        'version = 1\nname = "s"\nseed = 2\n[scenes]\nkind = "procedural"\ncount = 2\nsize = [48, 64]\n'
        'depth = ["0.5 m", "4 m"]\n[camera]\nfocal_length = "20 mm"\nf_number = 2.0\npixel_pitch = "40 um"\n'
        '[stack]\nslices = 5\nnear = "0.5 m"\nfar = "4 m"\nbreathing = true\n[output]\nsplits = { test = 1.0 }\n'
    )
    assert defocal("generate", recipe, tmp_path / "d").exit_code == 0
    names = ("sml", "rdf", "variance", "windowed-ls", "fusion-depth", "fusion-pyramid")
    options = [word for name in names for word in ("--baseline", name)]
    done = defocal("evaluate", "--data", tmp_path / "d", "--out", tmp_path / "r", *options)
    assert done.exit_code == 0, done.output
    for name in names:
        assert re.search(rf"(?m)^{name} +", done.output), name
    assert "registered by their pictures" in (tmp_path / "r/report.html").read_text()


def test_stack_baselines_need_stacks(tiny_store, tmp_path):
    for name in ("sml", "fusion-pyramid"):
        words = refused("evaluate", "--data", tiny_store, "--out", tmp_path / "r", "--baseline", name)
        assert "needs focal stacks" in words


def test_fusion_needs_a_true_picture_to_be_judged_by(tmp_path):
    store = stack_store(tmp_path / "stacks", count=3, output={"arrays": ["depth", "stack"]})
    words = refused("evaluate", "--data", store, "--out", tmp_path / "r", "--baseline", "fusion-pyramid")
    assert "no array 'aif', which fusion-pyramid needs" in words


def test_opencv_registers_nothing_in_training():
    """Registration is of real photographs: training sees stacks as they are."""
    for path in (ROOT / "train").rglob("*.py"):
        assert "registration" not in path.read_text()


def trained(store, out, **model):
    """Train for one step on stacks of four slices, through a 50 mm lens; return the run's folder."""
    data = toy_config(
        data={"targets": ["depth", "aif"], "extra": ["capture", "lens", "intrinsics"], "crop": [32, 32]},
        model=model, target={"kind": "inverse-depth", "span": [0.0, 2.0]}, loss={"kind": "l1"},
        run={"steps": 1, "pictures": 0},
    )  # fmt: skip
    data["model"] = model
    assert train(Config.parse(data), [store], out).complete
    return out


@pytest.mark.usefixtures("one_thread")
def test_trained_models_tell_depth_of_photographs(photographs, tmp_path):
    store = stack_store(tmp_path / "stacks", count=6)
    (photographs / "IMG_11.png").unlink()
    for path in photographs.glob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path))[:48, :64])
    aligns = trained(store, tmp_path / "aligns", kind="dff", width=1, alignment="learned", alignment_width=1)
    focus, out = ("--focus", "0.9,1.2,2,inf"), tmp_path / "out"
    done = defocal("depth", photographs, out, *focus, "--run", aligns, "--device", "cpu")
    assert done.exit_code == 0, done.output
    found = np.load(out / "depth.npy")
    assert np.isfinite(found).all()
    assert found.min() >= 0.9 * (1 - 1e-5)
    other = tmp_path / "other"
    assert "focal length 0.05 m" in refused(
        "depth", photographs, other, "--focus", "0.04,1,2,3", "--run", aligns, "--device", "cpu"
    )
    assert "--method" in refused("depth", photographs, other, *focus, "--run", aligns, "--method", "rdf")
    by_matrices = trained(store, tmp_path / "matrices", kind="dff", width=1, alignment="intrinsics")
    assert "camera matrices" in refused("depth", photographs, other, *focus, "--run", by_matrices, "--device", "cpu")
    # Two networks, of which that of the stack needs nothing beside it.
    two = trained(
        store, tmp_path / "two", kind="udfd", focus={"width": 0.04, "gathered": 1, "norm": True},
        defocus={"blocks": [1, 1], "growth": 1, "width": 2, "decoder": [1, 1, 1]},
    )  # fmt: skip
    done = defocal("depth", photographs, other, *focus, "--run", two, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert np.load(other / "depth.npy").shape == (48, 64)


@pytest.mark.slow
def test_a_phones_stack(real_data, tmp_path):
    folder = real_data / "dff_wild_balls"
    if not folder.is_dir():
        pytest.skip("no photographs of a phone on this machine")
    done = defocal(
        "depth", folder, tmp_path / "out", "--focus", folder / "focus_distance.txt", "--align", "--size", 480
    )
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out/depth.json").read_text())
    # Its field of view changes by 6 %; which slice is focused nearest is the last.
    assert record["registration"]["reference"] == 9
    assert min(record["registration"]["scale"]) == pytest.approx(0.94, abs=0.004)
    assert record["registration"]["rms_after"] < 0.5 * record["registration"]["rms_before"]
    depth = np.load(tmp_path / "out/depth.npy")
    height, width = depth.shape
    # The ball in front, the ball behind, and the last ball.
    near, middle, far = (
        np.median(depth[int(y * height), int(x * width)]) for y, x in ((0.6, 0.5), (0.25, 0.76), (0.1, 0.6))
    )
    assert near < 14 < middle < 80 < far


@pytest.mark.slow
def test_depth_of_generated_stacks(real_data):
    """Stacks of a published generator, whose depth is known up to a scale."""
    from defocal.evaluate.stack_depth import depth_from_stack

    folder = real_data / "corentincou_stacks"
    if not folder.is_dir():
        pytest.skip("no generated stacks on this machine")
    for name in ("1", "4"):
        slices = read_photographs(find_photographs(folder / name), None)
        truth = -np.load(folder / name / "reference_float32.npy").astype(np.float64)
        found = depth_from_stack(slices, None).depth[20:379, 20:379].astype(np.float64)
        assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.97
