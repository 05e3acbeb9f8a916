"""From stored integers to what a model sees: values, masks, crops, flips that keep physics, and what is refused."""

import numpy as np
import pytest
import torch
from conftest import recipe_data
from stores import STACK, noise_store

from defocal import InputError
from defocal.synth import Recipe, open_store
from defocal.synth.light import srgb_to_linear as reference_decoding
from defocal.train.batches import prepare, srgb_to_linear, uniforms
from defocal.train.data import Facts, StoreDataset
from defocal.train.settings import BLUR_CHANGES, DataSettings
from defocal.train.symmetry import symmetries

FACTS = Facts("srgb", {}, (8, 12))


def settings(**data):
    return DataSettings.parse({"augment": {"flips": []}, **data})


def made(count=6, size=(8, 12), dtype=torch.uint8, slices=0):
    """A batch of noise as the dataset gives it; with `slices` a stack, its poses and its intrinsics."""
    random = torch.Generator().manual_seed(3)
    top = 256 if dtype == torch.uint8 else 65536
    shape = (count, slices, *size, 3) if slices else (count, *size, 3)
    picture = torch.randint(top, shape, generator=random).to(torch.int32)
    picture = torch.from_numpy(picture.numpy().astype(np.uint8 if top == 256 else np.uint16))
    depth = 1 + 3 * torch.rand((count, *size), generator=random)
    depth[torch.rand(depth.shape, generator=random) < 0.2] = torch.nan
    batch = {"capture": picture, "depth": depth, "index": torch.arange(count), "store": torch.zeros(count).long()}
    if slices:
        batch["stack"] = batch.pop("capture")
        batch["focus"] = torch.rand((count, slices), generator=random)
        batch["intrinsics"] = torch.tensor([[9.0, 0, 5.0], [0, 8.0, 3.0], [0, 0, 1]]).repeat(count, slices, 1, 1)
        batch["pose"] = torch.rand((count, slices, 6), generator=random)
    return batch


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_integers_become_floats_of_0_to_1(dtype):
    batch = made(dtype=dtype)
    ready = prepare(batch, settings(), FACTS)
    top = 255 if dtype == torch.uint8 else 65535
    assert ready["image"].shape == (6, 3, 8, 12)
    assert ready["image"].is_contiguous()
    np.testing.assert_array_equal(
        ready["image"].numpy(), np.moveaxis(batch["capture"].numpy().astype(np.float32) / np.float32(top), -1, 1)
    )
    assert ready["image"].max() > 0.99
    assert torch.equal(ready["index"], batch["index"])


def test_unknown_depth_is_zero_and_not_valid():
    batch = made()
    # No distances either: nothing may be learned of them, or divided by them.
    batch["depth"][0, 0, :3] = torch.tensor([0.0, -1.0, torch.inf])
    ready = prepare(batch, settings(depth=["1.5 m", "3 m"]), FACTS)
    depth, valid = batch["depth"], ready["valid"]
    assert valid.dtype == torch.bool
    assert torch.equal(valid, torch.isfinite(depth) & (depth >= 1.5) & (depth <= 3))
    assert torch.equal(ready["depth"][valid], depth[valid])
    assert (ready["depth"][~valid] == 0).all()
    batch["valid"] = torch.rand(batch["depth"].shape) < 0.5
    known = torch.isfinite(depth) & (depth > 0)
    assert torch.equal(prepare(batch, settings(), FACTS)["valid"], known & batch["valid"])


def test_linear_light_is_that_of_the_renderer():
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    np.testing.assert_allclose(srgb_to_linear(torch.from_numpy(values)), reference_decoding(values), atol=3e-7)
    ready = prepare(made(), settings(light="linear"), FACTS)
    encoded = prepare(made(), settings(), FACTS)
    np.testing.assert_allclose(ready["image"], reference_decoding(encoded["image"].numpy()), atol=3e-7)
    assert torch.equal(
        prepare(made(), settings(light="linear"), Facts("linear", {}, (8, 12)))["image"], encoded["image"]
    )


