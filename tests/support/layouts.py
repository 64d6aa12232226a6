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
    """The truth: 4x4 `world_from_cam` matrices in OpenCV axes of the training and of the test frames.

    The writers of the papers' data sets also take a `camera` and `images`, (height, width, 3) of all frames;
    the others write grey images of `CAMERA`.
    """

    train: tuple[Matrix, ...]
    test: tuple[Matrix, ...]
    camera: Camera = CAMERA
    images: tuple[NDArray[np.uint8], ...] = ()

    @property
    def all(self) -> tuple[Matrix, ...]:
        return (*self.train, *self.test)

    def side(self, number: int) -> str:
        """Whether a frame is for training or for testing."""
        return "train" if number < len(self.train) else "test"

    def write_image(self, path: Path, number: int) -> None:
        """The image of a frame; grey where the scene has none."""
        if not self.images:
            write_image(path, (self.camera.width, self.camera.height))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.images[number]).save(path)


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
        scene.write_image(Path(f"{stem}.color.png"), number)
        Path(f"{stem}.pose.txt").write_text("".join(words(*row.tolist()) + " \n" for row in matrix))
    (root / "TrainSplit.txt").write_text("sequence1\n")
    (root / "TestSplit.txt").write_text("sequence2\n")
    return {"camera": scene.camera}


