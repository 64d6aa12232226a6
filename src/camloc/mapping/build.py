"""`build_scene_map`: from frames with known poses to a map, step by step.

features -> pairs -> matching -> triangulation -> selection -> SceneMap
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from camloc.core.progress import ShareProgress, silent
from camloc.core.sampling import even_rows
from camloc.data.image_io import read_with_camera
from camloc.data.types import Frame
from camloc.errors import DatasetError, ImageError
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.mapping.bundle_adjustment import PoseChanges, refine_poses
from camloc.mapping.features import (
    FeatureExtractor,
    Features,
    FeatureSettings,
    extraction_scale,
    feature_extractor,
)
from camloc.mapping.matching import FrameKeypoints, MatchSettings, match_pairs
from camloc.mapping.pairs import PairSettings, Views, frame_pairs, probe_pairs
from camloc.mapping.retrieval import build_retrieval
from camloc.mapping.scene_map import DescriptorCodec, Retrieval, SceneMap
from camloc.mapping.selection import choose_frames, choose_points
from camloc.mapping.triangulation import (
    Triangulated,
    TriangulationSettings,
    reprojection,
    tracks,
    triangulate,
)

MaskReader = Callable[[Frame], Bool[np.ndarray, "h w"] | None]
"""The mask of a frame's image as read (True where it counts), or None where everything counts."""

# Frames that the projection of descriptors is learned from, and that the depth of the scene is probed with.
_SAMPLE_FRAMES = 64
_PROBES = 40

# Share of the bytes that frames may take, with their names, poses and retrieval vectors.
_FRAMES_SHARE = 0.25
_BYTES_A_FRAME = 400

# The largest number that two bytes hold, about.
_LARGEST_HALF = 6e4


@dataclass(frozen=True)
class MapSettings:
    """How a map is built.

    Attributes:
        features: extraction of local features.
        pairs: which frames are compared.
        matching: when keypoints match.
        triangulation: which points are kept.
        refine_poses: adjust the poses of the frames too, for poses of odometry or depth SLAM that are less
            exact than the images; the report says how far they moved.
        dimensions: numbers that a descriptor is compressed to.
        size_bytes: bytes that the map's files may have, or None for all points and frames.
    """

    features: FeatureSettings = field(default_factory=FeatureSettings)
    pairs: PairSettings = field(default_factory=PairSettings)
    matching: MatchSettings = field(default_factory=MatchSettings)
    triangulation: TriangulationSettings = field(default_factory=TriangulationSettings)
    refine_poses: bool = False
    dimensions: int = 64
    size_bytes: int | None = None


@dataclass(frozen=True)
class BuildReport:
    """What a map was built from, what was left out, and what it cost.

    Attributes:
        frames: that were used.
        position_only, without_pose, without_camera: names of frames that were left out for that reason.
        unreadable: names of frames whose image could not be used, with the reason.
        without_points: names of used frames that see no point of the map.
        keypoints: in all frames.
        depth: median distance of what the frames see, in the unit of the scene.
        pairs: of frames that were compared.
        descriptor_matches: of their keypoints.
        matches: the ones that fit the known poses. Where they are few, poses or intrinsics are wrong.
        tracks: that the matches were joined to.
        triangulated: points that passed triangulation.
        points, observations, frames_kept: of the map, after selection.
        pixel_sigma: standard deviation of a residual's coordinate in pixels.
        seconds: of the processor for each step.
        size_bytes: of the map's files.
        pose_changes: how far poses moved where they were refined, or None.
    """

    frames: int
    position_only: tuple[str, ...]
    without_pose: tuple[str, ...]
    without_camera: tuple[str, ...]
    unreadable: dict[str, str]
    without_points: tuple[str, ...]
    keypoints: int
    depth: float
    pairs: int
    descriptor_matches: int
    matches: int
    tracks: int
    triangulated: int
    points: int
    observations: int
    frames_kept: int
    pixel_sigma: float
    seconds: dict[str, float]
    size_bytes: int
    pose_changes: PoseChanges | None


