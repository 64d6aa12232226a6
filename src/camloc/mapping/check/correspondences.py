"""Matched local features between images that show the same, found by the images alone and not by the poses.

Poses are what is to be checked, so they choose nothing here, with one exception: pairs across the largest
steps of a path are added, because a jump is a single pair among thousands. Anchors are spread evenly over the
frames; each is matched with later frames of its recording, farther and farther until little is common, and
with the anchors that resemble it most. Matches must agree with some fundamental matrix, which no intrinsics
and no poses enter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from camloc.core.sampling import even_rows
from camloc.data.image_io import read_with_camera
from camloc.data.types import Frame
from camloc.errors import ImageError
from camloc.geometry.camera import Camera
from camloc.geometry.colmap import pycolmap
from camloc.mapping.features import FeatureSettings, extraction_scale, feature_extractor
from camloc.mapping.matching import match_codes

# Later frames of a recording that an anchor is matched with.
_GAPS = (1, 2, 4, 8, 16, 32)

# Matches that are kept of a pair; and how many of the largest features find which anchors resemble.
_MATCHES, _COARSE = 100, 200

# Fewest matches of the largest features between two anchors that may show the same.
_LEAST_COARSE = 8

# Anchors that resemble an anchor, to match it with.
_ALIKE = 2

# Frames before and after a large step that are matched with each other as well.
_ACROSS = (2, 6)

# Frames before the end of a recording and after the start of the next that are matched with each other, and
# recordings of which this is done.
_AROUND = ((0, 0), (1, 1), (0, 3), (3, 0), (3, 3), (6, 6))
_MOST_RECORDINGS = 16

# A focal length for images without intrinsics, as a share of the longer side.
_USUAL_FOCAL = 0.85

_FEATURES = FeatureSettings(most=800)

# Images that are matched with others, and largest steps of the path across which pairs are added.
_ANCHORS, _STEPS = 40, 12

# Matches of a pair that agree with a fundamental matrix, and the least share of all its matches.
_LEAST, _SHARE = 30, 0.4

# Least median motion of the matches, as a share of the image's longer side: every pose explains the matches
# of two images from almost one place.
_MOTION = 0.03


@dataclass(frozen=True, eq=False)
class Correspondences:
    """The matches of two images.

    Attributes:
        first, second: numbers of the frames.
        first_plane, second_plane: (m, 2) where the rays of the matches meet the plane at depth 1.
        focal: focal length in pixels of an image of about 640 x 480, the mean of both images and directions.
        kind: "recording" for frames of one recording, "alike" for anchors that look alike, "step" for frames
            before and after a large step of the path or the end of a recording, "across" for frames of two
            recordings that look alike.
    """

    first: int
    second: int
    first_plane: Float[np.ndarray, "m 2"]
    second_plane: Float[np.ndarray, "m 2"]
    focal: float
    kind: str


@dataclass(frozen=True)
class Tried:
    """Two frames whose images were compared, and how many matches agree: 0 where they show nothing common."""

    first: int
    second: int
    matches: int


@dataclass(frozen=True, eq=False)
class Sample:
    """The pairs of images that show common points, and the neighbours that were compared.

    Attributes:
        pairs: with enough matches.
        tried: neighbours in a recording, with what they have in common.
        extracted: numbers of the frames whose features were extracted.
    """

    pairs: tuple[Correspondences, ...]
    tried: tuple[Tried, ...]
    extracted: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Extracted:
    plane: Float[np.ndarray, "n 2"]
    pixels: Float[np.ndarray, "n 2"]
    descriptors: UInt8[np.ndarray, "n d"]
    coarse: NDArray[np.int64]
    focal: float
    side: float


class _Extraction:
    """The features of frames, extracted on first use."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self._extractor = feature_extractor(_FEATURES)
        self.known: dict[int, _Extracted | None] = {}

    def of(self, index: int) -> _Extracted | None:
        if index not in self.known:
            self.known[index] = self._extract(self._frames[index])
        return self.known[index]

    def _extract(self, frame: Frame) -> _Extracted | None:
        try:
            image, camera = read_with_camera(frame)
        except ImageError:
            return None
        width, height = image.size
        if camera is None:
            focal = _USUAL_FOCAL * max(width, height)
            camera = Camera(width, height, focal, focal, width / 2, height / 2)
        scale = extraction_scale(width, height, _FEATURES)
        features = self._extractor.extract(np.asarray(image.convert("RGB")))
        if not len(features):
            return None
        plane = camera.unproject(features.keypoints.astype(np.float64))[:, :2]
        kept = features.rows(np.isfinite(plane).all(axis=1))
        plane = plane[np.isfinite(plane).all(axis=1)]
        return _Extracted(
            plane=plane,
            pixels=kept.keypoints.astype(np.float64) * scale,
            descriptors=kept.descriptors,
            coarse=np.argsort(-kept.scales, kind="stable")[:_COARSE],
            focal=(camera.fx + camera.fy) / 2 * scale,
            side=max(width, height) * scale,
        )


