"""One small scene, written in every layout of data sets by code that shares nothing with the readers.

The truth is made by looking from somewhere at a target, so that its direction and axes are plain to see. Each
writer puts tiny images and the poses into an empty folder and returns the options that reading them needs.
"""

import csv
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from camloc.geometry import Camera

Matrix = NDArray[np.float64]

WIDTH, HEIGHT, FOCAL = 32, 24, 30.0
CAMERA = Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
TARGET = np.array([0.5, 4.0, -1.0])
TRAIN, TEST = 5, 3

_WORLD_DOWN = np.array([0.0, 0.0, -1.0])
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class PosedScene:
    """The truth: 4x4 `world_from_cam` matrices in OpenCV axes of the training and of the test frames."""

    train: tuple[Matrix, ...]
    test: tuple[Matrix, ...]

    @property
    def all(self) -> tuple[Matrix, ...]:
        return (*self.train, *self.test)

    def side(self, number: int) -> str:
        """Whether a frame is for training or for testing."""
        return "train" if number < len(self.train) else "test"


def looking_at_target(centre: Matrix) -> Matrix:
    """The pose of a camera at `centre` that sees the target in the middle of an upright image."""
    forward = (TARGET - centre) / np.linalg.norm(TARGET - centre)
    right = np.cross(_WORLD_DOWN, forward)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = centre
    return matrix


def make_scene(*, seed: int = 0) -> PosedScene:
    """A scene of `TRAIN` and `TEST` frames."""
    centres = np.random.default_rng(seed).uniform(-2.0, 2.0, (TRAIN + TEST, 3))
    matrices = tuple(looking_at_target(centre) for centre in centres)
    return PosedScene(matrices[:TRAIN], matrices[TRAIN:])


def write_image(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 90, 90)).save(path)


def wxyz(rotation: Matrix) -> list[float]:
    """A quaternion with w first, by SciPy."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat().tolist()
    return [w, x, y, z]


def words(*values: object) -> str:
    return " ".join(str(value) for value in values)


def write_sevenscenes(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Two sequences, split by the official kind of lists."""
    for number, matrix in enumerate(scene.all):
        stem = root / f"seq-{'01' if scene.side(number) == 'train' else '02'}" / f"frame-{number:06d}"
        write_image(Path(f"{stem}.color.png"))
        Path(f"{stem}.pose.txt").write_text("".join(words(*row.tolist()) + " \n" for row in matrix))
    (root / "TrainSplit.txt").write_text("sequence1\n")
    (root / "TestSplit.txt").write_text("sequence2\n")
    return {"camera": CAMERA}


def write_twelvescenes(root: Path, scene: PosedScene) -> dict[str, Any]:
    """One recording, whose first sequence is for testing, and in which tracking was lost once."""
    infinite = np.full((4, 4), "-1.#INF")
    recording = [*scene.test, *scene.train[:2], infinite, *scene.train[2:]]
    for number, matrix in enumerate(recording):
        stem = root / "data" / f"frame-{number:06d}"
        write_image(Path(f"{stem}.color.jpg"))
        Path(f"{stem}.pose.txt").write_text("".join(words(*row.tolist()) + "\n" for row in matrix))
    intrinsics = (FOCAL, 0, WIDTH / 2, 0, 0, FOCAL, HEIGHT / 2, 0, 0, 0, 1, 0, 0, 0, 0, 1)
    (root / "info.txt").write_text(
        f"m_versionNumber = 4\nm_sensorName = StructureSensor\nm_colorWidth = {WIDTH}\n"
        f"m_colorHeight = {HEIGHT}\nm_depthWidth = 640\nm_calibrationColorIntrinsic = "
        f"{words(*intrinsics)} \n"
    )
    tested, last = len(scene.test), len(recording) - 1
    (root / "split.txt").write_text(
        f"sequence0 [frames={tested}] [start=0 ; end={tested - 1}]\n"
        f"sequence1 [frames=2] [start={tested} ; end={tested + 1}]\n"
        f"sequence2 [frames={last - tested - 1}] [start={tested + 2} ; end={last}]\n"
    )
    return {}


