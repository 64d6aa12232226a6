"""What a trained regressor sees in images, computed once: what a pose auto-encoder learns from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from camloc.data.augment import Augment, Draws, augmented, centre_cut
from camloc.data.batch import Batch
from camloc.data.image_cache import ImageCache
from camloc.geometry.pose import Pose
from camloc.models.base import Latents, Regressor
from camloc.refinement.query import in_one_scene

# Images that pass through the teacher together.
CHUNK = 32


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
    """What a teacher makes of n views, in memory.

    Attributes:
        latents: (n, d) and (n, e), of teachers of several scenes those in the true one; one tensor twice
            where the teacher's halves are one.
        world_from_cam: (n,) true poses, double precision.
        answers: (n,) the teacher's poses in the true scenes, double precision.
        scene: (n,) numbers of the scenes.
    """

    latents: Latents
    world_from_cam: Pose
    answers: Pose
    scene: Int[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.world_from_cam)

    @property
    def is_shared(self) -> bool:
        """Whether both halves of the latents are one."""
        return self.latents.position is self.latents.orientation

    def to(self, device: torch.device) -> "TeacherOutputs":
        """The same on another device."""
        position = self.latents.position.to(device)
        orientation = position if self.is_shared else self.latents.orientation.to(device)
        return TeacherOutputs(
            Latents(position, orientation),
            self.world_from_cam.to(device),
            self.answers.to(device),
            self.scene.to(device),
        )


def frozen(teacher: Regressor[Any]) -> Regressor[Any]:
    """The same regressor, of which nothing moves any more: no gradients, and batch norms as they are."""
    return teacher.eval().requires_grad_(False)


@torch.no_grad()
def taught_views(
    teacher: Regressor[Any],
    images: ImageCache,
    *,
    width: int,
    height: int,
    augment: Augment | None = None,
    variants: int = 1,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TeacherOutputs:
    """The latents of all images as they are and, where asked for, of turned and coloured variants.

    A turn about the camera's centre is exact, so each variant is a view with its own exact pose.

    Args:
        teacher: frozen, on `device`.
        images: of frames with orientations.
        width, height: of its images.
        augment: how variants differ; where intrinsics are unknown, in colour alone.
        variants: of every image; the first is the image as it is.
        seed: of the variants.
        device: where the teacher runs.
        progress: called with the number of views done and of all.
    """
    device = device or torch.device("cpu")
    change = augment or Augment()
    if images.intrinsics is None:
        change = replace(change, roll_degrees=0.0, yaw_degrees=0.0, pitch_degrees=0.0, zoom=1.0)
    generator = torch.Generator().manual_seed(seed)
    found: list[tuple[Latents, Pose, Pose, Tensor]] = []
    is_shared, done = True, 0
    for batch in _batches(images, device, variants):
        view = centre_cut(batch, width=width, height=height)
        if done >= len(images):
            draws = Draws(generator, len(batch), slice(0, len(batch)))
            view = augmented(batch, change, width=width, height=height, draws=draws)
        scene = view.scene.to(device)
        latents = in_one_scene(teacher.encode(view.images), scene)
        is_shared &= latents.position is latents.orientation
        answers = teacher.pose_in(latents, scene)
        kept = Latents(*(half.float().cpu() for half in latents))
        found.append((kept, view.world_from_cam.to("cpu"), answers.to("cpu"), view.scene.cpu()))
        done += len(view)
        if progress:
            progress(done, variants * len(images))
    position = torch.cat([each.position for each, *_ in found])
    orientation = position if is_shared else torch.cat([each.orientation for each, *_ in found])
    return TeacherOutputs(
        Latents(position, orientation),
        Pose.cat([truth for _, truth, _, _ in found]),
        Pose.cat([answer for _, _, answer, _ in found]),
        torch.cat([scene for *_, scene in found]),
    )


def _batches(images: ImageCache, device: torch.device, variants: int) -> Iterator[Batch]:
    """All images once for each variant."""
    for _ in range(variants):
        for first in range(0, len(images), CHUNK):
            rows = torch.arange(first, min(first + CHUNK, len(images)))
            yield images.batch(rows, device=device)
