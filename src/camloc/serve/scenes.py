"""The scenes of a service: on disk, those in use in memory; votes find the one that an image shows.

A bundle is what `Localizer.load` loads: a run, or an exported file. A folder of bundles is looked through
again whenever its scenes are listed or an unknown one is asked for: a scene is added without a restart.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from camloc.data.geopose import Anchor, load_anchors
from camloc.errors import CamlocError, CheckpointError
from camloc.inference.localizer import Localizer
from camloc.inference.onnx.bundle import is_bundle
from camloc.mapping.features import FeatureSettings
from camloc.mapping.scene_map import MAPS_FOLDER, SceneMap, is_map, load_maps
from camloc.models.metadata import has_checkpoint

# Descriptors of each scene that vote, and keypoints of an image that are compared with them.
_VOTING_DESCRIPTORS = 400
_VOTING_KEYPOINTS = 500

# A keypoint votes if its nearest descriptor is nearer than this share of the distance to the nearest one of
# another scene.
_VOTE_RATIO = 0.9

# Scenes that are tried, those with the most votes first.
_TRIED = 3

_EXPORTED = ".onnx"


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A bundle in memory.

    Attributes:
        localizer: of its scenes.
        anchors: places on the earth, by the names of the scenes.
    """

    localizer: Localizer
    anchors: Mapping[str, Anchor]


class _Voters(NamedTuple):
    """Descriptors of one scene, in the space of the extractor."""

    scene: str
    features: FeatureSettings
    descriptors: Float32[np.ndarray, "v D"]