def test_training_crops_are_windows_of_all_arrays_alike_and_validation_takes_the_middle():
    batch = made(count=40)
    batch["capture"][..., 0] = torch.arange(96).reshape(8, 12)
    batch["depth"] = torch.arange(96.0).reshape(8, 12).repeat(40, 1, 1) + 1
    ready = prepare(batch, settings(crop=[4, 6]), FACTS)
    red = (ready["image"][:, 0] * 255).round()
    assert torch.equal(red, ready["depth"] - 1)
    corners = {(int(v) // 12, int(v) % 12) for v in red[:, 0, 0]}
    assert {y for y, _ in corners} == set(range(5))
    assert {x for _, x in corners} == set(range(7))
    middle = prepare(batch, settings(crop=[4, 6]), FACTS, training=False)
    assert (middle["image"][:, 0, 0, 0] * 255).round().unique().tolist() == [2 * 12 + 3]


def test_augmentations_depend_on_seed_epoch_and_sample_alone():
    wanted = DataSettings.parse({"crop": [4, 4], "augment": {"contrast": [0.5, 1.5]}})
    batch = made()
    whole = prepare(batch, wanted, FACTS, epoch=2)["image"]
    part = {name: tensor[[4, 1]] for name, tensor in batch.items()}
    assert torch.equal(prepare(part, wanted, FACTS, epoch=2)["image"], whole[[4, 1]])
    assert not torch.equal(prepare(batch, wanted, FACTS, epoch=3)["image"], whole)
    assert not torch.equal(prepare(batch, wanted, FACTS, seed=6, epoch=2)["image"], whole)
    # Part of the reproducibility contract: augmentations of old runs must not change.
    assert uniforms(5, 2, 7)[:2].tolist() == [0.38082055340681487, 0.6531039957642527]


def projected(points, matrix, pose):
    """Pixels of points by a slice's camera: rotated (to first order), moved, projected."""
    rotation, shift = pose[:3], pose[3:]
    moved = points + np.cross(rotation, points) + shift
    seen = moved @ matrix.T
    return seen[:, :2] / seen[:, 2:]


@pytest.mark.parametrize("flip", ["left-right", "up-down", "transpose"])
def test_flips_keep_the_geometry_of_cameras(flip):
    """A point of the flipped world is seen where the flipped picture has it."""
    batch = made(slices=2, size=(10, 10))
    batch["pose"] *= 0.01
    wanted = DataSettings.parse(
        {"input": "stack", "crop": [10, 10], "extra": ["intrinsics", "pose"], "augment": {"flips": [flip]}}
    )
    ready, plain = prepare(batch, wanted, FACTS), prepare(batch, wanted, FACTS, training=False)
    turned = {"left-right": lambda t: t.flip(-1), "up-down": lambda t: t.flip(-2), "transpose": lambda t: t.mT}[flip]
    changed = [not torch.equal(a, b) for a, b in zip(ready["stack"], plain["stack"], strict=True)]
    assert any(changed)
    assert not all(changed)
    points = np.random.default_rng(0).random((20, 3)) + np.array([0, 0, 2])
    mirror = {"left-right": np.diag([-1, 1, 1]), "up-down": np.diag([1, -1, 1]), "transpose": np.eye(3)[[1, 0, 2]]}
    for sample in range(6):
        expected = {name: plain[name][sample] for name in ("stack", "depth", "valid")}
        if changed[sample]:
            expected = {name: turned(one) for name, one in expected.items()}
            before = projected(points, plain["intrinsics"][sample, 1].numpy(), plain["pose"][sample, 1].numpy())
            after = projected(
                points @ mirror[flip].T, ready["intrinsics"][sample, 1].numpy(), ready["pose"][sample, 1].numpy()
            )
            wanted_place = {"left-right": before * [-1, 1] + [9, 0], "up-down": before * [1, -1] + [0, 9]}
            np.testing.assert_allclose(after, wanted_place.get(flip, before[:, ::-1]), atol=1e-4)
        assert all(torch.equal(ready[name][sample], one) for name, one in expected.items())


def test_crops_move_the_principal_point():
    batch = made(slices=2)
    batch["stack"][..., 0] = torch.arange(96).reshape(8, 12)
    ready = prepare(batch, settings(input="stack", crop=[4, 6], extra=["intrinsics"]), FACTS)
    corner = (ready["stack"][:, 0, 0, 0, 0] * 255).round().long()
    assert torch.equal(ready["intrinsics"][:, 1, 0, 2], 5.0 - corner % 12)
    assert torch.equal(ready["intrinsics"][:, 1, 1, 2], 3.0 - corner // 12)
    assert torch.equal(batch["intrinsics"][:, 1, 0, 2], torch.full((6,), 5.0))


def test_a_mirrored_dual_pixel_changes_its_halves():
    batch = made(count=30)
    batch["dual"] = torch.stack([batch["capture"], 255 - batch["capture"]], 1)
    ready = prepare(batch, DataSettings.parse({"extra": ["dual"]}), FACTS)
    first = ready["dual"][:, 0]
    same = torch.isclose(first, ready["image"], atol=1e-6).flatten(1).all(1)
    other = torch.isclose(first, 1 - ready["image"], atol=1e-6).flatten(1).all(1)
    assert (same ^ other).all()
    assert 5 < other.sum() < 25


def test_raw_mosaics_keep_their_colour_filters():
    batch = made(count=20)
    batch["raw"] = torch.from_numpy(np.tile(np.arange(96, dtype=np.uint16).reshape(8, 12) + 64, (20, 1, 1)))
    facts = Facts("srgb", {"raw": (64.0, 1023.0)}, (8, 12))
    ready = prepare(batch, settings(extra=["raw"], crop=[4, 6]), facts)
    corners = (ready["raw"][:, 0, 0, 0] * (1023 - 64)).round().long()
    assert (corners // 12 % 2 == 0).all()
    assert (corners % 12 % 2 == 0).all()
    for wrong in ({"extra": ["raw"]}, {"extra": ["raw"], "crop": [5, 6], "augment": {"flips": []}}):
        with pytest.raises(InputError, match=r"colour filters"):
            DataSettings.parse(wrong)


def test_colours_change_pictures_alike_and_slices_only_if_allowed():
    batch = made(slices=3)
    batch["aif"] = batch["stack"][:, 0].clone()
    batch["stack"][:, 1] = batch["stack"][:, 0]
    colours = {"flips": [], "brightness": [-0.1, 0.1], "contrast": [0.4, 1.6], "gamma": [0.5, 2.0]}
    data = {"input": "stack", "targets": ["depth", "aif"], "augment": colours}
    ready = prepare(batch, DataSettings.parse(data), FACTS)
    plain = prepare(batch, DataSettings.parse(data), FACTS, training=False)
    assert not torch.allclose(ready["aif"], plain["aif"])
    assert torch.equal(ready["stack"][:, 0], ready["stack"][:, 1])
    assert torch.allclose(ready["aif"], ready["stack"][:, 0])
    data["augment"] = {**colours, "allow_blur_changes": True, "colour_per_slice": True}
    varied = prepare(batch, DataSettings.parse(data), FACTS)
    assert not torch.allclose(varied["stack"][:, 0], varied["stack"][:, 1])


@pytest.mark.parametrize("name", BLUR_CHANGES)
def test_what_changes_blur_is_refused_unless_it_is_allowed(name):
    value = {"resize": [0.5, 1.5], "colour_per_slice": True}.get(name, 0.5)
    augment = {name: value, "gamma": [0.5, 2.0]}
    data = {"input": "stack", "augment": augment}
    with pytest.raises(InputError, match=r"depth is read from blur.*allow_blur_changes = true"):
        DataSettings.parse(data)
    allowed = DataSettings.parse({"input": "stack", "augment": {**augment, "allow_blur_changes": True}})
    batch = made(slices=2, size=(24, 32))
    changed = prepare(batch, allowed, FACTS)["stack"]
    plain = prepare(batch, DataSettings.parse({"input": "stack", "augment": {"gamma": [0.5, 2.0]}}), FACTS)["stack"]
    assert torch.isfinite(changed).all()
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.allclose(changed, plain)
    again = {key: tensor[[3]] for key, tensor in batch.items()}
    assert torch.allclose(prepare(again, allowed, FACTS)["stack"][0], changed[3], atol=1e-6)


def test_a_picture_that_is_magnified_shows_its_middle_and_its_circles_of_confusion_grow():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    batch = made(count=1, size=(32, 32))
    batch["capture"] = (x * 4).to(torch.uint8)[None, :, :, None].repeat(1, 1, 1, 3)
    batch["depth"] = (1 + y)[None]
    batch["coc"] = torch.full((1, 32, 32), 3.0, dtype=torch.float16)
    augment = {"flips": [], "allow_blur_changes": True, "resize": [2.0, 2.0]}
    ready = prepare(batch, DataSettings.parse({"extra": ["coc"], "augment": augment}), FACTS)
    np.testing.assert_allclose(ready["image"][0, 0, 16, 2:-2] * 255 / 4, 7.75 + np.arange(2, 30) / 2, atol=0.02)
    assert (ready["coc"] == 6).all()
    assert (ready["depth"][0, :, 5].diff() >= 0).all()
    smaller = {**augment, "resize": [0.5, 0.5]}
    ready = prepare(batch, DataSettings.parse({"augment": smaller}), FACTS)
    assert ready["valid"].sum() == 16 * 16
    turned = {"flips": [], "allow_blur_changes": True, "rotate": 90.0}
    ready = prepare(batch, DataSettings.parse({"augment": turned}), FACTS)
    assert 0.5 < ready["valid"].float().mean() <= 1


def test_a_store_goes_all_the_way(tmp_path):
    arrays = ["aif", "depth", "valid", "coc", "stack", "dual"]
    path = noise_store(tmp_path / "stack", count=6, stack=STACK, output={"arrays": arrays, "bits": 16})
    extra = ["coc", "lens", "dual", "f_number", "intrinsics", "pose"]
    wanted = DataSettings.parse(
        {"input": "stack", "targets": ["depth", "aif"], "extra": extra, "crop": [32, 32], "light": "linear"}
    )
    data = StoreDataset.of(path, wanted)
    ready = prepare(data.__getitems__([1, 0]).batch, wanted, data.facts, epoch=1)
    shapes = {
        "stack": (3, 3, 32, 32), "focus": (3,), "depth": (32, 32), "valid": (32, 32), "aif": (3, 32, 32),
        "coc": (3, 32, 32), "lens": (4,), "dual": (2, 3, 32, 32), "f_number": (3,), "intrinsics": (3, 3, 3),
        "pose": (3, 6), "index": (), "store": (),
    }  # fmt: skip
    assert {name: tuple(tensor.shape[1:]) for name, tensor in ready.items()} == shapes
    whole = {"valid": torch.bool, "index": torch.int64, "store": torch.int64}
    assert all(tensor.dtype == whole.get(name, torch.float32) for name, tensor in ready.items())
    assert all(torch.isfinite(tensor).all() for name, tensor in ready.items() if name != "lens")
    sharp = DataSettings.parse({"input": "aif"})
    data = StoreDataset.of(path, sharp)
    assert set(prepare(data.__getitems__([0]).batch, sharp, data.facts)) == {
        "image",
        "depth",
        "valid",
        "index",
        "store",
    }


def psf_store(tmp_path, psf):
    narrow = {"camera": {"f_number": 12.0, "pixel_pitch": "12 um"}} if psf["kind"] == "mask" else {}
    return noise_store(tmp_path / "x", count=2, psf=psf, **narrow)


@pytest.mark.parametrize(
    ("psf", "flips"),
    [
        ({"kind": "disk"}, ["left-right", "up-down", "transpose"]),
        ({"kind": "aperture", "blades": 6}, ["left-right", "up-down"]),
        ({"kind": "aperture", "blades": 5, "rotation": 0.3}, []),
        ({"kind": "cat-eye", "nodes": 3}, ["left-right", "up-down", "transpose"]),
        ({"kind": "mask", "mask": {"kind": "clear"}, "planes": 3, "size": 15}, ["left-right", "up-down", "transpose"]),
        ({"kind": "mask", "mask": {"kind": "spiral"}, "planes": 3, "size": 15}, []),
        ({"kind": "mask", "mask": {"kind": "cubic"}, "planes": 3, "size": 15}, ["transpose"]),
    ],
    ids=str,
)
def test_flips_are_those_that_the_psfs_bear(tmp_path, psf, flips):
    path = psf_store(tmp_path, psf)
    assert symmetries(open_store(path), "train") == set(flips)
    if "left-right" not in flips:
        with pytest.raises(InputError, match=r"not their own mirror images: leave it out, or set augment.allow_asymm"):
            StoreDataset.of(path, DataSettings())
        assert StoreDataset.of(path, DataSettings(), training=False)
        assert StoreDataset.of(path, DataSettings.parse({"augment": {"allow_asymmetric": True}}))
        assert StoreDataset.of(path, settings())


def test_psfs_that_are_drawn_are_not_known_to_be_symmetric(tmp_path):
    path = psf_store(tmp_path, {"kind": "aperture", "blades": 6, "roundness": {"uniform": [0.0, 0.5]}})
    assert symmetries(open_store(path), "train") == set()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"batch": 4}, "batch: unknown key"),
        ({"batch_size": 0, "workers": -1}, "has 2 errors"),
        ({"augment": {"flip": []}}, "augment.flip: unknown key"),
        ({"depth": ["3 m", "1 m"]}, r"depth must be \[nearest, farthest\]"),
        ({"depth": ["1 mm2", "1 m"]}, "'1 mm2' is not a number with one of the units"),
        ({"targets": ["depth", "depth"]}, "targets names an array twice"),
        ({"augment": {"flips": ["transpose"]}}, "needs a square crop"),
        ({"augment": {"gamma": [2.0, 1.0]}}, r"gamma must be \[least, greatest\]"),
        ({"input": "raw"}, "input: must be 'capture', 'aif' or 'stack', not 'raw'"),
        ({"crop": [0, 4]}, "crop must be a height and a width"),
    ],
)
def test_settings_that_cannot_be_are_refused(data, words):
    with pytest.raises(InputError, match=words):
        DataSettings.parse(data, origin="train.toml")


def test_a_recipe_and_settings_are_written_alike():
    """Lengths mean the same in both."""
    camera = DataSettings.parse({"camera": {"focal_length": "50 mm", "pixel_pitch": "200 um"}}).camera
    lens = Recipe.parse(recipe_data()).lens
    assert (camera.focal_length, camera.pixel_pitch) == (lens.focal_length, lens.pixel_pitch)
