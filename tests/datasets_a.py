"""Tiny datasets in the true layouts: HDF5, MATLAB, light fields and scanners."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io
from rgbd import pfm, save

RNG = np.random.default_rng(5)
UNICODE = "my data é"


def colour(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def h5(path: Path, **arrays) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip")
    return path


def npy(path: Path, values) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def nyu_labelled(root: Path, scenes=("kitchen_0001", "basement_0001a", "basement_0001b"), splits=True) -> Path:
    """As MATLAB writes it: axes reversed, strings as cells of references to 16-bit characters."""
    count = len(scenes)
    images = np.zeros((count, 3, 640, 480), np.uint8)
    images[...] = np.arange(640)[:, None] // 4  # varies along the columns of the picture
    images[:, 1] += (np.arange(480) // 8).astype(np.uint8)  # green along its rows, too
    images[:, 2] += 3 * np.arange(count, dtype=np.uint8)[:, None, None]
    depths = np.broadcast_to(np.arange(1, 641, dtype=np.float32)[:, None] / 100, (count, 640, 480)).copy()
    raw = depths.copy()
    raw[:, 100, 50] = 0  # column 100, row 50 of the picture
    path = h5(root / "nyu_depth_v2_labeled.mat", images=images, depths=depths, rawDepths=raw)
    with h5py.File(path, "a") as file:
        cells = file.create_dataset("scenes", (1, count), dtype=h5py.ref_dtype)
        for i, name in enumerate(scenes):
            text = np.array([[ord(letter)] for letter in name], np.uint16)
            cells[0, i] = file.create_dataset(f"#refs#/{i}", data=text).ref
    if splits:
        numbers = np.arange(1, count + 1, dtype=np.float64)[:, None]
        scipy.io.savemat(root / "splits.mat", {"trainNdxs": numbers[1:], "testNdxs": numbers[:1]})
    return root


def pgm(path: Path, numbers, order: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = numbers.shape
    path.write_bytes(b"P5 %d %d 65535\n" % (width, height) + numbers.astype(order + "u2").tobytes())
    return path


def nyu_raw(root: Path, numbers=None) -> Path:
    numbers = np.full((480, 640), 900) if numbers is None else numbers
    for scene, shift in (("living_room_0001a", 0.0), ("living_room_0001b", 100.0)):
        for time in (10.0, 10.03):
            save(root / scene / f"r-{shift + time:.6f}-1.ppm", colour(*numbers.shape))
        pgm(root / scene / f"d-{shift + 10.02:.6f}-2.pgm", numbers, "<")
        pgm(root / scene / f"d-{shift + 19:.6f}-3.pgm", numbers, "<")  # of no colour frame
        (root / scene / f"a-{shift + 10:.6f}-4.dump").write_bytes(b"accelerometer")
    return root


def rotated(millimetres) -> np.ndarray:
    """As SUN RGB-D stores it."""
    mm = np.asarray(millimetres, np.uint16)
    return (mm << 3) | (mm >> 13)


SUN_FRAMES = (
    "kv1/NYUdata/NYU0001",
    "kv2/kinect2data/000002_2014-resize",
    "xtion/sun3ddata/brown/hall/0001",
    "xtion/sun3ddata/brown/hall/0002",
)


def sun(root: Path, splits=True) -> Path:
    for seed, name in enumerate(SUN_FRAMES):
        folder = root / "SUNRGBD" / name
        save(folder / "image" / "0001.jpg", np.full((6, 8, 3), 10 * seed, np.uint8))
        depth = np.arange(48).reshape(6, 8) * 100 + 4000
        depth[0, 0], depth[0, 1] = 0, 9870
        save(folder / "depth_bfx" / "0001.png", rotated(depth))
        save(folder / "depth" / "0001.png", rotated(np.where(depth > 5000, 0, depth)))
        (folder / "intrinsics.txt").write_text("529.5 0 4.5 0 530.5 3.5 0 0 1 \n")
    if splits:
        path = root / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat"
        path.parent.mkdir(parents=True)
        prefix = "/n/fs/sun3d/data/SUNRGBD/"
        names = np.empty((1, 4), object)
        names[0] = [prefix + name for name in SUN_FRAMES]
        names[0, 1] += "/"  # some of them end so
        scipy.io.savemat(path, {"alltrain": names[:, :1], "alltest": names[:, 1:]})
    return root / "SUNRGBD"


def make3d(root: Path, height=2272, width=1704, rows=55, columns=305) -> Path:
    grid = np.zeros((rows, columns, 4))
    grid[..., 2] = 5 + np.arange(rows)[:, None] + np.arange(columns) / 1000
    grid[..., 3] = grid[..., 2] * 1.1
    grid[0, :2, 3] = 81.9, 80.0
    for images, depths, names in (
        ("Train400Img", "Train400Depth", ("10.21op2-p-139t000", "10.21op2-p-251t000", "math7-p-046t0")),
        ("Test134", "Gridlaserdata", ("op57-p-016t000",)),
    ):
        for name in names:
            save(root / images / f"img-{name}.jpg", np.full((height, width, 3), 128, np.uint8))
            (root / depths).mkdir(exist_ok=True)
            scipy.io.savemat(root / depths / f"depth_sph_corr-{name}.mat", {"Position3DGrid": grid})
    save(root / "Test134" / "img-lonely-p-016t000.jpg", np.full((8, 8, 3), 128, np.uint8))
    return root


HYPERSIM_FRAMES = (("ai_001_001", "00", 0), ("ai_001_001", "01", 7), ("ai_002_003", "00", 12))


def hypersim(root: Path, tables=True, height=12, width=16) -> Path:
    for scene, camera, number in HYPERSIM_FRAMES:
        images = root / scene / "images"
        light = np.full((height, width, 3), 2.0, np.float16)
        light[0] = 40  # a lamp
        distance = np.full((height, width), 3.0, np.float16)
        distance[-1, -1] = np.nan
        h5(images / f"scene_cam_{camera}_final_hdf5" / f"frame.{number:04d}.color.hdf5", dataset=light)
        h5(images / f"scene_cam_{camera}_geometry_hdf5" / f"frame.{number:04d}.depth_meters.hdf5", dataset=distance)
    if tables:
        rows = ["scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"]
        for (scene, camera, number), part in zip(HYPERSIM_FRAMES, ("train", "train", "val"), strict=True):
            rows.append(f"{scene},cam_{camera},{number},True,,{part}")
        rows.append("ai_001_001,cam_00,55,False,person,")
        (root / "metadata_images_split_scene_v1.csv").write_text("\n".join(rows) + "\n")
        names = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
        rows = ["scene_name," + ",".join(names), "ai_001_001,0.5773502886169104,0,0,0,0.4330127164626828,0,0,0,-1"]
        rows.append("ai_002_003,0.4,0,0.01,0,0.3,0.06,0,0.05,-1.02")  # shifted and tilted
        (root / "metadata_camera_parameters.csv").write_text("\n".join(rows) + "\n")
    return root


def diode(root: Path, height=6, width=8) -> Path:
    for part, place in (("train", "indoors/scene_00000/scan_00000"), ("val", "outdoor/scene_00022/scan_00193")):
        folder = root / part / place
        save(folder / "00000_a.png", colour(height, width))
        depth = np.arange(1, height * width + 1, dtype=np.float32).reshape(height, width, 1)
        mask = np.ones((height, width), np.float32)
        mask[0, 3], depth[0, 3] = 0, 300
        npy(folder / "00000_a_depth.npy", depth)
        npy(folder / "00000_a_depth_mask.npy", mask)
    return root


def ddff(root: Path, height=5, width=7) -> Path:
    for part, scene, number in (("train", "kitchen", 1), ("train", "kitchen", 2), ("val", "office41", 1)):
        views = np.zeros((9, 9, height, width, 3), np.uint8)
        views[4, 4] = colour(height, width, number)
        npy(root / "lightfield" / part / scene / f"LF_{number:04d}.npy", views)
        depth = np.full((height, width), 1500, np.uint16)
        depth[1, 2] = 0
        save(root / "depthregistered" / part / scene / f"DEPTH_{number:04d}.png", depth)
    npy(root / "lightfield" / "test" / "cafeteria" / "LF_0001.npy", np.zeros((9, 9, height, width, 3), np.uint8))
    return root


def ddff_stacks(root: Path, height=5, width=7, channel=False) -> Path:
    disparity = np.full((2, height, width), 0.1, np.float32)
    disparity[:, 0, 0] = 0
    stacks = np.stack([np.full((10, height, width, 3), 7 * (i + 1), np.uint8) for i in range(2)])
    if channel:
        disparity, stacks = disparity[:, None], stacks.astype(np.float32)
    return h5(
        root / "ddff-dataset-trainval.h5",
        stack_train=stacks, disp_train=disparity, stack_val=stacks[:1], disp_val=disparity[:1],
    )  # fmt: skip


PARAMETERS = """[intrinsics]
focal_length_mm = 100.0
image_resolution_x_px = {width}
image_resolution_y_px = {height}
sensor_size_mm = 35.0
fstop = 100.0

