"""Pairs of training frames that see the same part of the place, which relative poses are learned from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camloc.core.depth import read_depth
from camloc.core.types import Frame, poses_of
from camloc.errors import DatasetError
from camloc.geometry.camera import Camera
from camloc.geometry.overlap import in_view, overlap, points_of_depth, points_of_frustum
from camloc.geometry.pose import Pose
from camloc.geometry.pose_index import PoseIndex

# Rays of a depth picture, and points of a place, that stand for what a frame sees.
_RAYS_ACROSS = 24
_MOST_POINTS = 400

# Of a phone, held upright or not: regressors do not need to know it.
USUAL_CAMERA = Camera(width=640, height=640, fx=640.0, fy=640.0, cx=320.0, cy=320.0)

# Where nothing says how far things are: this many spreads of the cameras.
_DEPTH_SPREADS = 2.0


@dataclass(frozen=True)
class PairSettings:
    """Which frames make a pair.

    Attributes:
        per_frame: most references of each frame.
        candidates: nearest frames by pose, among which references are looked for.
        least_overlap: share of what each of the two sees that the other sees too.
    """

    per_frame: int = 12
    candidates: int = 40
    least_overlap: float = 0.3


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of frames, by their numbers.

    Attributes:
        query, reference: (p,) the two frames.
        overlap: (p,) the smaller of the two shares.
        measured: how many frames' sights were told by "depth", by "points" and by the "frustum".
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
    points: Float[Tensor, "n 3"] | None = None,
    seed: int = 0,
) -> Pairs:
    """Pairs of frames with enough in common, at most so many to each frame, drawn evenly from all that are.

    What a frame sees is told by its depth picture; by points of the place that lie in its picture where it
    has none; where there are none either, by points of its frustum around the usual depth. What is hidden
    from the query is noticed in the query's depth picture. A frame whose camera is unknown is taken to be
    from a usual one.

    Args:
        frames: with orientations.
        settings: which make a pair.
        points: of the place.
        seed: of the draw.

    Raises:
        DatasetError: no two frames have enough in common.
        ImageError: a depth picture cannot be read.
    """
    poses, cameras = poses_of(frames), [frame.camera or USUAL_CAMERA for frame in frames]
    depths = [None if frame.depth is None else read_depth(frame.depth) for frame in frames]
    usual = _usual_depths(depths, poses)
    seen = [_seen(cameras[row], poses[row], depths[row], points, usual) for row in range(len(frames))]
    near, _ = PoseIndex(poses).nearest(poses, settings.candidates + 1)
    generator = torch.Generator().manual_seed(seed)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for row in range(len(frames)):
        others = near[row][near[row] != row]
        there = overlap(seen[row], cameras[row], poses[others])
        others, there = others[there >= settings.least_overlap], there[there >= settings.least_overlap]
        back = _seen_from([seen[other] for other in others.tolist()], cameras[row], poses[row], depths[row])
        both = torch.minimum(there, back)
        kept = (both >= settings.least_overlap).nonzero().squeeze(1)
        drawn = kept[torch.randperm(len(kept), generator=generator)[: settings.per_frame]]
        found.append((torch.full((len(drawn),), row), others[drawn], both[drawn]))
    query, reference, share = (torch.cat(part) for part in zip(*found, strict=True))
    if not len(query):
        raise DatasetError(
            f"no two of the {len(frames)} training frames see {settings.least_overlap:.0%} of the same; take "
            f"photographs that overlap"
        )
    with_depth = sum(depth is not None for depth in depths)
    rest = "frustum" if points is None else "points"
    return Pairs(query, reference, share, {"depth": with_depth, rest: len(frames) - with_depth})


def joined_pairs(places: Sequence[Pairs], counts: Sequence[int]) -> Pairs:
    """Pairs of several places as one, of frames that are numbered place after place.

    Args:
        places: the pairs of each.
        counts: how many frames each place has.
    """
    firsts = list(accumulate(counts, initial=0))
    measured: Counter[str] = Counter()
    for pairs in places:
        measured.update(pairs.measured)
    return Pairs(
        torch.cat([pairs.query + first for pairs, first in zip(places, firsts, strict=False)]),
        torch.cat([pairs.reference + first for pairs, first in zip(places, firsts, strict=False)]),
        torch.cat([pairs.overlap for pairs in places]),
        dict(measured),
    )


def _seen_from(
    sights: Sequence[Tensor], camera: Camera, pose: Pose, depth: Tensor | None
) -> Float[Tensor, "b"]:
    """The share of each of b frames' points that one camera sees."""
    if not sights:
        return torch.zeros(0, dtype=torch.float64)
    if depth is not None:
        camera = camera.resized(width=depth.shape[1], height=depth.shape[0])
    single = Pose(pose.rotation[None], pose.translation[None])
    hits = in_view(torch.cat(list(sights)), camera, single, depth=depth)[0].double()
    shares = [
        part.mean() if len(part) else part.new_zeros(())
        for part in hits.split([len(each) for each in sights])
    ]
    return torch.stack(shares)


def _usual_depths(depths: Sequence[Tensor | None], poses: Pose) -> Float[Tensor, "d"]:
    """How far things are, from the depth pictures that there are or else from the cameras' spread."""
    known = [float(each[each > 0].median()) for each in depths if each is not None and bool((each > 0).any())]
    away = poses.translation - poses.translation.mean(0)
    spread = float(away.square().sum(-1).mean().sqrt())
    usual = median(known) if known else _DEPTH_SPREADS * spread
    return usual * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def _seen(
    camera: Camera, pose: Pose, depth: Tensor | None, points: Tensor | None, usual: Tensor
) -> Float[Tensor, "n 3"]:
    """Points that stand for what a frame sees."""
    if depth is not None:
        sized = camera.resized(width=depth.shape[1], height=depth.shape[0])
        return points_of_depth(depth, sized, pose, stride=max(1, depth.shape[1] // _RAYS_ACROSS))
    if points is None:
        return points_of_frustum(camera, pose, depths=usual)
    known = points.double()
    visible = known[in_view(known, camera, Pose(pose.rotation[None], pose.translation[None]))[0]]
    return visible[:: max(1, len(visible) // _MOST_POINTS)]
