"""A trained regressor as the teacher of auxiliary networks, and its outputs, computed once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from camloc.core.device import CPU
from camloc.data.augment import Augment, Draws, augmented, centre_cut
from camloc.data.batch import Batch
from camloc.data.image_cache import ImageCache
from camloc.data.types import Frame, Scene, poses_of
from camloc.geometry.pose import Pose
from camloc.models.base import Latents, Regressor
from camloc.models.checkpoint import Checkpoint
from camloc.refinement.refiner import in_one_scene
from camloc.training.scenes import load_scene_images

# Gets the number of images done and of all.
ImageProgress = Callable[[int, int], None]

# For each scene its frames.
SceneFrames = tuple[tuple[Frame, ...], ...]

# Images that pass through the teacher together.
_CHUNK = 32


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
    """A teacher's outputs for n images, in memory.

    Attributes:
        latents: (n, d) and (n, e), for several scenes those of the true scene. The same tensor twice if the
            teacher's halves are.
        world_from_cam: (n,) true poses, double precision.
        predicted: (n,) poses that the teacher predicts in the true scenes, double precision.
        scene: (n,) numbers of the scenes.
    """

    latents: Latents
    world_from_cam: Pose
    predicted: Pose
    scene: Int[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.world_from_cam)

    @property
    def is_shared(self) -> bool:
        """Whether both halves of the latents are the same tensor."""
        return self.latents.position is self.latents.orientation

    def to(self, device: torch.device) -> "TeacherOutputs":
        """The same outputs on another device."""
        position = self.latents.position.to(device)
        orientation = position if self.is_shared else self.latents.orientation.to(device)
        return TeacherOutputs(
            Latents(position, orientation),
            self.world_from_cam.to(device),
            self.predicted.to(device),
            self.scene.to(device),
        )


@dataclass(frozen=True, eq=False)
class Teacher:
    """The regressor of a run, from which auxiliary networks are trained.

    Attributes:
        run: its folder.
        checkpoint: its weights and metadata.
        model: the regressor, frozen.
        scenes: the scenes, in the order of their numbers.
        train, held: for each scene its training frames and its held-out frames, all with orientations.
        device: where the regressor is.
    """

    run: Path
    checkpoint: Checkpoint
    model: Regressor[Any]
    scenes: tuple[Scene, ...]
    train: SceneFrames
    held: SceneFrames
    device: torch.device

    @property
    def training_poses(self) -> tuple[Pose, ...]:
        """For each scene the poses of its training frames, as tensors."""
        return tuple(poses_of(frames).tensor() for frames in self.train)

    @property
    def has_held_out(self) -> bool:
        """Whether any frames were held out of training."""
        return any(self.held)

    def images(self, frames: SceneFrames, *, progress: ImageProgress | None = None) -> ImageCache:
        """The images of frames, ready to be cut to the network's input size."""
        return load_scene_images(frames, self.checkpoint.metadata.preprocess, progress=progress)

    def outputs(
        self,
        frames: SceneFrames,
        augment: Augment | None = None,
        *,
        variants: int = 1,
        progress: ImageProgress | None = None,
    ) -> TeacherOutputs:
        """The regressor's outputs for frames; see `teacher_outputs`."""
        preprocess = self.checkpoint.metadata.preprocess
        return teacher_outputs(
            self.model,
            self.images(frames),
            width=preprocess.width,
            height=preprocess.height,
            augment=augment,
            variants=variants,
            device=self.device,
            progress=progress,
        ).to(self.device)


def frozen(teacher: Regressor[Any]) -> Regressor[Any]:
    """The same regressor in evaluation mode and without gradients."""
    return teacher.eval().requires_grad_(False)


def scene_numbers(frames: SceneFrames) -> Int[Tensor, "n"]:
    """For each frame the number of its scene; the frames of all scenes in order."""
    counts = torch.tensor([len(each) for each in frames])
    return torch.arange(len(frames)).repeat_interleave(counts)


def all_poses(frames: SceneFrames) -> Pose:
    """The (n,) poses of the frames of all scenes, in order, as tensors."""
    return Pose.cat([poses_of(each) for each in frames if each]).tensor()


@torch.no_grad()
def teacher_outputs(
    teacher: Regressor[Any],
    images: ImageCache,
    *,
    width: int,
    height: int,
    augment: Augment | None = None,
    variants: int = 1,
    device: torch.device = CPU,
    progress: ImageProgress | None = None,
) -> TeacherOutputs:
    """The teacher's outputs for all images and, for more than one variant, for augmented images.

    A rotation about the camera centre is exact, so that each variant has its own exact pose.

    Args:
        teacher: frozen, on `device`.
        images: of frames with orientations.
        width, height: of the teacher's input.
        augment: how the variants differ. Without intrinsics only colours change.
        variants: of every image; the first is the image without changes.
        device: where the teacher is.
        progress: called with the number of images done and of all.
    """
    change = augment or Augment()
    if images.intrinsics is None:
        change = replace(change, roll_degrees=0.0, yaw_degrees=0.0, pitch_degrees=0.0, zoom=1.0)
    generator = torch.Generator().manual_seed(0)
    parts: list[tuple[Latents, Pose, Pose, Tensor]] = []
    is_shared, done = True, 0
    for batch in _batches(images, device, variants):
        view = centre_cut(batch, width=width, height=height)
        if done >= len(images):
            draws = Draws(generator, len(batch), slice(0, len(batch)))
            view = augmented(batch, change, width=width, height=height, draws=draws)
        scene = view.scene.to(device)
        latents = in_one_scene(teacher.encode(view.images), scene)
        is_shared &= latents.position is latents.orientation
        predicted = teacher.pose_in(latents, scene)
        latents = Latents(*(half.float().cpu() for half in latents))
        parts.append((latents, view.world_from_cam.to("cpu"), predicted.to("cpu"), view.scene.cpu()))
        done += len(view)
        if progress:
            progress(done, variants * len(images))
    position = torch.cat([latents.position for latents, *_ in parts])
    orientation = position if is_shared else torch.cat([latents.orientation for latents, *_ in parts])
    return TeacherOutputs(
        Latents(position, orientation),
        Pose.cat([truth for _, truth, _, _ in parts]),
        Pose.cat([predicted for _, _, predicted, _ in parts]),
        torch.cat([scene for *_, scene in parts]),
    )


def _batches(images: ImageCache, device: torch.device, variants: int) -> Iterator[Batch]:
    """All images, once for each variant."""
    for _ in range(variants):
        for first in range(0, len(images), _CHUNK):
            rows = torch.arange(first, min(first + _CHUNK, len(images)))
            yield images.batch(rows, device=device)
