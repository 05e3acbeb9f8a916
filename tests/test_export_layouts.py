"""Exports through the eyes of the programs that they are for, and through our own readers."""

import io
import json
import os

import cv2
import numpy as np
import pytest
import scipy.io
from exporting import (
    BASELINE,
    FOCAL,
    contents,
    d3net,
    dataset,
    ddff_pytorch,
    defocus_net,
    dff_in_the_wild,
    fossa,
    table,
    web_dataset,
)  # fmt: skip
from PIL import Image
from rgbd import real, refusal

from defocal.pipelines.export import export, prepare
from defocal.synth import open_store
from defocal.synth.light import decode
from defocal.synth.readers import read_scenes

STACK = {"slices": 10, "near": "0.5 m", "far": "7 m"}  # as DDFF's: uniform in disparity


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    return dataset(
        tmp_path_factory.mktemp("captures") / "captures", sensor={"preset": "dslr"},
        output={"arrays": ["aif", "depth", "valid", "coc", "capture", "raw", "dual"]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    return dataset(tmp_path_factory.mktemp("stacks") / "stacks", stack={**STACK, "order": "far-first"})


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Focal stacks of 16 bits."""
    return dataset(tmp_path_factory.mktemp("deep") / "deep", count=2, stack=STACK, output={"bits": 16})


def samples(path, splits=None):
    """The samples of a store in the order of an export, with their splits."""
    store = open_store(path)
    return [
        (split, index, store.sample(split, row)) for split, row, index in store.rows() if split in (splits or split)
    ]


def known(depth):
    return np.nan_to_num(depth, nan=0.0)


# --- folder -----------------------------------------------------------------------------------------------------------


def test_folder_is_read_again(captures, tmp_path):
    export(captures, tmp_path / "out", "folder", depth_unit=0.00025)
    for split in ("train", "test"):
        listing = tmp_path / f"out/{split}.txt"
        reader = read_scenes("folder", tmp_path / "out", depth_unit=0.00025, listing=listing)
        expected = samples(captures, [split])
        assert len(reader) == len(expected)
        for i, (_, index, arrays) in enumerate(expected):
            scene = reader.read(i)
            assert reader.source(i) == f"rgb/{index:08d}"
            np.testing.assert_array_equal(scene.aif, decode(arrays["aif"], "srgb"))
            np.testing.assert_array_equal(np.isnan(scene.depth), ~arrays["valid"])
            np.testing.assert_allclose(scene.depth, arrays["depth"], rtol=0, atol=0.5 * 0.00025 + 1e-7)


def test_folder_holds_every_picture_exactly(captures, tmp_path):
    export(captures, tmp_path / "out", "folder")
    for (split, index, arrays), facts in zip(samples(captures), table(tmp_path / "out"), strict=True):
        name = f"{index:08d}"
        assert (facts["name"], facts["split"], facts["index"]) == (name, split, index)
        views = [f"dual/{name}-{view}.png" for view in ("left", "right")]
        pictures = [*zip(views, arrays["dual"], strict=True), (f"capture/{name}.png", arrays["capture"])]
        for file, picture in pictures:
            np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out" / file))[..., ::-1], picture)
        raw = cv2.imread(str(tmp_path / f"out/raw/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert raw.dtype == np.uint16
        np.testing.assert_array_equal(raw, arrays["raw"])


def test_folder_keeps_16_bits_and_every_slice(deep, tmp_path):
    export(deep, tmp_path / "out", "folder")
    for (_, index, arrays), facts in zip(samples(deep), table(tmp_path / "out"), strict=True):
        stack = [
            cv2.imread(str(tmp_path / f"out/stack/{index:08d}/{k:02d}.png"), cv2.IMREAD_UNCHANGED) for k in range(10)
        ]
        np.testing.assert_array_equal(np.stack(stack)[..., ::-1], arrays["stack"])
        aif = cv2.imread(str(tmp_path / f"out/rgb/{index:08d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(aif[..., ::-1], arrays["aif"])
        np.testing.assert_array_equal(np.float32(facts["focus_distance"]), arrays["focus"])
        np.testing.assert_array_equal(np.float32(facts["intrinsics"]), arrays["intrinsics"])
        assert facts["reference"] == 9
        assert facts["focal_length"] == 0.01


def test_cameras_that_were_drawn(tmp_path):
    camera = {
        "focal_length": {"uniform": ["8 mm", "12 mm"]}, "f_number": {"choice": [2.0, 4.0]}, "focus_distance": "1.6 m",
        "pixel_pitch": "40 um",
    }  # fmt: skip
    store = open_store(dataset(tmp_path / "drawn", camera=camera))
    export(store.path, tmp_path / "out", "folder")
    for facts, (split, row, _) in zip(table(tmp_path / "out"), store.rows(), strict=True):
        drawn = dict(zip(store.recipe.draws, store.sample(split, row)["drawn"].tolist(), strict=True))
        assert facts["drawn"] == drawn
        assert facts["focal_length"] == drawn["camera.focal_length"]
        assert facts["f_number"] == drawn["camera.f_number"]


def test_real_frames_come_back(tmp_path):
    scenes = {
        "kind": "folder", "path": str(real("open3d_testdata")), "rgb": "redwood_color/*",
        "depth_map": "redwood_depth/*", "depth": [0.5, 7.0], "size": [120, 160], "count": 2,
    }  # fmt: skip
    store = dataset(tmp_path / "redwood", count=1, scenes=scenes)
    export(store, tmp_path / "out", "folder", depth_unit=0.0001)
    reader = read_scenes("folder", tmp_path / "out", depth_unit=0.0001)
    expected = {f"rgb/{index:08d}": arrays for _, index, arrays in samples(store)}
    for i in range(len(reader)):
        arrays, scene = expected[reader.source(i)], reader.read(i)
        np.testing.assert_array_equal(scene.aif, decode(arrays["aif"], "srgb"))
        np.testing.assert_allclose(scene.depth, arrays["depth"], rtol=0, atol=0.0000501)


def test_linear_pictures_are_told_of(tmp_path):
    store = dataset(tmp_path / "linear", count=1, output={"encoding": "linear", "bits": 16})
    split = next(iter(open_store(store).splits))
    notes = export(store, tmp_path / "d3net", "d3net").notes
    assert any("16 bits became 8" in note for note in notes)
    assert any("linear" in note for note in notes)
    arrays = samples(store)[0][2]
    (picture,), _ = d3net(tmp_path / "d3net", split, [], "png")
    np.testing.assert_array_equal(np.array(Image.open(picture)), np.rint(arrays["capture"] / 257.0))
    export(store, tmp_path / "out", "folder")
    assert "scenes.encoding=linear" in (tmp_path / "out/README.md").read_text()
    scene = read_scenes("folder", tmp_path / "out", encoding="linear").read(0)
    np.testing.assert_array_equal(scene.aif, decode(arrays["aif"], "linear"))


# --- DDFF 12-Scene ----------------------------------------------------------------------------------------------------


def test_ddff_through_its_loader_and_our_reader(stacks, tmp_path):
    done = export(stacks, tmp_path / "out", "ddff-hdf5", splits=["train", "test=val"])
    assert done.notes == []  # the slices are focused where DDFF's are, and the depths are those that it trains with
    path = tmp_path / "out/ddff-dataset-trainval.h5"
    reader = read_scenes("ddff12", path)
    assert [item.split for item in reader.scan()] == ["train"] * 3 + ["val"] * 2
    rows = {"train": 0, "val": 0}
    for i, (split, _, arrays) in enumerate(samples(stacks)):
        there = {"test": "val"}.get(split, split)
        stack, disparity = ddff_pytorch(path, f"stack_{there}", f"disp_{there}", rows[there])
        rows[there] += 1
        np.testing.assert_array_equal(stack, arrays["stack"][::-1])  # nearest first
        np.testing.assert_array_equal(disparity == 0, ~arrays["valid"])
        z = FOCAL * BASELINE / disparity[arrays["valid"]]
        np.testing.assert_allclose(z, arrays["depth"][arrays["valid"]], rtol=1e-6)
        again, focus, depth = reader.stack(i)
        np.testing.assert_array_equal(again, arrays["stack"][::-1])
        np.testing.assert_allclose(focus, arrays["focus"][::-1], rtol=1e-5)
        np.testing.assert_allclose(depth, arrays["depth"], rtol=1e-6)


def test_ddff_keeps_16_bits_and_its_own_focus(deep, tmp_path):
    export(deep, tmp_path / "out", "ddff-hdf5", splits=["train=test"], limit=1)
    path = tmp_path / "out/ddff-dataset-test.h5"
    stack, _ = ddff_pytorch(path, "stack_test", "disp_test", 0)
    arrays = samples(deep, ["train"])[0][2]
    assert stack.max() <= 255
    np.testing.assert_array_equal(np.rint(stack * 257), arrays["stack"])
    np.testing.assert_array_equal(ddff_pytorch(path, "focus_test", "disp_test", 0)[0], arrays["focus"])
    np.testing.assert_allclose(read_scenes("ddff12", path).stack(0)[0], arrays["stack"] / 257, atol=0.501)


def test_ddff_says_where_its_loaders_would_be_wrong(tmp_path):
    stack = {"slices": 3, "near": "0.9 m", "far": "2 m"}
    store = dataset(tmp_path / "store", count=2, stack=stack)
    notes = export(store, tmp_path / "out", "ddff-hdf5", limit=1).notes
    assert any("0.5 to 7 m" in note for note in notes)
    assert any("test=val" in note for note in notes)


# --- DefocusNet -------------------------------------------------------------------------------------------------------


def test_defocus_net_through_its_loader(tmp_path):
    stack = {"focus": [1.5, 0.7, 0.8], "order": "near-first"}
    store = dataset(tmp_path / "store", count=4, size=(256, 256), stack=stack)
    done = export(store, tmp_path / "fs_6", "defocusnet")
    assert any("0.01" in note for note in done.notes)  # the focal length, which the loader has as a constant
    facts = json.loads((tmp_path / "fs_6/_export.json").read_text())["layout"]
    assert facts["FOCUS_DIST"] == [0.7, 0.8, 1.5]
    expected = samples(store)
    read = defocus_net(f"{tmp_path}/fs_6/", 3, 3.0)
    for (stored, depth), (_, _, arrays) in zip(read, expected, strict=True):
        order = np.argsort(arrays["focus"])
        np.testing.assert_array_equal(stored * 255, np.concatenate(arrays["stack"][order], axis=2))
        np.testing.assert_array_equal(depth, known(arrays["depth"]).astype(np.float16) / 3.0)
        np.testing.assert_array_equal(arrays["depth"].astype(np.float16), arrays["depth"])  # nothing was rounded
    split = int(len(read) * facts["TRAIN_SPLIT"])
    assert [split for split, _, _ in expected] == ["train"] * split + ["test"] * (len(read) - split)
    # AiFDepthNet lists all TIFFs and takes them by the number of slices.
    listed = sorted(name for name in os.listdir(tmp_path / "fs_6") if name.endswith("tif"))
    assert listed == [f"{i:06d}_{k:02d}All.tif" for i in range(4) for k in range(3)]
    # Depth from Focus in the Wild reads the same files, through OpenCV.
    image = cv2.imread(str(tmp_path / "fs_6/000001_02All.tif"))
    np.testing.assert_array_equal(image[..., ::-1], expected[1][2]["stack"][np.argmax(expected[1][2]["focus"])])
    reader = read_scenes("folder", tmp_path / "fs_6", rgb="*Aif.png", depth_map="*Dpt.exr", depth_unit=1.0)
    for i, (_, _, arrays) in enumerate(expected):
        np.testing.assert_array_equal(reader.read(i).depth, arrays["depth"])
        np.testing.assert_array_equal(reader.read(i).aif, decode(arrays["aif"], "srgb"))


def test_defocus_net_refuses_what_its_loader_cannot_know(stacks, tmp_path):
    refusal(lambda: export(stacks, tmp_path / "out", "defocusnet"), "256x256", "56x40", "scenes.size")
    stack = {"slices": 3, "near": {"uniform": ["0.6 m", "0.9 m"]}, "far": "2 m"}
    drawn = dataset(tmp_path / "drawn", count=2, size=(256, 256), stack=stack)
    refusal(lambda: export(drawn, tmp_path / "out", "defocusnet"), "same focus distances", "webdataset")
    assert not (tmp_path / "out").exists()


def test_training_samples_come_first(tmp_path):
    store = dataset(tmp_path / "store", count=2, size=(256, 256), stack={"focus": [0.7, 0.8]})
    refusal(lambda: export(store, tmp_path / "out", "defocusnet", splits=["test", "train"]), "train comes first")


# --- Depth from Focus in the Wild -------------------------------------------------------------------------------------


def test_dff_in_the_wild_through_its_loader(stacks, tmp_path):
    done = export(stacks, tmp_path / "out", "dff-wild")
    assert any("aligned" in note for note in done.notes)
    for split, index, arrays in samples(stacks):
        home = f"{tmp_path}/out/{split}/{index:08d}/"
        stack, focus, view = dff_in_the_wild(home)
        cropped = arrays["stack"][:, 3:-3, 4:-4, ::-1]  # the store's order is farthest first, as theirs
        np.testing.assert_array_equal(stack, np.moveaxis(cropped, 0, -1))
        np.testing.assert_array_equal(np.float32(focus), arrays["focus"])
        assert np.all(np.diff(focus) < 0)
        assert view[-1] == pytest.approx(1)
        np.testing.assert_allclose(view, (1 / 0.01 - 1 / focus) / (1 / 0.01 - 1 / 0.5))
        maps = scipy.io.loadmat(home + "depth.mat")
        np.testing.assert_array_equal(maps["depth"], known(arrays["depth"]))
        np.testing.assert_array_equal(maps["defocus"], np.moveaxis(np.abs(known(arrays["coc"])), 0, -1))
        camera = {k: v.item() for k, v in scipy.io.loadmat(home + "camera_param.mat").items() if k[0] != "_"}
        assert camera["focal_length"] == pytest.approx(0.01 / 40e-6)
        assert camera["aperture_size"] == pytest.approx(0.005 / 40e-6)
        assert camera["pixel_mm"] == pytest.approx(1 / 40e-6)
        assert camera["max_focus_dist"] == pytest.approx(np.nanmax(arrays["depth"]))


def test_its_loaders_read_ten_slices(tmp_path):
    store = dataset(tmp_path / "store", count=1, stack={"focus": [0.7, 0.8]})
    refusal(lambda: export(store, tmp_path / "out", "dff-wild"), "10 slices", "has 2", "stack.slices = 10")


def test_layouts_of_one_aperture(tmp_path):
    store = dataset(tmp_path / "grid", count=1, stack={**STACK, "slices": 5, "f_numbers": [2.0, 4.0]})
    for kind in ("dff-wild", "ddff-hdf5", "defocusnet"):
        refusal(lambda kind=kind: export(store, tmp_path / "out", kind), kind, "one aperture", "zedd")


# --- D3-Net -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", ["png", "jpg"])
def test_d3net_through_its_loader(captures, tmp_path, images):
    export(captures, tmp_path / "out", "d3net", images=images)
    for split in ("train", "test"):
        rgb, (depth,) = d3net(tmp_path / "out", split, ["depth"], images)
        aif = sorted((tmp_path / f"out/aif/{split}").glob(f"*.{images}"))  # as 2HDED lists them
        expected = samples(captures, [split])
        assert len(rgb) == len(depth) == len(aif) == len(expected)
        for picture, target, (_, _, arrays) in zip(rgb, depth, expected, strict=True):
            read = np.array(Image.open(picture))
            if images == "png":
                np.testing.assert_array_equal(read, arrays["capture"])
            else:
                assert np.abs(read.astype(int) - arrays["capture"]).mean() < 0.7
            metres = np.array(Image.open(target), np.int32) / 1000.0  # --scale_to_mm 1000
            np.testing.assert_array_equal(metres == 0, ~arrays["valid"])
            np.testing.assert_allclose(metres, known(arrays["depth"]), rtol=0, atol=0.00050001)


def test_d3net_as_scenes_again(captures, tmp_path):
    export(captures, tmp_path / "out", "d3net", splits=["train"])
    reader = read_scenes("folder", tmp_path / "out", rgb="aif/*/*", depth_map="depth/*/*")
    for i, (_, _, arrays) in enumerate(samples(captures, ["train"])):
        np.testing.assert_array_equal(reader.read(i).aif, decode(arrays["aif"], "srgb"))
        np.testing.assert_allclose(reader.read(i).depth, arrays["depth"], rtol=0, atol=0.00050001)


# --- ZEDD -------------------------------------------------------------------------------------------------------------


def test_zedd_through_its_loader_and_our_reader(stacks, tmp_path):
    # As some libraries set up NumPy's printing for a whole program.
    with np.printoptions(legacy="1.13", precision=3):
        export(stacks, tmp_path / "ZEDD", "zedd", splits=["train=val", "test"])
    for split, there in (("train", "val"), ("test", "test")):
        expected = samples(stacks, [split])
        scenes = fossa(tmp_path / "ZEDD", there, range(10), 2.0)
        reader = read_scenes("zedd", tmp_path / "ZEDD", part=there)
        assert len(reader) == len(scenes) == len(expected)
        for i, (sharp, depth, matrix, stack, focus) in enumerate(scenes):
            arrays = expected[i][2]
            near_first = arrays["stack"][::-1]
            assert np.abs(sharp.astype(int) - arrays["aif"]).mean() < 0.7  # JPEG
            assert np.abs(stack.astype(int) - near_first).mean() < 0.7
            np.testing.assert_array_equal(depth, arrays["depth"])
            np.testing.assert_array_equal(np.float32(matrix), arrays["intrinsics"][0])  # farthest: the reference
            np.testing.assert_array_equal(np.float32(focus), arrays["focus"][::-1])
            scene = reader.read(i)
            np.testing.assert_array_equal(scene.depth, arrays["depth"])
            assert scene.intrinsics.fx == pytest.approx(arrays["intrinsics"][0, 0, 0])
            assert np.abs(scene.aif - decode(arrays["aif"], "srgb")).mean() < 0.005
            photographs, distances = reader.stack(i, 2.0)
            np.testing.assert_array_equal(np.float32(distances), arrays["focus"][::-1])
            assert np.abs(photographs.astype(int) - near_first).mean() < 0.7


def test_a_slice_at_f_16_is_the_all_in_focus_picture_as_in_zedd(tmp_path):
    store = dataset(tmp_path / "grid", count=1, stack={**STACK, "slices": 6, "f_numbers": [2.0, 16.0]})
    export(store, tmp_path / "ZEDD", "zedd", splits=[f"{next(iter(open_store(store).splits))}=val"])
    ((sharp, *_, stack, _),) = fossa(tmp_path / "ZEDD", "val", range(6), 16.0)
    arrays = samples(store)[0][2]
    np.testing.assert_array_equal(sharp, stack[4])
    assert np.abs(sharp.astype(int) - arrays["stack"][6 + 4]).mean() < 0.7


def test_zedd_refusals(stacks, tmp_path):
    refusal(lambda: prepare(stacks, "zedd"), "no split 'train'", "--split train=val")
    store = dataset(tmp_path / "close", count=1, stack={"focus": [0.7], "f_numbers": [2.0, 2.01]})
    split = next(iter(open_store(store).splits))
    refusal(lambda: export(store, tmp_path / "out", "zedd", splits=[f"{split}=val"]), "one decimal", "2.01")
    bare = dataset(tmp_path / "bare", count=1, stack={"focus": [0.7]}, output={"arrays": ["depth", "stack"]})
    refusal(lambda: export(bare, tmp_path / "out", "zedd", splits=[f"{split}=val"]), "all-in-focus", "aif")


# --- WebDataset -------------------------------------------------------------------------------------------------------


def value(name, members, array):
    """An array of a sample, from its members."""
    if f"{name}.npy" in members:
        return np.load(io.BytesIO(members[f"{name}.npy"]))
    files = sorted(member for member in members if member == f"{name}.png" or member.startswith(f"{name}."))
    pictures = [cv2.imdecode(np.frombuffer(members[f], np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1] for f in files]
    return pictures[0] if array.ndim == 3 else np.stack(pictures)


@pytest.mark.parametrize("which", ["captures", "stacks", "deep"])
def test_webdataset_loses_nothing(which, tmp_path, request):
    store = request.getfixturevalue(which)
    export(store, tmp_path / "out", "webdataset", shard_bytes=1000)
    read = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        assert len(web_dataset(path)) == 1  # as many as 1000 bytes hold, but at least one
        read.update({(path.name.partition("-")[0], key): m for key, m in web_dataset(path).items()})
    assert len(read) == len(samples(store))
    for split, index, arrays in samples(store):
        members = read[split, f"{index:08d}"]
        assert json.loads(members["json"])["index"] == index
        for name, array in arrays.items():
            again = value(name, members, array)
            assert again.dtype == array.dtype
            np.testing.assert_array_equal(again, array)


def test_tar_files_are_as_full_as_asked(stacks, tmp_path):
    export(stacks, tmp_path / "out", "webdataset")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == ["test-000000.tar", "train-000000.tar"]
    facts = json.loads((tmp_path / "out/_export.json").read_text())["layout"]
    assert facts["shards"] == {"train": "train-{000000..000000}.tar", "test": "test-{000000..000000}.tar"}
    assert not [name for name in contents(tmp_path / "out") if name.endswith(".partial")]