@dataclass(frozen=True, eq=False)
class ExtractedFrame:
    """The local features of a frame's image, and the camera that took it."""

    features: Features
    camera: Camera


def build_scene_map(
    frames: Sequence[Frame],
    *,
    scene: str,
    unit: Literal["m", "units"],
    settings: MapSettings | None = None,
    masks: MaskReader | None = None,
    progress: ShareProgress | None = None,
) -> tuple[SceneMap, BuildReport]:
    """Build the map of a scene from its training frames: `match_frames`, then `assemble_map`.

    Raises:
        DatasetError: fewer than two frames can be used, or none of their keypoints can be triangulated.
    """
    settings = settings or MapSettings()
    matched = match_frames(frames, scene=scene, settings=settings, masks=masks, progress=progress)
    return assemble_map(matched, scene=scene, unit=unit, settings=settings, progress=progress)


def match_frames(
    frames: Sequence[Frame],
    *,
    scene: str,
    settings: MapSettings,
    masks: MaskReader | None = None,
    kept_features: Collection[str] = (),
    progress: ShareProgress | None = None,
) -> "MatchedFrames":
    """Extract the features of frames, and match them where the frames' views overlap.

    The order of the frames does not matter: they are sorted by name.

    Args:
        frames: with poses; those without an orientation, intrinsics or a readable image are left out
            and reported.
        scene: name of the scene.
        settings: how the map is built.
        masks: reads the mask of a frame, or None where all pixels count.
        kept_features: names of frames whose uncompressed features are kept, 200 kB each.
        progress: called with the step and the share of it that is done.

    Raises:
        DatasetError: fewer than two frames can be used.
    """
    report_progress = progress or silent
    clock: dict[str, float] = {}
    usable, left_out = _usable(frames)
    with _timed(clock, "features"):
        extracted = _extract(usable, settings, masks, frozenset(kept_features), report_progress)
    views, keypoints = extracted.views, extracted.keypoints
    if len(views) < 2:
        raise DatasetError(
            f"a map of {scene} needs two frames or more with pose, intrinsics and a readable image, "
            f"and {len(frames)} given ones have {len(views)}"
        )
    frame_of = np.repeat(np.arange(len(views)), [len(each) for each in keypoints])
    plane = np.concatenate([each.plane for each in keypoints])
    with _timed(clock, "pairs"):
        depth = _typical_depth(keypoints, views, frame_of, plane, settings)
        pairs = frame_pairs(views, depth, settings.pairs)
    with _timed(clock, "matching"):
        matches, tried = match_pairs(
            keypoints,
            views,
            pairs,
            settings.matching,
            progress=partial(report_progress, "matching"),
        )
    return MatchedFrames(extracted, left_out, frame_of, plane, depth, len(pairs), matches, tried, clock)


