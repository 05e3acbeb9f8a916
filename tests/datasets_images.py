"""Tiny datasets of images and depth maps in their true layouts: names, types, byte orders, units."""

import struct
from pathlib import Path

import cv2
import numpy as np
from rgbd import dpt, pfm, save


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Colour that differs from pixel to pixel and compresses well."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([x + 3 * seed, y, 7 * seed + 0 * x]).astype(np.uint8)


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_npy(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def write_npz(path: Path, **arrays: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def matrix(values: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:f}" for value in row) for row in np.asarray(values)) + "\n"


K = np.array([[50.0, 0, 3.5], [0, 52.0, 2.5], [0, 0, 1]])
DEPTH = np.arange(1.0, 49.0).reshape(6, 8)  # metres; every value differs


# Scene Flow

FLOW = (540, 960)


def ramp(first: float) -> np.ndarray:
    """Disparities (540, 960) that differ by row and column."""
    y, x = np.mgrid[: FLOW[0], : FLOW[1]]
    return (first + y + x / 1024).astype(np.float32)


def flying_things(root: Path) -> Path:
    for i, name in enumerate(("TRAIN/A/0000/left/0006", "TRAIN/A/0000/left/0007", "TEST/B/0012/left/0006")):
        for what in ("clean", "final"):
            save(root / f"frames_{what}pass" / f"{name}.png", picture(*FLOW, i))
        write(root / "disparity" / f"{name}.pfm", pfm(ramp(10 + i), -1.0))
    write(root / "disparity" / "TRAIN/A/0000/right/0006.pfm", pfm(ramp(1), -1.0))
    save(root / "frames_cleanpass/TRAIN/A/0000/right/0006.png", picture(*FLOW))
    return root


def driving(root: Path) -> Path:
    for lens in ("15mm", "35mm"):
        name = f"{lens}_focallength/scene_backwards/fast/left/0001"
        save(root / "frames_cleanpass" / f"{name}.webp", picture(*FLOW))
        write(root / "disparity" / f"{name}.pfm", pfm(ramp(90), 1.0))
    return root


def monkaa(root: Path) -> Path:
    for scene in ("lonetree_x2", "lonetree_winter_x2", "eating_naked_camera2_x2", "a_rain_of_stones_x2"):
        save(root / "frames_cleanpass" / scene / "left/0000.png", picture(*FLOW))
        write(root / "disparity" / scene / "left/0000.pfm", pfm(ramp(90), -1.0))
    return root


def flying_subset(root: Path) -> Path:
    for part, number in (("train", 9), ("train", 10), ("train", 19), ("val", 0)):
        name = f"left/{number:07d}"
        save(root / part / "image_clean" / f"{name}.png", picture(*FLOW))
        write(root / part / "disparity" / f"{name}.pfm", pfm(-ramp(105), -1.0))
    return root


# Middlebury


def calibration(width: int, height: int, doffs: float = 124.343, baseline: float = 193.001) -> str:
    """calib.txt of Adirondack, for a picture of another size."""
    return (
        "cam0=[3979.911 0 1244.772; 0 3979.911 1019.507; 0 0 1]\n"
        "cam1=[3979.911 0 1369.115; 0 3979.911 1019.507; 0 0 1]\n"
        f"doffs={doffs}\nbaseline={baseline}\nwidth={width}\nheight={height}\n"
        "ndisp=290\nisint=0\nvmin=23\nvmax=245\ndyavg=0.918\ndymax=1.516\n"
    )


def middlebury_2014(root: Path) -> Path:
    for name in ("Adirondack-perfect", "Adirondack-imperfect", "Sword1-perfect", "artroom2"):
        disparity = (DEPTH + 30).astype(np.float32)
        disparity[0, 0] = np.inf
        save(root / name / "im0.png", picture(6, 8))
        save(root / name / "im1.png", picture(6, 8, 1))
        write(root / name / "disp0.pfm", pfm(disparity, -0.003922))
        write(root / name / "calib.txt", calibration(8, 6))
    return root


def middlebury_2006(root: Path, height: int = 370, width: int = 40, dmin: int = 50) -> Path:
    stored = np.tile(np.arange(width, dtype=np.uint8) * 3, (height, 1))
    for name in ("Art", "Baby2"):
        save(root / name / "view1.png", picture(height, width))
        save(root / name / "view5.png", picture(height, width, 1))
        save(root / name / "disp1.png", stored)
        write(root / name / "dmin.txt", f"{dmin}\n")
    return root


# D3-Net's photographs: camera and sensor name files by two clocks

DSLR_TIMES = {
    "train": [("2018-04-26T16:38:31.689710", "2018-04-26T16:38:31.655986"),
              ("2018-04-26T16:39:15.694566", "2018-04-26T16:39:15.627710")],
    "test": [("2018-04-26T17:40:20.680000", "2018-04-26T17:40:20.613391")],
}  # fmt: skip


def dslr(root: Path, depth_in: tuple[str, ...] = ("N8", "N2_8")) -> Path:
    for split, times in DSLR_TIMES.items():
        for i, (camera, sensor) in enumerate(times):
            for seed, variant in enumerate(("N8", "N2_8")):
                folder = root / f"dfd_dataset_indoor_{variant}"
                save(folder / "rgb" / split / f"{camera}.jpg", picture(6, 8, i + 10 * seed)).rename(
                    folder / "rgb" / split / f"{camera}.JPG"
                )
                if variant in depth_in:
                    stored = (DEPTH * 100 + i).astype(np.uint16)
                    stored[0, 0] = 0
                    save(folder / "depth" / split / f"{sensor}.png", stored)
    return root


# TartanAir


def packed(path: Path, values: np.ndarray) -> Path:
    """Write float32 as OpenCV does in tartanair_tools: its bytes are blue, green, red, alpha."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(values, "<f4")[..., None].view(np.uint8))
    return path


def air_depth(height: int) -> np.ndarray:
    depth = np.tile(np.linspace(0.5, 80, 640, dtype=np.float32), (height, 1))
    depth[0], depth[1, 0], depth[2, 0] = 65504.0, 0.0, 9999.0
    return depth


def tartanair_1(root: Path) -> Path:
    for place in ("abandonedfactory/Easy/P000", "abandonedfactory_night/Hard/P001", "office/office/Easy/P002"):
        save(root / place / "image_left/000000_left.png", picture(480, 640))
        save(root / place / "image_right/000000_right.png", picture(480, 640))
        write_npy(root / place / "depth_left/000000_left_depth.npy", air_depth(480))
    return root


def tartanair_2(root: Path) -> Path:
    place = root / "AbandonedCable/Data_hard/P003"
    save(place / "image_lcam_front/000000_lcam_front.png", picture(640, 640))
    save(place / "image_lcam_back/000000_lcam_back.png", picture(640, 640))
    packed(place / "depth_lcam_front/000000_lcam_front_depth.png", air_depth(640))
    return root


# RGB-D cameras


def kinect(unit: int) -> np.ndarray:
    """Depth maps of 0 (unknown) to 6.39 metres."""
    return np.tile(np.arange(640) * unit // 100, (480, 1)).astype(np.uint16)


def tum(root: Path) -> Path:
    folder = root / "rgbd_dataset_freiburg1_desk"
    # The second depth map is nearest to the second frame; the third frame has none within 20 ms.
    colour, depth = (
        ("1305031452.791720", "1305031452.823674", "1305031453.100000"),
        ("1305031452.785000", "1305031452.827000"),
    )
    for i, time in enumerate(colour):
        save(folder / "rgb" / f"{time}.png", picture(480, 640, i))
    for i, time in enumerate(depth):
        save(folder / "depth" / f"{time}.png", kinect(5000) + np.uint16(5000 * i))
    header = "# color images\n# file: 'rgbd_dataset_freiburg1_desk.bag'\n# timestamp filename\n"
    write(folder / "rgb.txt", header + "".join(f"{time} rgb/{time}.png\n" for time in colour))
    write(folder / "depth.txt", header + "".join(f"{time} depth/{time}.png\n" for time in depth))
    return root


def tum_associated(root: Path) -> Path:
    folder = root / "rgbd_dataset_freiburg3_long_office_household"
    save(folder / "rgb/1.0.png", picture(480, 640))
    save(folder / "depth/1.5.png", kinect(5000))
    write(folder / "associations.txt", "1.0 rgb/1.0.png 1.5 depth/1.5.png\n")
    return root


def redwood(root: Path) -> Path:
    for i in range(2):
        save(root / f"redwood_color/{i:05d}.jpg", picture(480, 640, i))
        save(root / f"redwood_depth/{i:05d}.png", kinect(1000))
    return root


def redwood_scan(root: Path) -> Path:
    for i, (colour, depth) in enumerate(((0, 5_000), (33_369, 30_000), (66_000, 99_000)), 1):
        save(root / f"00123/rgb/{i:07d}-{colour:012d}.jpg", picture(480, 640, i))
        save(root / f"00123/depth/{i + 1:07d}-{depth:012d}.png", kinect(1000))
    return root


def scannet(root: Path, colour: tuple[int, int] = (12, 16)) -> Path:
    """A colour picture of twice the depth map's size, of cameras that agree: x_colour + 1/2 = 2 (x_depth + 1/2)."""
    wide = np.array([[100.0, 0, 7.5, 0], [0, 104.0, 5.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    small = np.array([[50.0, 0, 3.5, 0], [0, 52.0, 2.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for name in ("scene0000_00", "scene0000_01", "scene0707_00"):
        folder = root / "scans" / name
        stored = (DEPTH * 100).astype(np.uint16)
        stored[0, 0] = 0
        save(folder / "color/0.jpg", np.full((*colour, 3), (200, 100, 50), np.uint8))
        save(folder / "depth/0.png", stored)
        write(folder / "pose/0.txt", matrix(np.eye(4)))
        write(folder / "intrinsic/intrinsic_color.txt", matrix(wide))
        write(folder / "intrinsic/intrinsic_depth.txt", matrix(small))
    return root


# Focal stacks

ZEDD_RUNS = {1: ("6D3E", 0.82), 5: ("2371", 2.05), 9: ("1113", 8.1)}


def zedd(root: Path) -> Path:
    write(
        root / "metadata.txt",
        "# run\thex\tfocus\n" + "".join(f"run_{i}\t{c}\t{d}\n" for i, (c, d) in ZEDD_RUNS.items()),
    )
    for scene in ("val/val_0001", "val/val_0002", "test/test_0001"):
        for run, (code, _) in ZEDD_RUNS.items():
            for n, number in enumerate(("1.4", "2.8", "16.0")):
                name = f"img_run_{run}_motor_{code}_aperture_F{number}.jpg"
                save(root / scene / "focus_stack" / name, np.full((6, 8, 3), 20 * run + n, np.uint8))
        write(root / scene / "gt/K.txt", matrix(K))
        if "val" in scene:
            depth = DEPTH.astype(np.float32)
            depth[0, :3] = np.nan, np.inf, 0
            write_npy(root / scene / "gt/depth.npy", depth)
    return root


def infinigen(root: Path) -> Path:
    for scene in ("1a4897de_1", "1a4897de_2", "2b_7"):
        depth = DEPTH.astype(np.float32)
        depth[0, :3] = np.nan, np.inf, 1e10
        save(root / scene / "image_all_in_focus.png", picture(6, 8))
        write_npy(root / scene / "depth.npy", depth)
        write_npz(root / scene / "cam_all_in_focus.npz", K=K, T=np.eye(4))
        for n, number in enumerate(("1.40", "2.80")):
            for k, focus in enumerate(("0.80", "1.70", "8.00")):
                save(root / scene / f"image_ap_{number}_fd_{focus}.png", np.full((6, 8, 3), 10 * n + k, np.uint8))
                write_npz(root / scene / f"cam_ap_{number}_fd_{focus}.npz", K=K)
    return root


# HAMMER, Sintel


def hammer(root: Path) -> Path:
    for scene in ("scene2_traj1_1", "scene2_traj1_naked_1", "scene12_traj2_1"):
        camera = root / scene / "polarization"
        save(camera / "rgb/000000.png", picture(6, 8))
        write(camera / "intrinsics.txt", matrix(K))
        write(camera / "_pose/000000.txt", matrix(np.eye(4)))
        for i, name in enumerate(("_gt", "depth_d435", "depth_l515", "depth_tof")):
            stored = (DEPTH * 100 + i).astype(np.uint16)
            stored[0, 0] = 0
            save(camera / name / "000000.png", stored)
        save(root / scene / "d435/rgb/000000.png", picture(4, 4))  # another camera's
    return root


def cam(intrinsics: np.ndarray) -> bytes:
    extrinsics = np.eye(4)[:3]
    return struct.pack("<f", 202021.25) + intrinsics.astype("<f8").tobytes() + extrinsics.astype("<f8").tobytes()


def sintel(root: Path) -> Path:
    for shot in ("alley_1", "alley_2", "market_2"):
        for variant in ("clean", "final", "albedo"):
            save(root / "training" / variant / shot / "frame_0001.png", picture(6, 8))
        depth = DEPTH.copy()
        depth[0, 0] = 1e11
        write(root / "training/depth" / shot / "frame_0001.dpt", dpt(depth))
        write(root / "training/camdata_left" / shot / "frame_0001.cam", cam(K))
    save(root / "test/clean/ambush_1/frame_0001.png", picture(6, 8))
    return root


# kind, what writes a dataset of it
DATASETS = {
    "flying things": ("sceneflow", flying_things),
    "driving": ("sceneflow", driving),
    "monkaa": ("sceneflow", monkaa),
    "flying things' subset": ("sceneflow", flying_subset),
    "middlebury 2014": ("middlebury", middlebury_2014),
    "middlebury 2006": ("middlebury", middlebury_2006),
    "dslr": ("dslr", dslr),
    "tartanair 1": ("tartanair", tartanair_1),
    "tartanair 2": ("tartanair", tartanair_2),
    "tum": ("tum", tum),
    "tum associated": ("tum", tum_associated),
    "redwood": ("redwood", redwood),
    "redwood scan": ("redwood", redwood_scan),
    "scannet": ("scannet", scannet),
    "zedd": ("zedd", zedd),
    "infinigen": ("infinigen-defocus", infinigen),
    "hammer": ("hammer", hammer),
    "sintel": ("sintel", sintel),
}