def sample_correspondences(
    frames: Sequence[Frame],
    steps: Sequence[tuple[int, int]],
    across: Sequence[tuple[int, int]],
    progress: Callable[[float], None],
) -> Sample:
    """Matched features between some of the frames.

    Args:
        frames: in the order of their recordings.
        steps: frames (before, after) of the largest steps of the path, to be compared too.
        across: frames of two recordings, to be compared too.
        progress: called with the share that is done.
    """
    extraction, recordings = _Extraction(frames), _Recordings(frames)
    anchors = even_rows(len(frames), _ANCHORS).tolist()
    pairs: dict[tuple[int, int], Correspondences] = {}
    tried: list[Tried] = []

    def match(one: int, other: int, kind: str) -> int:
        found, count = _matched(extraction, one, other, kind)
        if found is not None:
            pairs[one, other] = found
        return count

    chosen = steps[:_STEPS]
    work = len(anchors) + len(chosen)
    for done, anchor in enumerate(anchors, start=1):
        for gap in _GAPS:
            later = recordings.after(anchor, gap)
            if later is None:
                break
            count = match(anchor, later, "recording")
            if gap == 1:
                tried.append(Tried(anchor, later, count))
            if count < _LEAST:
                break
        progress(done / work * 0.9)
    for done, (before, after) in enumerate(chosen, start=len(anchors) + 1):
        for one, other in _across(recordings, before, after):
            if (one, other) not in pairs:
                match(one, other, "step")
        progress(done / work * 0.9)
    further = dict.fromkeys(recordings.between(), "step")
    for pair in across:
        further.setdefault(pair, "across")
    for pair in _alike(extraction, anchors, recordings):
        further.setdefault(pair, "alike")
    for (one, other), kind in further.items():
        if (one, other) not in pairs:
            match(one, other, kind)
    progress(1.0)
    return Sample(tuple(pairs.values()), tuple(tried), tuple(sorted(extraction.known)))


class _Recordings:
    """The order of frames in their recordings."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        members: dict[str, list[int]] = {}
        self._place = []
        for index, frame in enumerate(frames):
            own = members.setdefault(frame.sequence, [])
            self._place.append((own, len(own)))
            own.append(index)

    def after(self, index: int, gap: int) -> int | None:
        own, place = self._place[index]
        return own[place + gap] if 0 <= place + gap < len(own) else None

    def between(self) -> list[tuple[int, int]]:
        """Frames at the end of a recording and at the start of the next, of which it may be a part."""
        members = list({id(own): own for own, _ in self._place}.values())
        return [
            (one[-1 - before], other[after])
            for one, other in pairwise(members[:_MOST_RECORDINGS])
            for before, after in _AROUND
            if before < len(one) and after < len(other)
        ]

    def distance(self, one: int, other: int) -> float:
        own, place = self._place[one]
        others, there = self._place[other]
        return abs(place - there) if own is others else float("inf")


def _across(recordings: _Recordings, before: int, after: int) -> list[tuple[int, int]]:
    """Pairs of frames on both sides of a step; farther ones too, because neighbours may hardly move."""
    found = [(before, after)]
    for gap in _ACROSS:
        one, other = recordings.after(before, -gap), recordings.after(after, gap)
        if one is not None and other is not None:
            found.append((one, other))
    return found


def _alike(extraction: _Extraction, anchors: Sequence[int], recordings: _Recordings) -> list[tuple[int, int]]:
    """The anchors that resemble each anchor most, except its close successors."""
    known = [(anchor, extraction.of(anchor)) for anchor in anchors]
    present = [(anchor, one) for anchor, one in known if one is not None]
    counts = np.zeros((len(present), len(present)), dtype=np.int64)
    for i, (anchor, one) in enumerate(present):
        for j in range(i + 1, len(present)):
            other_anchor, other = present[j]
            if recordings.distance(anchor, other_anchor) > 2:
                matches = match_codes(one.descriptors[one.coarse], other.descriptors[other.coarse], 0.8)
                counts[i, j] = counts[j, i] = len(matches)
    found = set()
    for i, (anchor, _) in enumerate(present):
        for j in np.argsort(-counts[i], kind="stable")[:_ALIKE].tolist():
            if counts[i, j] >= _LEAST_COARSE:
                found.add((min(anchor, present[j][0]), max(anchor, present[j][0])))
    return sorted(found)


def _matched(
    extraction: _Extraction, first: int, second: int, kind: str
) -> tuple[Correspondences | None, int]:
    """The matches of two frames that agree with a fundamental matrix, and how many they are.

    The first part is None where they are too few or where the images are from almost one place.
    """
    one, other = extraction.of(first), extraction.of(second)
    if one is None or other is None:
        return None, 0
    matches = match_codes(one.descriptors, other.descriptors, 0.8)
    if len(matches) < _LEAST // 2:
        return None, len(matches)
    inside = _agreeing(one.pixels[matches[:, 0]], other.pixels[matches[:, 1]])
    count = int(inside.sum())
    agreeing = matches[inside]
    motion = np.linalg.norm(one.pixels[agreeing[:, 0]] - other.pixels[agreeing[:, 1]], axis=1)
    is_moving = count and float(np.median(motion)) >= _MOTION * max(one.side, other.side)
    if count < _LEAST or count < _SHARE * len(matches) or not is_moving:
        return None, count
    agreeing = agreeing[even_rows(count, _MATCHES)]
    found = Correspondences(
        first=first,
        second=second,
        first_plane=one.plane[agreeing[:, 0]],
        second_plane=other.plane[agreeing[:, 1]],
        focal=(one.focal + other.focal) / 2,
        kind=kind,
    )
    return found, count


def _agreeing(first: Float[np.ndarray, "m 2"], second: Float[np.ndarray, "m 2"]) -> NDArray[np.bool_]:
    """Which matches agree with the fundamental matrix that fits most of them."""
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = 2.0, 0
    options.min_num_trials, options.max_num_trials, options.confidence = 100, 2000, 0.999
    found = pycolmap.estimate_fundamental_matrix(first, second, options)
    if found is None:
        return np.zeros(len(first), dtype=np.bool_)
    return np.asarray(found["inlier_mask"], dtype=np.bool_)