def assemble_map(
    matched: "MatchedFrames",
    *,
    scene: str,
    unit: Literal["m", "units"],
    settings: MapSettings,
    without: Collection[str] = (),
    progress: ShareProgress | None = None,
) -> tuple[SceneMap, BuildReport]:
    """Triangulate matches and choose the points of a map.

    Args:
        matched: the frames and their matches.
        scene: name of the scene.
        unit: of its positions.
        settings: how the map is built, the same that the frames were matched with.
        without: names of frames that the map must know nothing of: their matches are left out.
        progress: called with the step and the share of it that is done.

    Raises:
        DatasetError: no keypoint can be triangulated, or no map fits into the bytes of the settings.
    """
    report_progress = progress or silent
    clock = dict(matched.seconds)
    extracted, views, matches = matched.extracted, matched.extracted.views, matched.matches
    used = np.array([frame.name not in without for frame in extracted.frames], dtype=bool)
    matches = matches[used[matched.frame_of[matches]].all(axis=1)]
    with _timed(clock, "triangulation"):
        report_progress("triangulation", 0.0)
        observations = tracks(matches, matched.frame_of, matched.plane)
        found = triangulate(observations, views, settings.triangulation)
    changes = None
    if settings.refine_poses and len(found):
        with _timed(clock, "refinement of poses"):
            report_progress("refinement of poses", 0.0)
            views, changes = refine_poses(found, views)
            found = triangulate(observations, views, settings.triangulation)
            extracted = replace(extracted, views=views)
    if not len(found):
        raise DatasetError(
            f"no point of {scene} could be triangulated: {len(matches)} of {matched.tried} matches fit the "
            f"poses of its {int(used.sum())} frames; check that poses are world_from_cam and whether "
            "intrinsics are right"
        )
    with _timed(clock, "selection"):
        report_progress("selection", 0.0)
        scene_map = _within_budget(scene, unit, found, extracted, np.flatnonzero(used), settings)
    counts = np.bincount(found.observations.frame, minlength=len(views))
    size = sum(len(content) for content in scene_map.to_files().values())
    report = BuildReport(
        frames=int(used.sum()),
        position_only=matched.left_out["position only"],
        without_pose=matched.left_out["no pose"],
        without_camera=matched.left_out["no camera"],
        unreadable=extracted.unreadable,
        without_points=tuple(extracted.frames[row].name for row in np.flatnonzero(used) if not counts[row]),
        keypoints=len(matched.plane),
        depth=matched.depth,
        pairs=matched.pairs,
        descriptor_matches=matched.tried,
        matches=len(matches),
        tracks=int(observations.track[-1]) + 1 if len(observations) else 0,
        triangulated=len(found),
        points=len(scene_map),
        observations=len(scene_map.seen_points),
        frames_kept=len(scene_map.frame_names),
        pixel_sigma=found.pixel_sigma,
        seconds=clock,
        size_bytes=size,
        pose_changes=changes,
    )
    return scene_map, report


@dataclass(frozen=True, eq=False)
class MatchedFrames:
    """Frames, their features, and the matches of these that fit the known poses.

    Attributes:
        extracted: frames and features.
        left_out: names of frames that cannot be used, by reason.
        frame_of: (k,) the frame of each keypoint, rising.
        plane: (k, 2) where the ray of each keypoint meets the plane at depth 1.
        depth: median distance of what the frames see, in the unit of the scene.
        pairs: number of pairs of frames that were compared.
        matches: (m, 2) pairs of keypoints, counted through all frames.
        tried: number of descriptor matches, whether they fit the poses or not.
        seconds: of the processor for each step.
    """

    extracted: "_Extracted"
    left_out: dict[str, tuple[str, ...]]
    frame_of: Int64[np.ndarray, "k"]
    plane: Float[np.ndarray, "k 2"]
    depth: float
    pairs: int
    matches: Int64[np.ndarray, "m 2"]
    tried: int
    seconds: dict[str, float]

    def features(self) -> dict[str, ExtractedFrame]:
        """The features that were kept, by the name of their frame."""
        return self.extracted.uncompressed


@dataclass(frozen=True, eq=False)
class _Extracted:
    """The frames whose images could be read, their features, and how their descriptors are compressed."""

    frames: tuple[Frame, ...]
    cameras: tuple[Camera, ...]
    views: Views
    keypoints: tuple[FrameKeypoints, ...]
    codec: DescriptorCodec
    unreadable: dict[str, str]
    features: FeatureSettings
    uncompressed: dict[str, ExtractedFrame]


def _usable(frames: Sequence[Frame]) -> tuple[list[Frame], dict[str, tuple[str, ...]]]:
    """Frames with pose and intrinsics in the order of their names, and the names of the others by reason."""
    left_out: dict[str, list[str]] = {"position only": [], "no pose": [], "no camera": []}
    usable = []
    for frame in sorted(frames, key=lambda frame: frame.name):
        if frame.world_from_cam is None:
            left_out["no pose"].append(frame.name)
        elif frame.is_position_only:
            left_out["position only"].append(frame.name)
        elif frame.camera is None:
            left_out["no camera"].append(frame.name)
        else:
            usable.append(frame)
    return usable, {reason: tuple(names) for reason, names in left_out.items()}


