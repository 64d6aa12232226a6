"""Pairs of training frames that see the same part of the scene, from which relative poses are learned."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from numpy.typing import NDArray
from torch import Tensor

from camloc.data.image_io import read_depth
from camloc.data.types import Frame, poses_of
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import PoseIndex, camera_radius
from camloc.geometry.visibility import in_view, overlap, points_of_depth, points_of_frustum

# Rays across a depth image, and points of a scene, that represent the view of a frame.
_RAYS_ACROSS = 24
_MOST_POINTS = 400

# Assumed for a frame without intrinsics: a phone, in either orientation.
_ASSUMED_CAMERA = Camera(width=640, height=640, fx=640.0, fy=640.0, cx=320.0, cy=320.0)

# Assumed depth of a scene without depth images, in camera radii.
_DEPTH_RADII = 2.0


@dataclass(frozen=True)
class PairSettings:
    """The choice of frames that make a pair.

    Attributes:
        per_frame: largest number of references for each frame.
        candidates: number of nearest frames, by pose, among which references are chosen.
        least_overlap: smallest share of each frame's view that the other frame sees too.
    """

    per_frame: int = 12
    candidates: int = 40
    least_overlap: float = 0.3


@dataclass(frozen=True, eq=False)
class Pairs:
    """p pairs of frames, by their numbers.

    Attributes:
        query, reference: (p,) the two frames.
        overlap: (p,) the smaller of the two shared parts of the views.
        measured: number of frames whose view is known from "depth", "points" and "frustum".
    """

    query: Int[Tensor, "p"]
    reference: Int[Tensor, "p"]
    overlap: Float[Tensor, "p"]
    measured: dict[str, int]

    def __len__(self) -> int:
        return len(self.query)


def overlapping_pairs(
    frames: Sequence[Frame],
    settings: PairSettings,
    *,
    points: Float64[NDArray[np.float64], "n 3"] | None = None,
    seed: int = 0,
) -> Pairs:
    """Pairs of frames whose views overlap; of more than `per_frame` references a random subset is drawn.

    The view of a frame is a set of points: those of its depth image; without one, the scene points inside
    its image; without scene points, points of its frustum around an assumed depth. A query's depth image
    also shows which points are hidden from it. A frame without intrinsics gets those of a phone.

    Args:
        frames: with orientations.
        settings: which frames make a pair.
        points: of the scene.
        seed: of the random subsets.

    Raises:
        DatasetError: no two views overlap enough.
        ImageError: a depth image cannot be read.
    """
    poses, cameras = poses_of(frames).tensor(), [frame.camera or _ASSUMED_CAMERA for frame in frames]
    depth_images = [
        None if frame.depth is None else torch.from_numpy(read_depth(frame.depth)) for frame in frames
    ]
    scene_points = None if points is None else torch.from_numpy(points)
    assumed = _assumed_depths(depth_images, poses)
    views = [
        _view(cameras[row], poses[row], depth_images[row], scene_points, assumed)
        for row in range(len(frames))
    ]
    near, _ = PoseIndex(poses).nearest(poses, settings.candidates + 1)
    generator = torch.Generator().manual_seed(seed)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for row in range(len(frames)):
        others = near[row][near[row] != row]
        there = overlap(views[row], cameras[row], poses[others])
        others, there = others[there >= settings.least_overlap], there[there >= settings.least_overlap]
        back = _visible_shares(
            [views[other] for other in others.tolist()], cameras[row], poses[row], depth_images[row]
        )
        both = torch.minimum(there, back)
        enough = (both >= settings.least_overlap).nonzero().squeeze(1)
        drawn = enough[torch.randperm(len(enough), generator=generator)[: settings.per_frame]]
        parts.append((torch.full((len(drawn),), row), others[drawn], both[drawn]))
    query, reference, share = (torch.cat(part) for part in zip(*parts, strict=True))
    if not len(query):
        raise DatasetError(
            f"no two of the {len(frames)} training frames see {settings.least_overlap:.0%} of the same; take "
            f"images that overlap"
        )
    with_depth = sum(depth is not None for depth in depth_images)
    others_by = "frustum" if points is None else "points"
    return Pairs(query, reference, share, {"depth": with_depth, others_by: len(frames) - with_depth})


def joined_pairs(scenes: Sequence[Pairs], counts: Sequence[int]) -> Pairs:
    """The pairs of several scenes, with frames numbered through all scenes in order.

    Args:
        scenes: the pairs of each scene.
        counts: number of frames of each scene.
    """
    firsts = list(accumulate(counts[:-1], initial=0))
    measured: Counter[str] = Counter()
    for pairs in scenes:
        measured.update(pairs.measured)
    return Pairs(
        torch.cat([pairs.query + first for pairs, first in zip(scenes, firsts, strict=True)]),
        torch.cat([pairs.reference + first for pairs, first in zip(scenes, firsts, strict=True)]),
        torch.cat([pairs.overlap for pairs in scenes]),
        dict(measured),
    )


def _assumed_depths(depth_images: Sequence[Tensor | None], poses: Pose) -> Float[Tensor, "d"]:
    """Depths of frustum points: around the median of the depth images, or else around two camera radii."""
    known = [
        float(each[each > 0].median()) for each in depth_images if each is not None and bool((each > 0).any())
    ]
    depth = median(known) if known else _DEPTH_RADII * float(camera_radius(poses))
    return depth * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def _view(
    camera: Camera,
    pose: Pose,
    depth: Float[Tensor, "h w"] | None,
    points: Float[Tensor, "m 3"] | None,
    assumed_depths: Float[Tensor, "d"],
) -> Float[Tensor, "n 3"]:
    """The points that represent the view of a frame."""
    if depth is not None:
        sized = camera.resized(width=depth.shape[1], height=depth.shape[0])
        measured: Tensor = points_of_depth(depth, sized, pose, stride=max(1, depth.shape[1] // _RAYS_ACROSS))
        return measured
    if points is None:
        possible: Tensor = points_of_frustum(camera, pose, depths=assumed_depths)
        return possible
    known = points.double()
    visible = known[in_view(known, camera, Pose(pose.rotation[None], pose.translation[None]))[0]]
    return visible[:: max(1, len(visible) // _MOST_POINTS)]


def _visible_shares(
    views: Sequence[Float[Tensor, "_ 3"]], camera: Camera, pose: Pose, depth: Float[Tensor, "h w"] | None
) -> Float[Tensor, "b"]:
    """For each of b views the share of its points that one camera sees."""
    if not views:
        return torch.zeros(0, dtype=torch.float64)
    if depth is not None:
        camera = camera.resized(width=depth.shape[1], height=depth.shape[0])
    single = Pose(pose.rotation[None], pose.translation[None])
    hits = in_view(torch.cat(list(views)), camera, single, depth=depth)[0].double()
    shares = [
        part.mean() if len(part) else part.new_zeros(()) for part in hits.split([len(each) for each in views])
    ]
    return torch.stack(shares)
