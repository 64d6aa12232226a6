"""The scenes of a service: on disk, those in use in memory; an index finds the one that an image shows.

A bundle is a path that `Localizer.load` loads: a run or an export. A folder of bundles is read
again now and then, and when a request names an unknown scene: a scene is added without a restart.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camloc.data.geopose import Anchor, load_anchors
from camloc.errors import CamlocError, CheckpointError
from camloc.inference.localizer import Localizer
from camloc.inference.onnx.bundle import ENDING, MANIFEST, NETWORK, is_bundle, unpacked
from camloc.mapping.features import Features, FeatureSettings
from camloc.mapping.scene_map import MAPS_FOLDER, is_map, load_maps
from camloc.models.metadata import has_checkpoint
from camloc.serve.scene_index import SceneIndex

# Least seconds between two searches of the folders for an unknown name: names come from requests.
_LEAST_SECONDS = 2.0

_EXPORTED = (".onnx", ENDING)


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A bundle in memory, and the bytes that it takes."""

    localizer: Localizer
    nbytes: int


class SceneStore:
    """All scenes of a service; threads share it."""

    def __init__(
        self, paths: Sequence[Path], *, most_bytes: int = 1 << 30, options: Mapping[str, Any] | None = None
    ) -> None:
        """Find the scenes.

        Args:
            paths: bundles, and folders of bundles.
            most_bytes: of all bundles in memory; the least recently used are dropped.
                One bundle stays whatever its size, and one that answers a request stays until it has.
            options: of `Localizer.load`.

        Raises:
            CheckpointError: there is no bundle at a path.
        """
        self._paths = tuple(paths)
        self._most_bytes = most_bytes
        self._options = dict(options or {})
        self._lock = threading.RLock()
        self._bundle_of: dict[str, Path] = {}
        self._anchors: dict[str, Anchor] = {}
        self._known: dict[Path, float] = {}
        self._loaded: OrderedDict[Path, _Loaded] = OrderedDict()
        self._loading: dict[Path, threading.Lock] = {}
        self._index = SceneIndex()
        self._looked = -_LEAST_SECONDS
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
        """The names of all scenes, including scenes that were added to the folders since."""
        found: dict[Path, float] = {}
        for path in (each for root in self._paths for each in _bundles(root)):
            with suppress(OSError):  # it is removed meanwhile
                found[path] = _stamp(path)
        with self._lock:
            for path in self._known.keys() - found.keys():
                self._forget(path)
            changed = [path for path, stamp in found.items() if self._known.get(path) != stamp]
        for path in changed:  # reading takes time: requests go on meanwhile
            maps, anchors, problem = self._read(path)
            with self._lock:
                self._forget(path)
                self._register(path, maps, anchors, problem)
                self._known[path] = found[path]
        with self._lock:
            self._index.settle()
            self._looked = time.monotonic()
            return tuple(self._bundle_of)

    def has(self, scene: str) -> bool:
        """Whether there is such a scene; for an unknown one the folders are searched again."""
        if scene not in self._bundle_of and time.monotonic() - self._looked > _LEAST_SECONDS:
            self.refresh()
        return scene in self._bundle_of

    def localizer(self, scene: str) -> Localizer:
        """The localizer of a scene's bundle, loaded if it is not in memory.

        Raises:
            KeyError: there is no such scene.
            CamlocError: its files are damaged.
        """
        with self._lock:
            path = self._bundle_of[scene]
            if path in self._loaded:
                self._loaded.move_to_end(path)
                return self._loaded[path].localizer
            loading = self._loading.setdefault(path, threading.Lock())
        with loading:  # other scenes answer while this one is read
            with self._lock:
                if path in self._loaded:
                    return self._loaded[path].localizer
            loaded = Localizer.load(path, **self._options)
            size = _array_bytes(list(loaded.maps.values())) + sum(
                each.stat().st_size for each in _networks(path)
            )
            with self._lock:
                self.loads += 1
                self._loaded[path] = _Loaded(loaded, size)
                while len(self._loaded) > 1 and self.loaded_bytes > self._most_bytes:
                    self._loaded.popitem(last=False)
            return loaded

    def anchor(self, scene: str) -> Anchor | None:
        """The place of a scene on the earth, or None."""
        return self._anchors.get(scene)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scenes that the last search of the folders found."""
        with self._lock:
            return tuple(self._bundle_of)

    @property
    def loaded(self) -> int:
        """Bundles in memory."""
        return len(self._loaded)

    @property
    def loaded_bytes(self) -> int:
        """Memory of the loaded bundles: the arrays of their maps, and the files of their networks."""
        with self._lock:
            return sum(each.nbytes for each in self._loaded.values())

    @property
    def index_bytes(self) -> int:
        """Memory of the index of all scenes."""
        return self._index.nbytes

    @property
    def is_one_bundle(self) -> bool:
        """Whether all scenes are of one bundle."""
        with self._lock:
            return len(set(self._bundle_of.values())) == 1

    def feature_settings(self) -> tuple[FeatureSettings, ...]:
        """The different features that the maps need."""
        with self._lock:
            return self._index.feature_settings()

    def ranked(self, features: Mapping[FeatureSettings, Features]) -> tuple[tuple[str, float], ...]:
        """The scenes that an image may show, with votes, likeliest first; see `SceneIndex`."""
        with self._lock:
            self._index.settle()
            scenes = self._index.snapshot()
        return scenes.ranked(features)

    def _read(self, path: Path) -> "tuple[dict[str, Any], Mapping[str, Anchor], str]":
        try:
            with unpacked(path) as folder:
                maps: dict[str, Any] = dict(load_maps(folder))
                anchors = load_anchors(folder)
            return maps or dict.fromkeys(Localizer.load(path, **self._options).scenes), anchors, ""
        except (CamlocError, OSError) as problem:
            return {}, {}, str(problem)

    def _register(
        self, path: Path, maps: Mapping[str, Any], anchors: Mapping[str, Anchor], problem: str
    ) -> None:
        if problem:
            self.damaged[str(path)] = problem
        for scene, scene_map in maps.items():
            if scene in self._bundle_of:
                self.damaged[f"{path}:{scene}"] = (
                    f"{path} has a scene {scene} as {self._bundle_of[scene]} has; give it another name"
                )
                continue
            self._bundle_of[scene] = path
            if scene in anchors:
                self._anchors[scene] = anchors[scene]
            if scene_map is not None:
                self._index.add(scene, scene_map)

    def _forget(self, path: Path) -> None:
        for scene in [each for each, bundle in self._bundle_of.items() if bundle == path]:
            del self._bundle_of[scene]
            self._anchors.pop(scene, None)
            self._index.remove(scene)
        for key in [each for each in self.damaged if each == str(path) or each.startswith(f"{path}:")]:
            del self.damaged[key]
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
        return path.suffix in _EXPORTED
    folders = (path, path / "checkpoint")
    return is_bundle(path) or is_map(path / MAPS_FOLDER / "0") or any(map(has_checkpoint, folders))


def _stamp(path: Path) -> float:
    """When a bundle was changed last."""
    return max(
        each.stat().st_mtime for each in (path, *_networks(path), *path.glob(f"{MAPS_FOLDER}/*/map.json"))
    )


def _networks(path: Path) -> tuple[Path, ...]:
    """The files of a bundle's network."""
    if path.is_file():
        return (path,)
    folders = (path, path / "checkpoint")
    files: Iterable[Path] = (
        *(path / name for name in (NETWORK, MANIFEST)),
        *(f for folder in folders for f in folder.glob("*.safetensors")),
    )
    return tuple(each for each in files if each.is_file())


def _array_bytes(value: Any) -> int:
    """Bytes of the arrays that a value holds, at any depth, each counted once."""
    found: dict[int, int] = {}
    pending, known = [value], set[int]()
    while pending:
        each = pending.pop()
        if isinstance(each, np.ndarray):
            found[id(each)] = each.nbytes
        elif id(each) not in known:
            known.add(id(each))
            if isinstance(each, Mapping):
                pending += each.values()
            elif isinstance(each, list | tuple):
                pending += each
            else:
                pending += getattr(each, "__dict__", {}).values()
    return sum(found.values())