def _extract(
    frames: Sequence[Frame],
    settings: MapSettings,
    masks: MaskReader | None,
    kept_features: Collection[str],
    report_progress: ShareProgress,
) -> _Extracted:
    """The features of all frames; the projection of descriptors is learned from some, spread evenly."""
    extractor = feature_extractor(settings.features)
    sample = even_rows(len(frames), _SAMPLE_FRAMES)
    unreadable: dict[str, str] = {}
    early = {
        int(row): read
        for row in sample
        if (read := _read(frames[row], extractor, masks, unreadable)) is not None
    }
    codec = fit_codec([read.features.descriptors for read in early.values()], settings.dimensions)
    kept: list[Frame] = []
    cameras, keypoints, uncompressed = [], [], {}
    for row, frame in enumerate(frames):
        if frame.name in unreadable:
            continue
        found = early.pop(row, None) or _read(frame, extractor, masks, unreadable)
        if found is not None:
            kept.append(frame)
            cameras.append(found.camera)
            keypoints.append(_compressed(found, codec))
            if frame.name in kept_features:
                uncompressed[frame.name] = found
        report_progress("features", (row + 1) / len(frames))
    return _Extracted(
        tuple(kept),
        tuple(cameras),
        _views(kept, cameras, settings.features),
        tuple(keypoints),
        codec,
        unreadable,
        replace(settings.features, weights_sha256=getattr(extractor, "weights_sha256", "")),
        uncompressed,
    )


def _read(
    frame: Frame, extractor: FeatureExtractor, masks: MaskReader | None, unreadable: dict[str, str]
) -> ExtractedFrame | None:
    """A frame's features and the camera of its image, or None with the reason noted."""
    try:
        decoded, camera = read_with_camera(frame)
        image: UInt8[np.ndarray, "h w 3"] = np.array(decoded)
        mask = None if masks is None else masks(frame)
        if mask is not None and mask.shape != image.shape[:2]:
            raise ImageError(
                f"the mask of {frame.name} has {mask.shape[1]} x {mask.shape[0]} pixels and its image "
                f"{image.shape[1]} x {image.shape[0]}"
            )
        assert camera is not None
        return ExtractedFrame(extractor.extract(image, mask), camera)
    except ImageError as problem:
        unreadable[frame.name] = str(problem)
        return None


def _compressed(read: ExtractedFrame, codec: DescriptorCodec) -> FrameKeypoints:
    """Keypoints with distortion undone and compressed descriptors; those without a ray are left out."""
    plane = read.camera.unproject(read.features.keypoints.astype(np.float64))[:, :2]
    rows = np.flatnonzero(np.isfinite(plane).all(axis=1))
    codes = codec.encode(read.features.descriptors[rows].astype(np.float32))
    return FrameKeypoints(plane[rows], read.features.scales[rows], codes)


def fit_codec(descriptors: Sequence[UInt8[np.ndarray, "_ D"]], dimensions: int) -> DescriptorCodec:
    """The projection to the directions in which descriptors vary most, and the step of their rounding."""
    if not descriptors:
        return DescriptorCodec(np.zeros(1, np.float32), np.ones((1, 1), np.float32), 1.0)
    rows = np.concatenate(list(descriptors))
    rows = rows.astype(np.float64)
    width = rows.shape[1]
    mean = rows.mean(axis=0) if len(rows) else np.zeros(width)
    covariance = (rows - mean).T @ (rows - mean)
    _, directions = np.linalg.eigh(covariance)
    basis = directions[:, ::-1][:, :dimensions]
    # The sign of an eigenvector is arbitrary: its largest number is made positive.
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
    largest = np.percentile(np.abs((rows - mean) @ basis), 99.9) if len(rows) else 127.0
    return DescriptorCodec(
        mean.astype(np.float32),
        np.ascontiguousarray(basis, dtype=np.float32),
        max(float(largest) / 127.0, 1e-6),
    )