class SceneStore:
    """All scenes of a service; one for all threads."""

    def __init__(
        self, paths: Sequence[Path], *, most_loaded: int = 8, options: Mapping[str, Any] | None = None
    ) -> None:
        """Find the scenes.

        Args:
            paths: bundles, and folders of bundles.
            most_loaded: bundles that are kept in memory; the one that was not used for longest goes.
            options: of `Localizer.load`.

        Raises:
            CheckpointError: there is no bundle at a path.
        """
        self._paths = tuple(paths)
        self._most_loaded = most_loaded
        self._options = dict(options or {})
        self._lock = threading.RLock()
        self._bundle_of: dict[str, Path] = {}
        self._known: dict[Path, float] = {}
        self._loaded: OrderedDict[Path, LoadedBundle] = OrderedDict()
        self._loading: dict[Path, threading.Lock] = {}
        self._voters: dict[str, _Voters] = {}
        self.damaged: dict[str, str] = {}
        self.loads = 0
        for path in self._paths:
            if not path.exists():
                raise CheckpointError(f"{path} does not exist; name runs, exported files or folders of runs")
        self.refresh()
        if not self._bundle_of:
            reasons = "; ".join(self.damaged.values()) or "build one with `camloc map`"
            raise CheckpointError(f"there is no scene in {', '.join(map(str, self._paths))}: {reasons}")

    def refresh(self) -> tuple[str, ...]:
        """The names of all scenes, with those that were added to the folders since."""
        with self._lock:
            found = {path: _stamp(path) for root in self._paths for path in _bundles(root)}
            for path in self._known.keys() - found.keys():
                self._forget(path)
            for path, stamp in found.items():
                if self._known.get(path) != stamp:
                    self._forget(path)
                    self._register(path)
                    self._known[path] = stamp
            return tuple(self._bundle_of)

    def bundle(self, scene: str) -> LoadedBundle:
        """The bundle of a scene, loaded if it is not in memory.

        Raises:
            KeyError: there is no such scene.
            CamlocError: its files are damaged.
        """
        if scene not in self._bundle_of:
            self.refresh()
        with self._lock:
            path = self._bundle_of[scene]
            if path in self._loaded:
                self._loaded.move_to_end(path)
                return self._loaded[path]
            loading = self._loading.setdefault(path, threading.Lock())
        with loading:  # other scenes answer while this one is read
            with self._lock:
                if path in self._loaded:
                    return self._loaded[path]
            loaded = LoadedBundle(Localizer.load(path, **self._options), load_anchors(path))
            with self._lock:
                self.loads += 1
                self._loaded[path] = loaded
                while len(self._loaded) > self._most_loaded:
                    self._loaded.popitem(last=False)
            return loaded

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scenes that were found when the folders were last looked through."""
        with self._lock:
            return tuple(self._bundle_of)

    @property
    def loaded(self) -> int:
        """Bundles in memory."""
        return len(self._loaded)

    @property
    def is_one_bundle(self) -> bool:
        """Whether all scenes are of one bundle, which then finds the scene itself."""
        return len(set(self._bundle_of.values())) == 1

    def likely_scenes(self, features: "Mapping[FeatureSettings, Any]") -> tuple[str, ...]:
        """The scenes that an image may show, likeliest first.

        Args:
            features: of the image, by the settings in `feature_settings`.
        """
        with self._lock:
            voters = list(self._voters.values())
        scores: dict[str, float] = {}
        for settings, found in features.items():
            group = [each for each in voters if each.features == settings]
            if len(group) == 1:
                scores[group[0].scene] = 1.0
            elif group and len(found):
                scores |= dict(zip((each.scene for each in group), _votes(found, group), strict=True))
        order = sorted(scores, key=lambda scene: -scores[scene])
        return tuple(order[:_TRIED])

    def feature_settings(self) -> tuple[FeatureSettings, ...]:
        """The different features that the maps need."""
        with self._lock:
            return tuple(dict.fromkeys(each.features for each in self._voters.values()))

    def _register(self, path: Path) -> None:
        self.damaged.pop(str(path), None)
        try:
            maps = load_maps(path)
            scenes = tuple(maps) or Localizer.load(path, **self._options).scenes
        except CamlocError as problem:
            self.damaged[str(path)] = str(problem)
            return
        for scene in scenes:
            if scene in self._bundle_of:
                self.damaged[f"{path}:{scene}"] = (
                    f"{path} has a scene {scene} as {self._bundle_of[scene]} has; give it another name"
                )
                continue
            self._bundle_of[scene] = path
            if scene in maps:
                self._voters[scene] = _voters(maps[scene])

    def _forget(self, path: Path) -> None:
        for scene in [each for each, bundle in self._bundle_of.items() if bundle == path]:
            del self._bundle_of[scene]
            self._voters.pop(scene, None)
        self._loaded.pop(path, None)
        self._known.pop(path, None)


def _bundles(root: Path) -> list[Path]:
    if _is_bundle(root):
        return [root]
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if _is_bundle(path))


def _is_bundle(path: Path) -> bool:
    if path.is_file():
        return path.suffix == _EXPORTED
    folders = (path, path / "checkpoint")
    return is_bundle(path) or is_map(path / MAPS_FOLDER / "0") or any(map(has_checkpoint, folders))


def _stamp(path: Path) -> float:
    """When a bundle was changed last."""
    files = (
        [path] if path.is_file() else [path, *path.glob("map/*/map.json"), *path.glob("**/checkpoint.json")]
    )
    return max(each.stat().st_mtime for each in files)


def _voters(scene_map: SceneMap) -> _Voters:
    rows = np.linspace(0, len(scene_map) - 1, min(len(scene_map), _VOTING_DESCRIPTORS)).astype(np.int64)
    codec = scene_map.codec
    codes = codec.decode(scene_map.descriptors[rows]) * np.float32(codec.step)
    descriptors: Float32[np.ndarray, "v D"] = (codes @ codec.basis.T + codec.mean).astype(np.float32)
    return _Voters(scene_map.scene, scene_map.features, descriptors)


def _votes(features: Any, group: Sequence[_Voters]) -> Float32[np.ndarray, "s"]:
    """How many keypoints have their nearest descriptor in each scene, clearly nearer than in the others."""
    largest = np.argsort(-features.scales, kind="stable")[:_VOTING_KEYPOINTS]
    queries = features.descriptors[largest].astype(np.float32)
    nearest = np.stack([_nearest(queries, each.descriptors) for each in group], axis=1)
    scene: Int64[np.ndarray, k] = nearest.argmin(axis=1)
    first, second = np.partition(nearest, 1, axis=1)[:, :2].T
    clear = first < _VOTE_RATIO**2 * second
    counts = np.bincount(scene[clear], minlength=len(group)).astype(np.float32)
    # A scene without a clear vote is ordered by how near its descriptors are on average.
    return np.asarray(counts + 1.0 / (1.0 + nearest.mean(axis=0)), np.float32)


def _nearest(
    queries: Float32[np.ndarray, "k D"], descriptors: Float32[np.ndarray, "v D"]
) -> Float32[np.ndarray, "k"]:
    """The squared distance of each query to the nearest descriptor."""
    products = queries @ descriptors.T
    squared = (queries**2).sum(axis=1)[:, None] + (descriptors**2).sum(axis=1)[None] - 2.0 * products
    return np.asarray(np.maximum(squared.min(axis=1), 0.0), np.float32)
