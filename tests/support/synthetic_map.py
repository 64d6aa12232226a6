"""A room whose walls carry points with descriptors: a map of it, and what a camera in it sees."""

from dataclasses import dataclass

import numpy as np

from camloc.geometry.absolute_pose import project_points
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.mapping.features import Features, FeatureSettings
from camloc.mapping.retrieval import build_retrieval
from camloc.mapping.scene_map import DescriptorCodec, SceneMap

CAMERA = Camera(320, 240, 260.0, 260.0, 160.0, 120.0)
_WIDTH = 32
_POINT_SCALE = 0.03


@dataclass(frozen=True, eq=False)
class Room:
    """Points on four walls of 6 x 3 x 6 meters, each with a descriptor of its own."""

    points: np.ndarray
    descriptors: np.ndarray
    frames: tuple[Pose, ...]


def looking(center: np.ndarray, degrees: float) -> Pose:
    """A level camera at `center` that looks along the x axis turned by `degrees` about the vertical."""
    angle = np.radians(degrees)
    forward = np.array([np.cos(angle), np.sin(angle), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    return Pose(
        np.stack((np.cross(down, forward), down, forward), axis=1), np.asarray(center, dtype=np.float64)
    )


def room(*, points: int = 2400, frames: int = 24, seed: int = 0) -> Room:
    rng = np.random.default_rng(seed)
    along, height, depth = (
        rng.uniform(-3, 3, points),
        rng.uniform(-1.5, 1.5, points),
        rng.uniform(2.6, 3, points),
    )
    wall = rng.integers(0, 4, points)
    angle = wall * np.pi / 2
    x = depth * np.cos(angle) - along * np.sin(angle)
    y = depth * np.sin(angle) + along * np.cos(angle)
    descriptors = rng.integers(0, 256, (points, _WIDTH), dtype=np.uint8)
    poses = tuple(
        looking(rng.uniform(-0.8, 0.8, 3) * (1, 1, 0.3), 360.0 * index / frames) for index in range(frames)
    )
    return Room(np.stack((x, y, height), axis=1), descriptors, poses)


def seen(
    of: Room,
    pose: Pose,
    *,
    camera: Camera = CAMERA,
    noise: float = 0.5,
    wrong: float = 0.2,
    most: int = 400,
    seed: int = 1,
) -> Features:
    """The features of an image: points of the room with noise, of which a share has another's descriptor."""
    rng = np.random.default_rng(seed)
    pixels, depth = project_points(of.points, pose, camera)
    inside = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)
    rows = rng.permutation(np.flatnonzero(inside))[:most]
    described = of.descriptors[rows].astype(np.float64) + rng.normal(0, 6, (len(rows), _WIDTH))
    mixed = rng.uniform(size=len(rows)) < wrong
    described[mixed] = rng.integers(0, 256, (int(mixed.sum()), _WIDTH))
    return Features(
        (pixels[rows] + rng.normal(0, noise, (len(rows), 2))).astype(np.float32),
        (_POINT_SCALE * camera.fx / depth[rows]).astype(np.float32),
        np.clip(np.rint(described), 0, 255).astype(np.uint8),
    )


def foreign(*, count: int = 400, seed: int = 0, of: Room | None = None) -> Features:
    """The features of an image from elsewhere; with a room, descriptors of its points at the wrong places."""
    rng = np.random.default_rng(seed)
    if of is None:
        descriptors = rng.integers(0, 256, (count, _WIDTH), dtype=np.uint8)
    else:
        descriptors = of.descriptors[rng.choice(len(of.points), count, replace=False)]
    keypoints = rng.uniform((0, 0), (CAMERA.width, CAMERA.height), (count, 2)).astype(np.float32)
    return Features(keypoints, rng.uniform(1, 6, count).astype(np.float32), descriptors)


def map_of(of: Room, *, retrieval: bool = True, noise: float = 0.0, seed: int = 2) -> SceneMap:
    """The map that frames of the room give; points that one frame or none sees are left out."""
    rng = np.random.default_rng(seed)
    visible = []
    for pose in of.frames:
        pixels, depth = project_points(of.points, pose, CAMERA)
        inside = (depth > 0) & (pixels >= 0).all(axis=1)
        visible.append(inside & (pixels < (CAMERA.width, CAMERA.height)).all(axis=1))
    kept = np.flatnonzero(np.sum(visible, axis=0) >= 2)
    number = np.full(len(of.points), -1)
    number[kept] = np.arange(len(kept))
    rows = [number[mask & (number >= 0)] for mask in visible]
    codec = DescriptorCodec(np.full(_WIDTH, 128, np.float32), np.eye(_WIDTH, dtype=np.float32), 1.0)
    quaternions = np.stack([pose.quaternion_wxyz() for pose in of.frames])
    scene_map = SceneMap(
        scene="room",
        unit="m",
        features=FeatureSettings(),
        origin=np.zeros(3),
        points=(of.points[kept] + rng.normal(0, noise, (len(kept), 3))).astype(np.float32),
        point_sigmas=np.full(len(kept), noise, np.float16),
        point_scales=np.full(len(kept), _POINT_SCALE, np.float16),
        descriptors=codec.encode(of.descriptors[kept].astype(np.float32)),
        codec=codec,
        frame_names=tuple(f"{index}.jpg" for index in range(len(of.frames))),
        frame_positions=np.stack([pose.translation for pose in of.frames]).astype(np.float32),
        frame_quaternions_wxyz=quaternions.astype(np.float32),
        cameras=(CAMERA,),
        frame_cameras=np.zeros(len(of.frames), np.int32),
        seen_offsets=np.concatenate(([0], np.cumsum([len(part) for part in rows]))).astype(np.int32),
        seen_points=np.concatenate(rows).astype(np.int32),
    )
    if not retrieval:
        return scene_map
    described = [seen(of, pose, wrong=0.0).descriptors for pose in of.frames]
    return scene_map.with_retrieval(build_retrieval(described, codec))