def _views(frames: Sequence[Frame], cameras: Sequence[Camera], features: FeatureSettings) -> Views:
    poses = [frame.truth().numpy() for frame in frames]
    scales = [extraction_scale(camera.width, camera.height, features) for camera in cameras]
    focals = np.array([(camera.fx + camera.fy) / 2.0 for camera in cameras])
    sizes = np.array([(camera.width / camera.fx, camera.height / camera.fy) for camera in cameras])
    return Views(
        np.array([pose.rotation for pose in poses]).reshape(-1, 3, 3),
        np.array([pose.translation for pose in poses]).reshape(-1, 3),
        focals * np.array(scales),
        sizes.reshape(-1, 2) / 2.0,
    )


def _typical_depth(
    keypoints: Sequence[FrameKeypoints],
    views: Views,
    frame_of: Int64[np.ndarray, "k"],
    plane: Float[np.ndarray, "k 2"],
    settings: MapSettings,
) -> float:
    """The median depth of points that some pairs of near frames see.

    Where none can be triangulated, the distance of the cameras from their middle stands for it.
    """
    pairs = probe_pairs(views, _PROBES)
    matches, _ = match_pairs(keypoints, views, pairs, settings.matching)
    found = triangulate(tracks(matches, frame_of, plane), views, settings.triangulation)
    if len(found):
        _, depth = reprojection(found.points, found.observations, views)
        return float(np.median(depth))
    offsets = np.linalg.norm(views.centers - views.centers.mean(axis=0), axis=1)
    return max(float(np.sqrt((offsets**2).mean())), 1e-9)


def _within_budget(
    scene: str,
    unit: Literal["m", "units"],
    found: Triangulated,
    extracted: _Extracted,
    frames: Int64[np.ndarray, "f"],
    settings: MapSettings,
) -> SceneMap:
    """The map of the given frames with as many points as its files have room for.

    Raises:
        DatasetError: not even a map of some points fits.
    """
    views, budget = extracted.views, settings.size_bytes
    if budget is not None:
        centers = views.centers[frames]
        radius = max(float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max()), 1e-12)
        coordinates = np.concatenate((centers / radius, views.rotations[frames, :, 2]), axis=1)
        frames = frames[choose_frames(coordinates, max(2, int(_FRAMES_SHARE * budget / _BYTES_A_FRAME)))]
    whole = _assemble(scene, unit, found, extracted, frames)
    count = len(found)
    for _ in range(8):
        scene_map = whole if budget is None else _thinned(whole, found, views, count)
        size = sum(len(content) for content in scene_map.to_files().values())
        if budget is None or size <= budget:
            return scene_map
        empty = size - len(scene_map) * (settings.dimensions + 16) - 2 * len(scene_map.seen_points)
        count = int(len(scene_map) * 0.99 * (budget - empty) / (size - empty))
        if count < 50:
            break
    raise DatasetError(
        f"a map of {scene} with {len(frames)} frames does not fit into {budget:,} bytes; allow more of them"
    )