def write_cambridge(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Centres with `cam_from_world` quaternions, and VisualSFM's file with names in .jpg."""
    cameras = []
    for side in ("train", "test"):
        lines = ["Visual Landmark Dataset V1", "ImageFile, Camera Position [X Y Z W P Q R]", ""]
        for number, matrix in enumerate(scene.all):
            if scene.side(number) != side:
                continue
            name = f"seq{1 if side == 'train' else 2}/frame{number:05d}.png"
            write_image(root / name)
            quaternion = wxyz(matrix[:3, :3].T)
            lines.append(words(name, *matrix[:3, 3].tolist(), *quaternion))
            jpg = name.replace(".png", ".jpg")
            cameras.append(f"{jpg}\t" + words(FOCAL, *quaternion, *matrix[:3, 3].tolist(), -0.01, 0))
        (root / f"dataset_{side}.txt").write_text("\n".join(lines) + "\n")
    (root / "reconstruction.nvm").write_text(f"NVM_V3 \n\n{len(cameras)}\n" + "\n".join(cameras) + "\n\n0\n")
    return {"width": WIDTH, "height": HEIGHT}


def write_colmap_text(root: Path, scene: PosedScene) -> dict[str, Any]:
    """`cam_from_world` in `sparse/0`, with features behind some images, and lists for the split."""
    model = root / "sparse" / "0"
    model.mkdir(parents=True)
    (model / "cameras.txt").write_text(
        f"# Cameras\n7 PINHOLE {WIDTH} {HEIGHT} {FOCAL} {FOCAL} {WIDTH / 2} {HEIGHT / 2}\n"
    )
    lines = ["# Images"]
    for number, name, cam_from_world in reversed(_named_for_colmap(root, scene)):
        quaternion = wxyz(cam_from_world[:3, :3])
        lines.append(words(number + 1, *quaternion, *cam_from_world[:3, 3].tolist(), 7, name))
        lines.append("1.5 2.5 -1 3.5 4.5 1" if number % 2 else "")
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text(f"1 {words(*TARGET.tolist())} 9 9 9 0.5 1 0 2 0\n")
    return {}


def write_colmap_binary(root: Path, scene: PosedScene) -> dict[str, Any]:
    """The same as the binary files of `sparse`."""
    model = root / "sparse"
    model.mkdir(parents=True)
    camera = struct.pack("<QIiQQ4d", 1, 7, 1, WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
    (model / "cameras.bin").write_bytes(camera)
    named = _named_for_colmap(root, scene)
    images = struct.pack("<Q", len(named))
    for number, name, cam_from_world in reversed(named):
        pose = (*wxyz(cam_from_world[:3, :3]), *cam_from_world[:3, 3].tolist())
        images += struct.pack("<I7dI", number + 1, *pose, 7) + name.encode() + b"\0"
        images += struct.pack("<Q2dQ", 1, 1.5, 2.5, 2**64 - 1)
    (model / "images.bin").write_bytes(images)
    point = struct.pack("<QQ3d3BdQII", 1, 1, *TARGET.tolist(), 9, 9, 9, 0.5, 1, 1, 0)
    (model / "points3D.bin").write_bytes(point)
    return {}


def _named_for_colmap(root: Path, scene: PosedScene) -> list[tuple[int, str, Matrix]]:
    """Images and lists; numbers, names and `cam_from_world` of the images."""
    named = []
    for number, matrix in enumerate(scene.all):
        write_image(root / "images" / f"{number:04d}.png")
        named.append((number, f"{number:04d}.png", np.asarray(np.linalg.inv(matrix), np.float64)))
    for side in ("train", "test"):
        names = [f"images/{name}\n" for number, name, _ in named if scene.side(number) == side]
        (root / f"{side}.txt").write_text("".join(names))
    return named


def write_nerfstudio(root: Path, scene: PosedScene) -> dict[str, Any]:
    """OpenGL axes, shared intrinsics, nerfstudio's own lists for the split."""
    frames = []
    for number, matrix in enumerate(scene.all):
        name = f"images/{number:04d}.png"
        write_image(root / name)
        frames.append({"file_path": name, "transform_matrix": (matrix @ _OPENGL).tolist()})
    names = {
        f"{side}_filenames": [
            str(frame["file_path"]) for number, frame in enumerate(frames) if scene.side(number) == side
        ]
        for side in ("train", "test")
    }
    shared = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT}
    (root / "transforms.json").write_text(json.dumps({**shared, **names, "frames": frames}))
    return {}


def write_blender(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Two files, names without endings, and nothing of the intrinsics but the angle of view."""
    angle = 2 * float(np.arctan(WIDTH / 2 / FOCAL))
    for side in ("train", "test"):
        frames = []
        for number, matrix in enumerate(scene.all):
            if scene.side(number) == side:
                write_image(root / side / f"r_{number}.png")
                pose = (matrix @ _OPENGL).tolist()
                frames.append({"file_path": f"./{side}/r_{number}", "transform_matrix": pose})
        content = {"camera_angle_x": angle, "frames": frames}
        (root / f"transforms_{side}.json").write_text(json.dumps(content))
    return {}


def write_table(root: Path, scene: PosedScene) -> dict[str, Any]:
    """CSV whose columns say what the quaternion turns."""
    names = ["image", "tx", "ty", "tz", *(f"q{axis}_cam_from_world" for axis in "xyzw"), "split"]
    with (root / "poses.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "width", "height", "fx", "fy", "cx", "cy"])
        for number, matrix in enumerate(scene.all):
            write_image(root / f"{number}.png")
            w, x, y, z = wxyz(matrix[:3, :3].T)
            pose = [*matrix[:3, 3].tolist(), x, y, z, w]
            size = [WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]
            writer.writerow([f"{number}.png", *pose, scene.side(number), *size])
    return {}


def write_published_list(root: Path, source: PosedScene, *, scene: str, rotation: str) -> Path:
    """A list as the papers' authors publish them: no header says what the quaternion turns."""
    path = root / "list.csv"
    lines = ["scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"]
    for number, matrix in enumerate(source.all):
        name = f"{scene}/seq1/{number}.png"
        write_image(root / name)
        block = matrix[:3, :3] if rotation == "world_from_cam" else matrix[:3, :3].T
        numbers = (*matrix[:3, 3].tolist(), *wxyz(block))
        lines.append(",".join([scene, source.side(number), "seq1", name, *map(str, numbers)]))
    path.write_text("\r\n".join(lines) + "\r\n")
    return path


def write_tum(root: Path, source: PosedScene) -> dict[str, Any]:
    """A trajectory at other times than the images', and a calibration matrix beside it."""
    images, poses = ["# color images"], ["# ground truth trajectory"]
    for number, matrix in enumerate(source.all):
        name = f"rgb/{number}.png"
        write_image(root / name)
        images.append(f"{100 + number}.000 {name}")
        w, x, y, z = wxyz(matrix[:3, :3])
        poses.append(words(f"{100 + number}.004", *matrix[:3, 3].tolist(), x, y, z, w))
        poses.append(words(f"{100 + number}.5", 0, 0, 0, 0, 0, 0, 1))
    for side in ("train", "test"):
        names = [f"rgb/{number}.png\n" for number in range(len(source.all)) if source.side(number) == side]
        (root / f"{side}.txt").write_text("".join(names))
    (root / "rgb.txt").write_text("\n".join(images) + "\n")
    (root / "groundtruth.txt").write_text("\n".join(poses) + "\n")
    (root / "K.txt").write_text(f"{FOCAL} 0 {WIDTH / 2}\n0 {FOCAL} {HEIGHT / 2}\n0 0 1\n")
    return {}


def write_ace(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Training and test folders; calibrations are a focal length in one of them, a matrix in the other."""
    for number, matrix in enumerate(scene.all):
        side, stem = root / scene.side(number), f"seq-01-frame-{number:06d}"
        write_image(side / "rgb" / f"{stem}.color.png")
        for folder in ("poses", "calibration"):
            (side / folder).mkdir(exist_ok=True)
        pose = "".join(words(*row.tolist()) + "\n" for row in matrix)
        (side / "poses" / f"{stem}.pose.txt").write_text(pose)
        text = (
            f"{FOCAL} 0 {WIDTH / 2}\n0 {FOCAL} {HEIGHT / 2}\n0 0 1\n" if side.name == "test" else f"{FOCAL}\n"
        )
        (side / "calibration" / f"{stem}.calibration.txt").write_text(text)
    return {}


# By the name of the layout, and of its variants behind a colon.
WRITERS: dict[str, Callable[[Path, PosedScene], dict[str, Any]]] = {
    "ace": write_ace,
    "cambridge": write_cambridge,
    "colmap": write_colmap_text,
    "colmap:binary": write_colmap_binary,
    "nerfstudio": write_nerfstudio,
    "nerfstudio:blender": write_blender,
    "sevenscenes": write_sevenscenes,
    "table": write_table,
    "tum": write_tum,
    "twelvescenes": write_twelvescenes,
}
