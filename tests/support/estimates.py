"""Frames with images, and estimates that are wrong by a known amount."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from camloc.data.types import Estimate, Frame, Located
from camloc.evaluation.errors import EvaluatedSet
from camloc.geometry import Pose
from tests.support.strategies import rotation_about


def pose_at(x: float, y: float = 0.0, z: float = 0.0, *, degrees: float = 0.0) -> Pose:
    """A camera at a scene, turned about its vertical axis."""
    turned = rotation_about((0.0, 1.0, 0.0), float(torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))))
    return Pose(turned.numpy(), np.array([x, y, z]))


def line_of_poses(count: int, *, step: float = 0.5) -> Pose:
    """Cameras along the x axis that turn by two degrees from one to the next."""
    return Pose.stack(
        [pose_at(step * number, 0.1 * (number % 3), degrees=2.0 * number) for number in range(count)]
    )


def frames_with_images(folder: Path, poses: Pose, *, names: Sequence[str] = ()) -> tuple[Frame, ...]:
    """Frames at poses, each with a small image of one colour; the file's name is not the frame's."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for number, pose in enumerate(poses):
        image = folder / f"{number}.png"
        Image.new("RGB", (48, 36), (40 * (number % 6), 90, 160)).save(image)
        name = names[number] if names else f"seq-01/frame-{number:03d}.png"
        frames.append(Frame(name, image, world_from_cam=pose.numpy(), sequence="seq-01"))
    return tuple(frames)


def off_by(frame: Frame, *, meters: float = 0.0, degrees: float = 0.0, scene: str = "kitchen") -> Estimate:
    """An estimate that is wrong by exactly this much."""
    truth = frame.truth().tensor()
    turned = rotation_about(
        (1.0, 2.0, -0.5), float(torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)))
    )
    moved = truth.translation + meters * torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    return Located(scene, Pose(truth.rotation @ turned, moved))


def small_set(folder: Path, *, count: int = 6, name: str = "test") -> EvaluatedSet:
    """A set whose n-th frame is wrong by n centimetres and n degrees."""
    frames = frames_with_images(folder, line_of_poses(count))
    wrong = [off_by(frame, meters=0.01 * number, degrees=number) for number, frame in enumerate(frames)]
    return EvaluatedSet(name, frames, tuple(wrong))