def _assemble(
    scene: str,
    unit: Literal["m", "units"],
    found: Triangulated,
    extracted: _Extracted,
    frames: Int64[np.ndarray, "f"],
) -> SceneMap:
    """The map of all points and of the frames of the given rows."""
    views, observations = extracted.views, found.observations
    sigmas = np.sqrt(np.linalg.eigvalsh(found.covariances)[:, -1])
    codes, scales = _mean_descriptors(found, extracted)
    origin = np.round(found.points.mean(axis=0), 3)
    of_frame = np.full(len(views), -1)
    of_frame[frames] = np.arange(len(frames))
    seen = np.flatnonzero(of_frame[observations.frame] >= 0)
    seen = seen[np.lexsort((observations.track[seen], of_frame[observations.frame[seen]]))]
    counts = np.bincount(of_frame[observations.frame[seen]], minlength=len(frames))
    cameras = {camera: number for number, camera in enumerate(dict.fromkeys(extracted.cameras))}
    quaternions = Pose(views.rotations[frames], views.centers[frames]).quaternion_wxyz()
    return SceneMap(
        scene=scene,
        unit=unit,
        features=extracted.features,
        origin=origin,
        points=(found.points - origin).astype(np.float32),
        point_sigmas=np.minimum(sigmas, _LARGEST_HALF).astype(np.float16),
        point_scales=np.minimum(scales, _LARGEST_HALF).astype(np.float16),
        descriptors=codes,
        codec=extracted.codec,
        frame_names=tuple(extracted.frames[row].name for row in frames),
        frame_positions=(views.centers[frames] - origin).astype(np.float32),
        frame_quaternions_wxyz=quaternions.astype(np.float32),
        cameras=tuple(cameras),
        frame_cameras=np.array([cameras[extracted.cameras[row]] for row in frames], dtype=np.int32),
        seen_offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        seen_points=observations.track[seen].astype(np.int32),
        retrieval=_retrieval([extracted.keypoints[row] for row in frames]),
    )


def _thinned(whole: SceneMap, found: Triangulated, views: Views, count: int) -> SceneMap:
    """The map with only the `count` points that cover the frames best."""
    observations = found.observations
    position = observations.plane / views.half_sizes[observations.frame]
    worth = np.ones(len(found))
    rows = choose_points(observations.track, observations.frame, position, worth, count)
    number = np.full(len(found), -1)
    number[rows] = np.arange(len(rows))
    kept = number[whole.seen_points] >= 0
    ends = np.concatenate(([0], np.cumsum(kept)))[whole.seen_offsets]
    return replace(
        whole,
        points=whole.points[rows],
        point_sigmas=whole.point_sigmas[rows],
        point_scales=whole.point_scales[rows],
        descriptors=whole.descriptors[rows],
        seen_offsets=ends.astype(np.int32),
        seen_points=number[whole.seen_points[kept]].astype(np.int32),
    )


def _retrieval(keypoints: Sequence[FrameKeypoints]) -> Retrieval:
    """Which frames look like a query, by codes that are projected already."""
    width = keypoints[0].codes.shape[1]
    codec = DescriptorCodec(np.zeros(width, np.float32), np.eye(width, dtype=np.float32), 1.0)
    return build_retrieval([codec.decode(each.codes) for each in keypoints], codec)


def _mean_descriptors(
    found: Triangulated, extracted: _Extracted
) -> tuple[UInt8[np.ndarray, "n d"], Float[np.ndarray, "n"]]:
    """The mean code of each point over its observations, and its size in the world for a pixel of scale."""
    observations, views = found.observations, extracted.views
    starts = np.concatenate(([0], np.cumsum([len(each) for each in extracted.keypoints])))
    counts = np.bincount(observations.track)
    width = extracted.codec.basis.shape[1]
    sums = np.zeros((len(found), width), dtype=np.float32)
    scale = np.empty(len(observations))
    by_frame = np.argsort(observations.frame, kind="stable")
    ends = np.searchsorted(observations.frame[by_frame], np.arange(len(views) + 1))
    for frame in range(len(views)):
        rows = by_frame[ends[frame] : ends[frame + 1]]
        own = observations.keypoint[rows] - starts[frame]
        # A frame sees a point once, so that each row of the sum is added to once.
        sums[observations.track[rows]] += extracted.keypoints[frame].codes[own]
        scale[rows] = extracted.keypoints[frame].scales[own]
    codes = np.rint(sums / counts[:, None]).astype(np.uint8)
    _, depth = reprojection(found.points, observations, views)
    size = scale * depth / views.focals[observations.frame]
    return codes, np.bincount(observations.track, size) / counts


@contextmanager
def _timed(clock: dict[str, float], step: str) -> Iterator[None]:
    start = time.process_time()
    yield
    clock[step] = time.process_time() - start
