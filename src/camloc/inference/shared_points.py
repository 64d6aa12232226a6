"""The images of a sequence refined together, by points that they share and that no map needs to have.

Errors that neighbouring images have in common, because they see the same points of the map, no filter tells
from motion. How the camera moved between the images, the images themselves say: their features are matched,
triangulated and adjusted as those of a map are, with no pose held. The path that comes out is laid, as one,
onto the poses that the map gave to the images, each by its covariance. Its motion from image to image is what
counts: where the camera hardly moves, the images leave the turn of the whole path open.

    neighbours -> matches -> tracks -> points -> bundle adjustment -> a similarity to the map's poses
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from camloc.geometry.camera import Camera
from camloc.geometry.colmap import quiet
from camloc.geometry.pose import Pose
from camloc.inference.pose_filter import Measurement
from camloc.mapping.bundle_adjustment import refine_poses
from camloc.mapping.features import Features
from camloc.mapping.matching import FrameKeypoints, MatchSettings, match_pairs
from camloc.mapping.pairs import PairSettings, Views, frame_pairs
from camloc.mapping.scene_map import DescriptorCodec
from camloc.mapping.triangulation import TriangulationSettings, tracks, triangulate

# Images that are refined together, and how many of them two neighbouring windows share.
_WINDOW, _SHARED = 60, 30

# Images that a window needs, points that each of them needs, and images with a verified pose.
_LEAST_IMAGES, _LEAST_POINTS = 6, 20

# Before the adjustment poses are off by some pixels.
_PIXELS = 8.0

# A path that is laid back at another scale than this is not trusted: its poses stay.
_MOST_SCALE = 1.25

# Rounds of the robust weights, and residuals, as multiples of their median, from which on they count less.
_ROUNDS, _ROBUST = 8, 1.5


@dataclass(frozen=True, eq=False)
class SharedView:
    """An image of a sequence.

    Attributes:
        pose: so far.
        keypoints: its features, or None where it has none or no pose.
        camera: its intrinsics.
        scale: of the image that features were extracted from.
        measurement: the pose that the image itself gave, or None.
    """

    pose: Pose
    keypoints: FrameKeypoints | None
    camera: Camera | None
    scale: float
    measurement: Measurement | None


def keypoints_of(features: Features, camera: Camera, codec: DescriptorCodec) -> FrameKeypoints:
    """Features as matching takes them: distortion undone, descriptors compressed."""
    plane = camera.unproject(features.keypoints.astype(np.float64))[:, :2]
    rows = np.flatnonzero(np.isfinite(plane).all(axis=1))
    codes = codec.encode(features.descriptors[rows].astype(np.float32))
    return FrameKeypoints(plane[rows], features.scales[rows], codes)


def refined_together(images: Sequence[SharedView], *, depth: float) -> dict[int, Pose]:
    """The poses of images refined together by their shared points, by row; unchanged poses are left out.

    Args:
        images: of a sequence, in order.
        depth: usual distance of the points in view.
    """
    usable = [row for row, each in enumerate(images) if each.keypoints is not None and len(each.keypoints)]
    refined: dict[int, Pose] = {}
    for start, stop, first, last in _windows(len(usable)):
        rows = usable[start:stop]
        found = _window([images[row] for row in rows], depth)
        refined |= {
            row: found[at] for at, row in enumerate(rows) if first <= start + at < last and at in found
        }
    return refined


def _windows(count: int) -> Iterator[tuple[int, int, int, int]]:
    """Windows (start, stop) that overlap, and the part (first, last) whose poses are taken from each."""
    start = 0
    while True:
        stop = min(start + _WINDOW, count)
        is_last = stop == count
        yield start, stop, start + (_SHARED // 2 if start else 0), stop if is_last else stop - _SHARED // 2
        if is_last:
            return
        start = stop - _SHARED


def _window(images: Sequence[SharedView], depth: float) -> dict[int, Pose]:
    measured = [row for row, each in enumerate(images) if each.measurement and each.measurement.is_verified]
    if min(len(images), len(measured)) < _LEAST_IMAGES:
        return {}
    keypoints, views = [], _views(images)
    for each in images:
        assert each.keypoints is not None
        keypoints.append(each.keypoints)
    pairs = frame_pairs(views, depth, PairSettings(count=6))
    matches, _ = match_pairs(keypoints, views, pairs, MatchSettings(pixels=_PIXELS))
    if not len(matches):
        return {}
    frame_of = np.repeat(np.arange(len(images)), [len(each) for each in keypoints])
    plane = np.concatenate([each.plane for each in keypoints])
    points = triangulate(tracks(matches, frame_of, plane), views, TriangulationSettings(pixels=_PIXELS))
    seen = np.bincount(points.observations.frame, minlength=len(images))
    known = np.flatnonzero(seen >= _LEAST_POINTS)
    anchors = np.intersect1d(known, measured)
    if min(len(known), len(anchors)) < _LEAST_IMAGES:
        return {}
    with quiet():  # a step of the solver that fails is tried again smaller, which nobody needs to read
        adjusted, _ = refine_poses(points, views)
    return _laid_onto_measurements(images, Pose(adjusted.rotations, adjusted.centers), known, anchors)


def _views(images: Sequence[SharedView]) -> Views:
    cameras = [each.camera for each in images if each.camera is not None]
    return Views(
        np.stack([each.pose.rotation for each in images]),
        np.stack([each.pose.translation for each in images]),
        np.array(
            [(each.fx + each.fy) / 2 * image.scale for each, image in zip(cameras, images, strict=True)]
        ),
        np.array([(each.width / each.fx / 2, each.height / each.fy / 2) for each in cameras]),
    )


def _laid_onto_measurements(
    images: Sequence[SharedView], path: Pose, known: Int[np.ndarray, "k"], anchors: Int[np.ndarray, "a"]
) -> dict[int, Pose]:
    """The path turned, scaled and moved as one onto the measured poses of the anchors, robustly."""
    measured = [each for row in anchors if (each := images[row].measurement) is not None]
    rotations = np.stack([each.world_from_cam.rotation for each in measured])
    centers = np.stack([each.world_from_cam.translation for each in measured])
    turns = Rotation.from_matrix(rotations @ path.rotation[anchors].transpose(0, 2, 1))
    trust = np.array([1.0 / np.trace(each.covariance[:3, :3]) for each in measured])
    weights = trust
    for _ in range(_ROUNDS):
        turn = turns.mean(weights=weights)
        weights = trust * _robust((turn.inv() * turns).magnitude())
    turned = turn.apply(path.translation)
    trust = np.array([1.0 / np.trace(each.covariance[3:, 3:]) for each in measured])
    weights = trust
    for _ in range(_ROUNDS):
        share = (weights / weights.sum())[:, None]
        from_middle, to_middle = (share * turned[anchors]).sum(axis=0), (share * centers).sum(axis=0)
        here, there = turned[anchors] - from_middle, centers - to_middle
        scale = float((share * here * there).sum() / max(float((share * here**2).sum()), 1e-12))
        weights = trust * _robust(np.linalg.norm(there - scale * here, axis=1))
    if not 1.0 / _MOST_SCALE < scale < _MOST_SCALE:  # not a number neither
        return {}
    placed = to_middle + scale * (turned - from_middle)
    return {int(row): Pose((turn.as_matrix() @ path.rotation[row]), placed[row]) for row in known}


def _robust(residuals: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Weights that fall with residuals beyond the usual ones (Huber)."""
    usual = _ROBUST * float(np.median(residuals)) + 1e-12
    weights: Float[np.ndarray, n] = np.minimum(1.0, usual / np.maximum(residuals, 1e-12))
    return weights
