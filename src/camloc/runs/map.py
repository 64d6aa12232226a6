"""Build the maps of a run's scenes and calibrate them on held-out training frames, without torch."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from camloc.core.progress import ShareProgress
from camloc.core.sampling import even_items
from camloc.data.image_io import read_with_camera
from camloc.data.masks import read_mask_as_stored
from camloc.data.splits import HoldOut, hold_out
from camloc.data.types import Frame, Scene, oriented
from camloc.errors import DatasetError, ImageError
from camloc.geometry.camera import Camera
from camloc.inference.map_calibration import Fold, HeldOutFrame, calibrate
from camloc.mapping.build import BuildReport, MapSettings, assemble_map, match_frames
from camloc.mapping.features import Features, feature_extractor
from camloc.mapping.scene_map import SceneMap, save_maps
from camloc.runs.manifest import MANIFEST_FILE, DataSource, RunManifest, load_scenes

# A sixth of the frames is held out of each map that calibration needs, or about this many of a large scene.
_FOLDS = 6
_MOST_HELD_OUT = 200

# Maps are built, two at least, until this many frames were held out of one of them.
_CALIBRATION_FRAMES = 90

# Images that are mirrored.
_MIRRORED = 16

# A block of held-out frames is this part of the scene, within bounds: frames of one recording share the drift
# of its poses with those before and after them, and a query of another day does not.
_BLOCKS = 25
_LONGEST_BLOCK = 50


@dataclass(frozen=True, eq=False)
class MappedScene:
    """A map that was built.

    Attributes:
        scene_map: the map, calibrated.
        report: of the build.
        seconds: wall-clock time of building and calibrating.
    """

    scene_map: SceneMap
    report: BuildReport
    seconds: float


def build_maps(
    sources: tuple[DataSource, ...],
    folder: Path,
    settings: MapSettings,
    *,
    masks: Path | None = None,
    progress: ShareProgress | None = None,
) -> tuple[MappedScene, ...]:
    """Build and calibrate the map of each scene, and write them into a run folder.

    A folder without a run becomes one: its `run.json` records where the frames are.

    Raises:
        DatasetError: a scene has too few frames that can be used.
        CamlocError: the folder cannot be written.
    """
    scenes = load_scenes(sources)
    mapped = tuple(build_map(scene, settings, masks=masks, progress=progress) for scene in scenes)
    write_maps(sources, scenes, folder, mapped)
    return mapped


def write_maps(
    sources: tuple[DataSource, ...], scenes: Sequence[Scene], folder: Path, mapped: Sequence[MappedScene]
) -> None:
    """Write maps into a run folder, which becomes one if it is not.

    Raises:
        CamlocError: the folder cannot be written.
    """
    if not (folder / MANIFEST_FILE).exists():
        RunManifest("", {}, sources, tuple(scene.name for scene in scenes)).save(folder)
    save_maps(folder, tuple(each.scene_map for each in mapped))


def build_map(
    scene: Scene, settings: MapSettings, *, masks: Path | None = None, progress: ShareProgress | None = None
) -> MappedScene:
    """Build the map of a scene from its training frames, and calibrate it.

    Further maps, each of which knows nothing of some held-out frames, are triangulated from the matches of
    the other frames; their answers to the frames that they lack are the calibration. The map of all
    training frames takes it over. It has more points than the others, so that the thresholds are on the safe
    side.

    Raises:
        DatasetError: fewer than two frames can be used, or none of their keypoints can be triangulated.
    """
    started = time.perf_counter()

    def read_mask(frame: Frame) -> Bool[NDArray[np.bool_], "height width"] | None:
        return None if masks is None else read_mask_as_stored(masks, frame)

    held_out = _held_out(oriented(scene.train))
    matched = match_frames(
        scene.train,
        scene=scene.name,
        settings=settings,
        masks=None if masks is None else read_mask,
        kept_features={frame.name for frames in held_out for frame in frames},
        progress=progress,
    )
    whole, report = assemble_map(
        matched, scene=scene.name, unit=scene.unit, settings=settings, progress=progress
    )
    known = matched.features()
    folds = []
    for frames in held_out:
        with suppress(DatasetError):  # the other frames give no map
            smaller, _ = assemble_map(
                matched,
                scene=scene.name,
                unit=scene.unit,
                settings=settings,
                without={frame.name for frame in frames},
                progress=progress,
            )
            held = [
                HeldOutFrame(known[frame.name].features, known[frame.name].camera, frame.truth())
                for frame in frames
                if frame.name in known
            ]
            folds.append(Fold(smaller, held))
    calibration = calibrate(
        folds,
        _mirrored([frame for frames in held_out for frame in frames], whole),
        progress=None if progress is None else partial(progress, "calibration"),
    )
    return MappedScene(whole.with_calibration(calibration), report, time.perf_counter() - started)


def _mirrored(frames: Sequence[Frame], scene_map: SceneMap) -> list[tuple[Features, Camera]]:
    """The features of some mirrored images: the scene's own details in an arrangement that it does not have.

    A symmetric facade has many matches with its mirror image: no pose with as few is verified.
    """
    extractor = feature_extractor(scene_map.features)
    mirrored = []
    for frame in even_items(frames, _MIRRORED):
        with suppress(ImageError):  # it is counted where the map is built
            image, camera = read_with_camera(frame)
            if camera is not None:
                mirrored.append((extractor.extract(np.ascontiguousarray(np.asarray(image)[:, ::-1])), camera))
    return mirrored


def _held_out(frames: Sequence[Frame]) -> list[tuple[Frame, ...]]:
    """The frames that each of the maps for calibration lacks: blocks of neighbours, no frame twice."""
    count = len(frames)
    split = HoldOut(
        every=max(_FOLDS, count // _MOST_HELD_OUT), block=min(max(1, count // _BLOCKS), _LONGEST_BLOCK)
    )
    folds: list[tuple[Frame, ...]] = []
    while len(folds) < 2 or (len(folds) < split.every and sum(map(len, folds)) < _CALIBRATION_FRAMES):
        folds.append(hold_out(frames, split, fold=len(folds))[1])
    return [frames for frames in folds if frames]
