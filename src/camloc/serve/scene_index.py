"""Which scenes an image may show, of thousands, by the maps' descriptors alone.

Vectors and descriptors of different maps are in spaces of their own. Here they are brought into one: the
codes of a map's points are decoded to the extractor's descriptors, and coded again by one projection and one
vocabulary for all scenes, which are learned from the scenes that are there first.

    image -> vector (VLAD) -> scenes whose frames have the most similar vectors -> votes of its keypoints
          for the descriptors of these scenes -> the maps of the best few verify

A scene takes about 25 kB, whatever the size of its map.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, UInt8

from camloc.core.sampling import even_items, even_rows
from camloc.mapping.build import fit_codec
from camloc.mapping.features import Features, FeatureSettings
from camloc.mapping.retrieval import build_retrieval, retrieval_vector
from camloc.mapping.scene_map import DescriptorCodec, Retrieval, SceneMap

# Of each scene: frames with a vector and descriptors that are voted for, at most.
_FRAMES = 24
_DESCRIPTORS = 400

# Numbers of a descriptor and of a vector, and centers of the vocabulary.
_DIMENSIONS = 48
_VECTOR = 96
_CENTERS = 32

# Scenes that the projection and the vocabulary are learned from, at most, evenly chosen.
_LEARNED_FROM = 64

# Scenes that votes are counted for, and keypoints of an image that vote, largest first.
_VOTED = 32
_KEYPOINTS = 500

# A keypoint votes if its nearest descriptor is nearer than this share of the distance to the nearest one of
# another scene.
_VOTE_RATIO = 0.9


@dataclass(frozen=True, eq=False)
class SceneSample:
    """The part of a map that the index needs.

    Attributes:
        features: how an image's features must be extracted.
        frames: descriptors of the points that each of a few frames sees, as the extractor gives them.
        points: (v, D) descriptors of the points that most frames see.
    """

    features: FeatureSettings
    frames: tuple[UInt8[np.ndarray, "_ D"], ...]
    points: UInt8[np.ndarray, "v D"]

    @classmethod
    def of(cls, scene_map: SceneMap) -> "SceneSample":
        """The sample of a map."""
        often = np.argsort(-scene_map.views(), kind="stable")[:_DESCRIPTORS]
        chosen = even_rows(len(scene_map.frame_names), _FRAMES)
        frames = tuple(_decoded(scene_map, scene_map.points_seen_by(frame)) for frame in chosen.tolist())
        return cls(scene_map.features, frames, _decoded(scene_map, np.sort(often)))


@dataclass(frozen=True, eq=False)
class _Space:
    """The projection of descriptors and the vocabulary that all scenes of equal features share."""

    codec: DescriptorCodec
    retrieval: Retrieval

    @classmethod
    def learned(cls, samples: Sequence[SceneSample]) -> "_Space":
        some = even_items(samples, _LEARNED_FROM)
        codec = fit_codec([each.points for each in some], _DIMENSIONS)
        described = [rows for each in some for rows in each.frames]
        return cls(codec, build_retrieval(described, codec, centers=_CENTERS, size=_VECTOR))

    def projected(self, descriptors: UInt8[np.ndarray, "n D"]) -> Float32[np.ndarray, "n d"]:
        return self.codec.project(descriptors.astype(np.float32))

    def vector(self, projected: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "r"]:
        return retrieval_vector(self.retrieval, projected)


@dataclass(frozen=True, eq=False)
class _Entry:
    """A scene in a space: vectors of its frames, and codes of its descriptors."""

    vectors: Float32[np.ndarray, "f r"]
    codes: UInt8[np.ndarray, "v d"]


class _Group:
    """The scenes whose features are extracted with the same settings."""

    def __init__(self) -> None:
        self._space: _Space | None = None
        self._entries: dict[str, _Entry] = {}
        self._pending: dict[str, SceneSample] = {}
        self._vectors: Float32[np.ndarray, "m r"] = np.zeros((0, _VECTOR), np.float32)
        self._starts: list[int] = []

    def add(self, scene: str, sample: SceneSample) -> None:
        self._pending[scene] = sample

    def remove(self, scene: str) -> None:
        self._pending.pop(scene, None)
        if scene in self._entries:
            self._stack({name: entry for name, entry in self._entries.items() if name != scene})

    @property
    def scenes(self) -> tuple[str, ...]:
        return (*self._entries, *self._pending)

    @property
    def nbytes(self) -> int:
        return sum(each.vectors.nbytes * 2 + each.codes.nbytes for each in self._entries.values())

    def settle(self) -> None:
        """Add the scenes that came since; the first ones determine the space."""
        if not self._pending:
            return
        if self._space is None:
            self._space = _Space.learned(list(self._pending.values()))
        entered = {}
        for scene, sample in self._pending.items():
            vectors = [self._space.vector(self._space.projected(rows)) for rows in sample.frames]
            codes = self._space.codec.encode(sample.points.astype(np.float32))
            entered[scene] = _Entry(np.stack(vectors), codes)
        self._pending = {}
        self._stack(self._entries | entered)

    def scores(self, found: Features) -> dict[str, float]:
        """Scores of the scenes that an image may show: votes, and below one the similarity."""
        assert self._space is not None
        names = list(self._entries)
        if len(names) == 1:
            return {names[0]: 1.0}
        projected = self._space.projected(found.descriptors)
        similarities = np.maximum.reduceat(self._vectors @ self._space.vector(projected), self._starts)
        likely = np.argsort(-similarities, kind="stable")[:_VOTED]
        largest = np.argsort(-found.scales, kind="stable")[:_KEYPOINTS]
        codes = [self._space.codec.decode(self._entries[names[row]].codes) for row in likely]
        votes = _votes(projected[largest], codes)
        return {
            names[row]: float(count + 0.5 + 0.49 * similarities[row])
            for row, count in zip(likely.tolist(), votes.tolist(), strict=True)
        }

    def _stack(self, by_scene: dict[str, _Entry]) -> None:
        """Take new entries; nothing is changed in place, since snapshots share it."""
        self._entries, entries = by_scene, list(by_scene.values())
        self._vectors = np.concatenate([each.vectors for each in entries] or [np.zeros((0, 1), np.float32)])
        self._starts = np.cumsum([0, *(len(each.vectors) for each in entries[:-1])]).tolist()


class SceneIndex:
    """Ranks scenes by an image's features. Changes need a lock; a snapshot needs none."""

    def __init__(self) -> None:
        self._groups: dict[FeatureSettings, _Group] = {}

    def snapshot(self) -> "SceneIndex":
        """The index as it is now."""
        copied = SceneIndex()
        copied._groups = {settings: copy(group) for settings, group in self._groups.items()}
        return copied

    def add(self, scene: str, scene_map: SceneMap) -> None:
        """Add a scene, by its map."""
        sample = SceneSample.of(scene_map)
        self._groups.setdefault(sample.features, _Group()).add(scene, sample)

    def remove(self, scene: str) -> None:
        """Remove a scene, if it is there."""
        for settings, group in list(self._groups.items()):
            group.remove(scene)
            if not group.scenes:
                del self._groups[settings]

    def settle(self) -> None:
        """Add the scenes that came since the last call."""
        for group in self._groups.values():
            group.settle()

    @property
    def nbytes(self) -> int:
        """Memory of the scenes' vectors and descriptors."""
        return sum(group.nbytes for group in self._groups.values())

    def feature_settings(self) -> tuple[FeatureSettings, ...]:
        """The different features that the maps need."""
        return tuple(self._groups)

    def ranked(self, features: Mapping[FeatureSettings, Features]) -> tuple[tuple[str, float], ...]:
        """Scenes that an image may show with their scores, likeliest first.

        Args:
            features: of the image, by the settings in `feature_settings`.
        """
        scores: dict[str, float] = {}
        for settings, found in features.items():
            if settings in self._groups and len(found):
                scores |= self._groups[settings].scores(found)
        return tuple(sorted(scores.items(), key=lambda each: -each[1]))


