"""What all readers of images share; and damaged files, of which each gives a scene that is valid or one sentence."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from datasets_images import DATASETS, infinigen, zedd
from rgbd import dpt, pfm

from defocal import InputError
from defocal.synth import Scene
from defocal.synth.readers import READERS, Reader, read_scenes

KINDS = sorted({kind for kind, _ in DATASETS.values()})


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Return the folder of a dataset by its name; tests must not change it."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = DATASETS[name][1](tmp_path_factory.mktemp("data") / "größe 深度 [1] {x}")
        return made[name]

    return get


@pytest.mark.parametrize("name", DATASETS)
def test_items(datasets, name):
    kind, _ = DATASETS[name]
    reader = read_scenes(kind, datasets(name))
    items = reader.scan()
    assert items
    sources = [item.source for item in items]
    assert len(set(sources)) == len(sources)
    assert sources == sorted(sources, key=str.encode)
    splits: dict[str, set[str]] = {}
    for item in items:
        assert item.group
        assert "\\" not in item.source
        assert item.split in ("", *READERS[kind].PARTS)
        assert all(datasets(name) in path.parents for path in item.files)
        splits.setdefault(item.group, set()).add(item.split)
    assert all(len(parts) == 1 for parts in splits.values())  # a place is never in two official splits
    assert [item.source for item in read_scenes(kind, datasets(name)).scan()] == sources
    assert sum(_count(kind, datasets(name), part) for part in {item.split for item in items}) == len(items)


def _count(kind: str, path: Path, part: str) -> int:
    everything = read_scenes(kind, path).scan()
    if not part:
        return sum(not item.split for item in everything)
    return len(read_scenes(kind, path, part=part))


@pytest.mark.parametrize("name", DATASETS)
def test_every_scene_is_valid(datasets, name):
    kind, _ = DATASETS[name]
    reader = read_scenes(kind, datasets(name))
    for i in range(len(reader)):
        scene = reader.read(i)
        assert scene.source == reader.source(i)
        assert (scene.aif.dtype, scene.depth.dtype) == (np.float32, np.float32)
        assert scene.aif.shape == (*scene.depth.shape, 3)
        assert not (scene.depth <= 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_users_read_of_a_kind(kind):
    reader = READERS[kind]
    assert issubclass(reader, Reader)
    assert reader.TITLE
    assert reader.LICENCE
    text = reader.__doc__ or ""
    assert text.split("\n\n")[0].endswith(".")
    assert "`path`" in text.split("\n\n")[1]
    for word in ("group", "split", "Sources:"):
        assert word in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["absent", "empty folder", "another dataset", "a file"])
def test_what_is_no_dataset(tmp_path, kind, what):
    path = tmp_path / "data"
    if what == "a file":
        path.write_bytes(b"PK\x03\x04")
    elif what != "absent":
        path.mkdir()
    if what == "another dataset":
        (path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
        (path / "folder").mkdir()
    with pytest.raises(InputError) as caught:
        read_scenes(kind, path).scan()
    check_sentence(str(caught.value), path)


# Damage


def check_sentence(text: str, root: Path) -> None:
    assert "\n" not in text
    assert text.endswith(".")
    assert not text.endswith("..")
    assert str(root) in text
    assert len(text) < 1000


def encoded(suffix: str, image: np.ndarray) -> bytes:
    done, data = cv2.imencode(suffix, image)
    assert done
    return data.tobytes()


def numpy_file(values: np.ndarray) -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def other_pictures(shape: tuple[int, ...]) -> dict[str, bytes]:
    height, width = shape[:2]
    return {
        "float": encoded(".tiff", np.ones((height, width, 3), np.float32)),
        "grey": encoded(".png", np.full((height, width), 200, np.uint8)),
        "four channels": encoded(".png", np.full((height, width, 4), 200, np.uint8)),
        "deep": encoded(".png", np.full((height, width, 3), 40000, np.uint16)),
        "black": encoded(".png", np.zeros((height, width, 3), np.uint8)),
        "smaller": encoded(".png", np.full((max(height // 2, 1), width, 3), 9, np.uint8)),
        "one pixel": encoded(".png", np.full((1, 1), 9, np.uint16)),
        "photograph": encoded(".jpg", np.full((height, width, 3), 9, np.uint8)),
    }


def other_numbers(suffix: str, shape: tuple[int, int]) -> dict[str, bytes]:
    """Files of a format with numbers that a depth map should not have."""
    plain = np.full(shape, 2.0, np.float32)
    one = plain.copy()
    one[0, 0] = np.nan
    kinds = {
        "nan": np.full(shape, np.nan, np.float32),
        "a nan": one,
        "inf": np.full(shape, np.inf, np.float32),
        "-inf": np.full(shape, -np.inf, np.float32),
        "negative": -plain,
        "huge": plain * 1e38,
        "tiny": plain * 1e-38,
        "zero": plain * 0,
        "short": plain[:-1],
        "narrow": plain[:, :-1],
    }
    if suffix == ".pfm":
        return {name: pfm(values, -1.0) for name, values in kinds.items()} | {"colour": b"PF" + pfm(plain, -1.0)[2:]}
    if suffix == ".dpt":
        return {name: dpt(values) for name, values in kinds.items()}
    if suffix == ".npy":
        files = {name: numpy_file(values) for name, values in kinds.items()}
        for name, values in {
            "double": plain.astype(np.float64) * 1e300,
            "integers": plain.astype(np.int16),
            "complex": plain.astype(complex),
            "text": np.full(shape, "2"),
            "truth": plain > 0,
            "volume": plain[None],
            "none": plain[:0],
            "scalar": np.float32(2),
            "columns": np.asfortranarray(plain),
            "big-endian": plain.astype(">f4"),
        }.items():
            files[name] = numpy_file(np.asarray(values))
        return files
    if suffix == ".png":
        files = {}
        for name, values in kinds.items():
            packed = np.ascontiguousarray(values, "<f4")[..., None].view(np.uint8)
            files[f"packed {name}"] = encoded(".png", packed)
        for name, number in (("zero", 0), ("one", 1), ("most", 65535)):
            files[name] = encoded(".png", np.full(shape, number, np.uint16))
        return files
    return {}


def damages(path: Path, rng: np.random.Generator) -> dict[str, bytes]:
    data = path.read_bytes()
    length = len(data)
    files = {
        f"cut to {n}": data[:n] for n in {0, 1, 3, 7, 15, length // 4, length // 2, length - 9, length - 1} if n >= 0
    }
    files["noise"] = rng.bytes(min(length, 4000))
    files["zeros"] = bytes(length)
    files["twice"] = data + data
    for k in range(6):
        changed = bytearray(data)
        for at in rng.integers(0, length if k % 2 else min(length, 64), 4):
            changed[at] = rng.integers(256)
        files[f"changed {k}"] = bytes(changed)
    picture = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if path.suffix not in (".txt", ".cam")
        else None
    )
    if picture is not None and path.suffix != ".pfm":
        files |= other_pictures(picture.shape)
    if path.suffix == ".npy":
        files |= other_numbers(".npy", np.load(path).shape[:2])
    if path.suffix == ".pfm":
        files |= other_numbers(".pfm", tuple(int(n) for n in data.split(b"\n")[1].split()[::-1]))
    if path.suffix == ".dpt":
        files |= other_numbers(".dpt", tuple(int(n) for n in np.frombuffer(data, "<i4", 2, 4)[::-1]))
    if path.suffix == ".png" and picture is not None:
        files |= other_numbers(".png", picture.shape[:2])
    if path.suffix == ".txt":
        text = data.decode()
        for name, new in {
            "words": "words " * 20,
            "nan": "nan " * 16,
            "negative": text.replace("0", "-"),
            "huge": text.replace("1", "1e999 "),
            "bytes": "\x00\x01\x02",
            "comment": "# " + text.replace("\n", " "),
            "tabs": text.replace(" ", "\t"),
            "returns": text.replace("\n", "\r\n"),
            "marked": "\ufeff" + text,
            "other folder": text.replace("rgb/", "../../").replace("depth/", "/etc/"),
        }.items():
            files[name] = new.encode()
        files["utf-16"] = text.encode("utf-16")
    return files


def outcome(call, root: Path) -> str:
    """Call: what comes is a scene, or a sentence that names a file."""
    try:
        scene = call()
    except InputError as error:
        check_sentence(str(error), root)
        return "refused"
    if isinstance(scene, Scene):
        assert np.isfinite(scene.aif).all()
        assert (scene.aif >= 0).all()
        assert not (scene.depth <= 0).any()
        assert not np.isnan(scene.depth).all()
    return "read"


@pytest.mark.parametrize("name", DATASETS)
def test_damaged_files(datasets, tmp_path, name, capfd):
    kind, _ = DATASETS[name]
    root = tmp_path / "größe 深度 [1] {x}"
    shutil.copytree(datasets(name), root)
    reader = read_scenes(kind, root)
    first = reader.scan()[0]
    touched = [*first.files, *[path for path in sorted(root.rglob("*.txt")) if path not in first.files][:4]]
    rng = np.random.default_rng(sum(name.encode()))
    refused = dict.fromkeys(touched, 0)
    for path in touched:
        data = path.read_bytes()
        for damaged in damages(path, rng).values():
            path.write_bytes(damaged)
            refused[path] += outcome(lambda: read_scenes(kind, root).read(0), root) == "refused"
        path.unlink()
        refused[path] += outcome(lambda: read_scenes(kind, root).read(0), root) == "refused"
        path.mkdir()
        outcome(lambda: read_scenes(kind, root).read(0), root)
        path.rmdir()
        path.write_bytes(data)
    outcome(lambda: read_scenes(kind, root).read(0), root)
    for path in first.files:
        assert refused[path] >= 8, path
    printed = capfd.readouterr()
    # libjpeg speaks of damage that it reads over, and a JPEG has no checksum by which to know of it before.
    assert [line for line in printed.err.splitlines() if not line.startswith("Corrupt JPEG data")] == []
    assert printed.out == ""


@pytest.mark.parametrize(("kind", "write"), [("zedd", zedd), ("infinigen-defocus", infinigen)])
def test_damaged_stacks(tmp_path, kind, write):
    write(tmp_path)
    reader = read_scenes(kind, tmp_path)
    folder = reader.files(0)[0].parent
    (path,) = [*folder.glob("img_run_9_*_F2.8.jpg"), *folder.glob("image_ap_2.80_fd_8.00.png")]
    rng = np.random.default_rng(0)
    for damaged in damages(path, rng).values():
        path.write_bytes(damaged)
        outcome(lambda: reader.stack(0, 2.8), tmp_path)