[extrinsics]
num_cams_x = 9
num_cams_y = 9
baseline_mm = 25.0
focus_distance_m = 4.25

[meta]
scene = cotton
category = training
"""


def hci(root: Path, views=False, size=(6, 8)) -> Path:
    for part, scene in (("training", "cotton"), ("additional", "town"), ("stratified", "dots")):
        folder = root / part / scene
        for number in range(81) if views else (40,):
            save(folder / f"input_Cam{number:03d}.png", np.full((*size, 3), number, np.uint8))
        (folder / "parameters.cfg").write_text(PARAMETERS.format(height=size[0], width=size[1]))
        disparity = np.linspace(-0.1, 0.1, size[0] * size[1]).reshape(size)
        focal = 100 / 35 * max(size)
        depth = 1 / (disparity / (0.025 * focal) + 1 / 4.25)
        (folder / "gt_disp_lowres.pfm").write_bytes(pfm(disparity, -1.0))
        (folder / "gt_depth_lowres.pfm").write_bytes(pfm(depth, -1.0))
    folder = root / "test" / "bedroom"
    save(folder / "input_Cam040.png", np.zeros((*size, 3), np.uint8))
    (folder / "parameters.cfg").write_text(PARAMETERS.format(height=size[0], width=size[1]))
    return root


WRITERS = {
    "nyuv2": nyu_labelled,
    "nyu-raw": nyu_raw,
    "sun-rgbd": sun,
    "make3d": make3d,
    "hypersim": hypersim,
    "diode": diode,
    "ddff12": ddff,
    "hci": hci,
}