def write_twelvescenes(root: Path, scene: PosedScene) -> dict[str, Any]:
    """One recording, whose first sequence is for testing, and in which tracking was lost once."""
    infinite, trained = np.full((4, 4), "-1.#INF"), len(scene.train)
    numbers = [*range(trained, len(scene.all)), 0, 1, None, *range(2, trained)]
    recording = [infinite if number is None else scene.all[number] for number in numbers]
    for place, (number, matrix) in enumerate(zip(numbers, recording, strict=True)):
        stem = root / "data" / f"frame-{place:06d}"
        scene.write_image(Path(f"{stem}.color.jpg"), number or 0)
        Path(f"{stem}.pose.txt").write_text("".join(words(*row.tolist()) + "\n" for row in matrix))
    camera = scene.camera
    intrinsics = (camera.fx, 0, camera.cx, 0, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0, 0, 0, 0, 1)
    (root / "info.txt").write_text(
        f"m_versionNumber = 4\nm_sensorName = StructureSensor\nm_colorWidth = {camera.width}\n"
        f"m_colorHeight = {camera.height}\nm_depthWidth = 640\nm_calibrationColorIntrinsic = "
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
            scene.write_image(root / name, number)
            quaternion = wxyz(matrix[:3, :3].T)
            lines.append(words(name, *matrix[:3, 3].tolist(), *quaternion))
            jpg = name.replace(".png", ".jpg")
            cameras.append(
                f"{jpg}\t" + words(scene.camera.fx, *quaternion, *matrix[:3, 3].tolist(), -0.01, 0)
            )
        (root / f"dataset_{side}.txt").write_text("\n".join(lines) + "\n")
    (root / "reconstruction.nvm").write_text(f"NVM_V3 \n\n{len(cameras)}\n" + "\n".join(cameras) + "\n\n0\n")
    return {"width": scene.camera.width, "height": scene.camera.height}


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


def _split_lists(root: Path, names: list[str], scene: PosedScene) -> None:
    for side in ("train", "test"):
        own = [f"{name}\n" for number, name in enumerate(names) if scene.side(number) == side]
        (root / f"{side}.txt").write_text("".join(own))


def write_kitti(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Poses of camera 0 for images of camera 2, which is 6 cm to the right of it and 1 cm before it."""
    sequence = root / "sequences" / "07"
    cam0_from_cam2 = np.eye(4)
    cam0_from_cam2[:3, 3] = (0.06, 0.0, 0.01)
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
    projection = intrinsics @ np.linalg.inv(cam0_from_cam2)[:3]
    lines, names = [], []
    for number, matrix in enumerate(scene.all):
        names.append(f"sequences/07/image_2/{number:06d}.png")
        write_image(root / names[-1])
        pose = matrix @ np.linalg.inv(cam0_from_cam2)
        lines.append(words(*pose[:3].ravel().tolist()))
    (root / "poses").mkdir()
    (root / "poses" / "07.txt").write_text("\n".join(lines) + "\n")
    first = np.hstack([intrinsics, np.zeros((3, 1))])
    (sequence / "calib.txt").write_text(
        f"P0: {words(*first.ravel().tolist())}\nP2: {words(*projection.ravel().tolist())}\n"
    )
    (sequence / "times.txt").write_text("".join(f"{number / 10}\n" for number in range(len(scene.all))))
    _split_lists(root, names, scene)
    return {}


def write_scannet(root: Path, scene: PosedScene) -> dict[str, Any]:
    """One folder a kind of file; tracking was lost once."""
    for folder in ("pose", "intrinsic"):
        (root / folder).mkdir()
    names = []
    for number, matrix in enumerate(scene.all):
        names.append(f"color/{number}.jpg")
        write_image(root / names[-1])
        text = "".join(words(*row.tolist()) + "\n" for row in matrix)
        (root / "pose" / f"{number}.txt").write_text(text)
    write_image(root / "color" / "99.jpg")
    (root / "pose" / "99.txt").write_text("-inf -inf -inf -inf\n" * 4)
    k = np.eye(4)
    k[0, 0] = k[1, 1] = FOCAL
    k[0, 2], k[1, 2] = WIDTH / 2, HEIGHT / 2
    text = "".join(words(*row.tolist()) + "\n" for row in k)
    (root / "intrinsic" / "intrinsic_color.txt").write_text(text)
    _split_lists(root, names, scene)
    return {}


def write_euroc(root: Path, scene: PosedScene) -> dict[str, Any]:
    """States of a body that moves and turns evenly from 10 ms before each image to 10 ms after it."""
    body_from_cam = looking_at_target(np.array([0.1, 0.2, 0.3]))
    start, step = 1403636579763555584, 10**9
    images, states, names = ["#timestamp [ns],filename"], ["#timestamp, p_RS_R_x [m]"], []
    for number, matrix in enumerate(scene.all):
        time = start + number * step
        names.append(f"mav0/cam0/data/{time}.png")
        write_image(root / names[-1])
        images.append(f"{time},{time}.png")
        body = matrix @ np.linalg.inv(body_from_cam)
        half = Rotation.from_rotvec([0.01, -0.02, 0.03])
        for sign in (-1, 1):
            turned = Rotation.from_matrix(body[:3, :3]) * (half if sign > 0 else half.inv())
            centre = body[:3, 3] + sign * np.array([0.1, 0.2, -0.1])
            values = [*centre.tolist(), *wxyz(turned.as_matrix())]
            states.append(",".join(map(str, (time + sign * 10**7, *values, 0, 0, 0))))
    folder = root / "mav0" / "cam0"
    (folder / "data.csv").write_text("\n".join(images) + "\n")
    (folder / "sensor.yaml").write_text(
        f"T_BS:\n  cols: 4\n  rows: 4\n  data: [{', '.join(map(str, body_from_cam.ravel().tolist()))}]\n"
        f"resolution: [{WIDTH}, {HEIGHT}]\ncamera_model: pinhole\n"
        f"intrinsics: [{FOCAL}, {FOCAL}, {WIDTH / 2 - 0.5}, {HEIGHT / 2 - 0.5}] #fu, fv, cu, cv\n"
        f"distortion_model: radial-tangential\ndistortion_coefficients: [0, 0, 0, 0]\n"
    )
    states_folder = root / "mav0" / "state_groundtruth_estimate0"
    states_folder.mkdir()
    (states_folder / "data.csv").write_text("\n".join(states) + "\n")
    _split_lists(root, names, scene)
    return {}


def write_llff(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Axes down, right, backward."""
    rows, names = [], []
    for number, matrix in enumerate(scene.all):
        names.append(f"images/{number:03d}.png")
        write_image(root / names[-1])
        right, down, forward = matrix[:3, :3].T
        block = np.stack([down, right, -forward, matrix[:3, 3], np.array([HEIGHT, WIDTH, FOCAL])], axis=1)
        rows.append([*block.ravel().tolist(), 0.5, 9.0])
    np.save(root / "poses_bounds.npy", np.array(rows))
    _split_lists(root, names, scene)
    return {}


def write_polycam(root: Path, scene: PosedScene) -> dict[str, Any]:
    """A JSON file a keyframe, OpenGL axes."""
    folder = root / "keyframes" / "cameras"
    folder.mkdir(parents=True)
    names = []
    for number, matrix in enumerate(scene.all):
        names.append(f"keyframes/images/{1000 + number}.jpg")
        write_image(root / names[-1])
        pose = matrix @ _OPENGL
        content = {f"t_{i}{j}": pose[i, j] for i in range(3) for j in range(4)}
        content |= {
            "fx": FOCAL,
            "fy": FOCAL,
            "cx": WIDTH / 2,
            "cy": HEIGHT / 2,
            "width": WIDTH,
            "height": HEIGHT,
        }
        (folder / f"{1000 + number}.json").write_text(json.dumps(content))
    _split_lists(root, names, scene)
    return {}


def write_record3d(root: Path, scene: PosedScene) -> dict[str, Any]:
    """All poses in one file, OpenGL axes."""
    poses, names = [], []
    for number, matrix in enumerate(scene.all):
        names.append(f"rgb/{number}.jpg")
        write_image(root / names[-1])
        w, x, y, z = wxyz((matrix @ _OPENGL)[:3, :3])
        poses.append([x, y, z, w, *matrix[:3, 3].tolist()])
    k = [FOCAL, 0, 0, 0, FOCAL, 0, WIDTH / 2, HEIGHT / 2, 1]
    (root / "metadata.json").write_text(
        json.dumps({"poses": poses, "K": k, "w": WIDTH, "h": HEIGHT, "fps": 60})
    )
    _split_lists(root, names, scene)
    return {}


def write_strayscanner(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Odometry by the numbers of the frames."""
    lines, names = ["timestamp, frame, x, y, z, qx, qy, qz, qw"], []
    for number, matrix in enumerate(scene.all):
        names.append(f"rgb/{number:06d}.png")
        write_image(root / names[-1])
        w, x, y, z = wxyz(matrix[:3, :3])
        lines.append(", ".join(map(str, (number / 60, f"{number:06d}", *matrix[:3, 3].tolist(), x, y, z, w))))
    (root / "odometry.csv").write_text("\n".join(lines) + "\n")
    (root / "camera_matrix.csv").write_text(
        f"{FOCAL}, 0.0, {WIDTH / 2}\n0.0, {FOCAL}, {HEIGHT / 2}\n0.0, 0.0, 1.0\n"
    )
    _split_lists(root, names, scene)
    return {}


def write_scannerapp(root: Path, scene: PosedScene) -> dict[str, Any]:
    """A JSON file a frame, OpenGL axes, and frames without an image."""
    names = []
    for number, matrix in enumerate(scene.all):
        names.append(f"frame_{2 * number:05d}.jpg")
        write_image(root / names[-1])
        content = {
            "cameraPoseARFrame": (matrix @ _OPENGL).ravel().tolist(),
            "intrinsics": [FOCAL, 0, WIDTH / 2, 0, FOCAL, HEIGHT / 2, 0, 0, 1],
            "time": number / 10,
        }
        for index in (2 * number, 2 * number + 1):
            (root / f"frame_{index:05d}.json").write_text(json.dumps(content))
    _split_lists(root, names, scene)
    return {}


def write_arkitscenes(root: Path, scene: PosedScene) -> dict[str, Any]:
    """`cam_from_world` as turns and translations; an image before the first pose."""
    lines, names = [], []
    write_image(root / "lowres_wide" / "1_0.500.png")
    for number, matrix in enumerate(scene.all):
        cam_from_world = np.linalg.inv(matrix)
        turn = Rotation.from_matrix(cam_from_world[:3, :3]).as_rotvec()
        lines.append(words(number + 1.0, *turn.tolist(), *cam_from_world[:3, 3].tolist()))
        names.append(f"lowres_wide/1_{number + 1}.000.png")
        write_image(root / names[-1])
        lens = root / "lowres_wide_intrinsics" / f"1_{number + 1}.000.pincam"
        lens.parent.mkdir(exist_ok=True)
        lens.write_text(words(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2))
    (root / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    _split_lists(root, names, scene)
    return {}


def write_metashape(root: Path, scene: PosedScene) -> dict[str, Any]:
    """A chunk that is turned, moved and scaled, and a camera that is not aligned."""
    chunk = looking_at_target(np.array([3.0, 1.0, 2.0]))
    scale = 2.5
    cameras, names = [], []
    for number, matrix in enumerate(scene.all):
        names.append(f"images/IMG_{number}.jpg")
        write_image(root / names[-1])
        pose = np.linalg.inv(chunk) @ matrix
        pose[:3, 3] /= scale
        text = words(*pose.ravel().tolist())
        cameras.append(
            f'<camera id="{number}" sensor_id="0" label="IMG_{number}"><transform>{text}</transform></camera>'
        )
    cameras.append('<camera id="99" sensor_id="0" label="IMG_99"/>')
    (root / "cameras.xml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<document version="1.5.0"><chunk label="Chunk 1" enabled="true"><sensors>
<sensor id="0" type="frame"><resolution width="{WIDTH}" height="{HEIGHT}"/>
<calibration type="frame" class="adjusted"><resolution width="{WIDTH}" height="{HEIGHT}"/><f>{FOCAL}</f>
<cx>0</cx><cy>0</cy></calibration></sensor></sensors>
<cameras>{"".join(cameras)}</cameras>
<transform><rotation>{words(*chunk[:3, :3].ravel().tolist())}</rotation>
<translation>{words(*chunk[:3, 3].tolist())}</translation><scale>{scale}</scale></transform>
</chunk></document>"""
    )
    _split_lists(root, names, scene)
    return {}


def write_opensfm(root: Path, scene: PosedScene) -> dict[str, Any]:
    """`cam_from_world` as turns; a second reconstruction of one image."""
    shots, names = {}, []
    for number, matrix in enumerate(scene.all):
        names.append(f"images/{number:02d}.jpg")
        write_image(root / names[-1])
        cam_from_world = np.linalg.inv(matrix)
        shots[f"{number:02d}.jpg"] = {
            "camera": "phone",
            "rotation": Rotation.from_matrix(cam_from_world[:3, :3]).as_rotvec().tolist(),
            "translation": cam_from_world[:3, 3].tolist(),
        }
    camera = {"projection_type": "perspective", "width": WIDTH, "height": HEIGHT, "focal": FOCAL / WIDTH}
    cameras = {"phone": {**camera, "k1": 0.0, "k2": 0.0}}
    other = {"cameras": cameras, "shots": {"99.jpg": shots["00.jpg"]}}
    (root / "reconstruction.json").write_text(json.dumps([other, {"cameras": cameras, "shots": shots}]))
    _split_lists(root, names, scene)
    return {}


def write_realitycapture(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Heading, pitch and roll of a camera that looks down at zero; focal lengths of a film 36 mm wide."""
    lines, names = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"], []
    for number, matrix in enumerate(scene.all):
        names.append(f"images/{number}.jpg")
        write_image(root / names[-1])
        r = (matrix @ _OPENGL)[:3, :3]
        heading = np.degrees(np.arctan2(r[0, 1], r[1, 1]))
        pitch, roll = np.degrees(np.arcsin(r[2, 1])), np.degrees(np.arctan2(-r[2, 0], r[2, 2]))
        numbers = (*matrix[:3, 3].tolist(), heading, pitch, roll, FOCAL / WIDTH * 36, 0, 0, 0, 0, 0, 0, 0, 0)
        lines.append(",".join(map(str, (f"{number}.jpg", *numbers))))
    (root / "cameras.csv").write_text("\n".join(lines) + "\n")
    _split_lists(root, names, scene)
    return {}


def write_kapture(root: Path, scene: PosedScene) -> dict[str, Any]:
    """`cam_from_world`, and an image without a pose."""
    folder = root / "sensors"
    records, poses, names = (
        ["# kapture format: 1.1", "# timestamp, device_id, image_path"],
        ["# kapture format: 1.1"],
        [],
    )
    for number, matrix in enumerate(scene.all):
        names.append(f"sensors/records_data/cam/{number}.jpg")
        write_image(root / names[-1])
        cam_from_world = np.asarray(np.linalg.inv(matrix), np.float64)
        values = (*wxyz(cam_from_world[:3, :3]), *cam_from_world[:3, 3].tolist())
        records.append(f"{number}, c0, cam/{number}.jpg")
        poses.append(", ".join(map(str, (number, "c0", *values))))
    records.append("77, c0, cam/77.jpg")
    (folder / "sensors.txt").write_text(
        f"# kapture format: 1.1\nc0, phone, camera, PINHOLE, {WIDTH}, {HEIGHT}, {FOCAL}, {FOCAL}, "
        f"{WIDTH / 2}, "
        f"{HEIGHT / 2}\n"
    )
    (folder / "records_camera.txt").write_text("\n".join(records) + "\n")
    (folder / "trajectories.txt").write_text("\n".join(poses) + "\n")
    _split_lists(root, names, scene)
    return {}


ROBOTCAR_ORIGIN = np.array([5_735_000.0, 620_000.0, 0.0])
ROBOTCAR_TRAIN, ROBOTCAR_TEST = "2014-06-26-09-24-58", "2014-06-23-15-41-25"


def write_robotcar(root: Path, scene: PosedScene) -> dict[str, Any]:
    """Two drives; the INS is where the camera is, and moves evenly from 20 ms before an image to 20 ms
    after it.

    The last image of the second drive was taken after the INS had stopped.
    """
    heading = (
        "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,velocity_north,"
        "velocity_east,velocity_down,roll,pitch,yaw"
    )
    cam_from_body = np.array([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]])
    for drive, matrices in ((ROBOTCAR_TRAIN, scene.train), (ROBOTCAR_TEST, scene.test)):
        stamps, rows = [], [heading]
        first = 0 if drive == ROBOTCAR_TRAIN else len(scene.train)
        for number, matrix in enumerate(matrices):
            time = 1403774724012345 + number * 62_500
            stamps.append(f"{time} 1")
            scene.write_image(root / drive / "stereo" / "centre_processed" / f"{time}.png", first + number)
            body = Rotation.from_matrix(matrix[:3, :3] @ cam_from_body)
            for sign in (-1, 1):
                turned = body * Rotation.from_rotvec([0, 0.01 * sign, 0.02 * sign])
                yaw, pitch, roll = turned.as_euler("ZYX").tolist()
                centre = matrix[:3, 3] + ROBOTCAR_ORIGIN + sign * np.array([0.3, 0.2, 0.0])
                values = (0, 0, 0, *centre.tolist(), "30U", 0, 0, 0, roll, pitch, yaw)
                rows.append(",".join(map(str, (time + sign * 20_000, "INS_SOLUTION_GOOD", *values))))
            nonsense = (0, 0, 0, 9e9, 9e9, 0, "30U", 0, 0, 0, 0, 0, 0)
            rows.append(",".join(map(str, (time, "INS_BAD_GPS_AGREEMENT", *nonsense))))
        if drive == ROBOTCAR_TEST:
            late = 1403774724012345 + len(matrices) * 62_500
            stamps.append(f"{late} 1")
            scene.write_image(root / drive / "stereo" / "centre_processed" / f"{late}.png", -1)
        (root / drive / "stereo.timestamps").write_text("\n".join(stamps) + "\n")
        (root / drive / "gps").mkdir()
        (root / drive / "gps" / "ins.csv").write_text("\n".join(rows) + "\n")
    return {"camera": scene.camera}


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
    "strayscanner": write_strayscanner,
    "scannet": write_scannet,
    "robotcar": write_robotcar,
    "record3d": write_record3d,
    "realitycapture": write_realitycapture,
    "polycam": write_polycam,
    "opensfm": write_opensfm,
    "metashape": write_metashape,
    "scannerapp": write_scannerapp,
    "arkitscenes": write_arkitscenes,
    "llff": write_llff,
    "kitti": write_kitti,
    "kapture": write_kapture,
    "euroc": write_euroc,
}