def _decoded(scene_map: SceneMap, rows: Int[np.ndarray, "n"]) -> UInt8[np.ndarray, "n D"]:
    """Descriptors of a map's points as the extractor gives them, but for the loss of compression."""
    codec = scene_map.codec
    codes = codec.decode(scene_map.descriptors[rows]) * np.float32(codec.step)
    whole = np.rint(codes @ codec.basis.T + codec.mean)
    return np.asarray(np.clip(whole, 0, 255), np.uint8)


def _votes(
    queries: Float32[np.ndarray, "k d"], scenes: Sequence[Float32[np.ndarray, "_ d"]]
) -> Float32[np.ndarray, "s"]:
    """How many queries have their nearest descriptor in each scene, clearly nearer than in the others."""
    starts = np.cumsum([0, *(len(rows) for rows in scenes[:-1])])
    rows = np.concatenate(scenes)
    squared = (rows**2).sum(axis=1) - 2.0 * (queries @ rows.T) + (queries**2).sum(axis=1)[:, None]
    nearest = np.minimum.reduceat(np.maximum(squared, 0.0), starts, axis=1)
    first, second = np.partition(nearest, 1, axis=1)[:, :2].T
    clear = first < _VOTE_RATIO**2 * second
    counts = np.bincount(nearest.argmin(axis=1)[clear], minlength=len(scenes))
    return counts.astype(np.float32)
