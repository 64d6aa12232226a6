"""Build the maps of a run's scenes and calibrate them on held-out training frames, without torch."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from camloc.data.masks import read_mask_as_stored
from camloc.data.splits import HoldOut, hold_out
from camloc.data.types import Frame, Scene, oriented
from camloc.errors import DatasetError
from camloc.inference.map_calibration import HeldOutFrame, calibrate
from camloc.mapping.build import BuildReport, ExtractedFrame, MapSettings, build_scene_map
from camloc.mapping.scene_map import Calibration, SceneMap, save_maps
from camloc.runs.manifest import MANIFEST_FILE, DataSource, RunManifest, load_scenes

Progress = Callable[[str, float], None]
"""Called with the name of the step and the share of it that is done."""

# One block of every six is held out; of a small scene one of every four: calibration needs eight frames.
CALIBRATION_SPLIT, SMALL_SPLIT = HoldOut(every=6, block=10), HoldOut(every=4, block=5)
SMALL_SCENE = 100

# Features of larger scenes are extracted again for the final map, since keeping them takes 200 kB a frame.
MOST_FRAMES_IN_MEMORY = 3000


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
    progress: Progress | None = None,
) -> tuple[MappedScene, ...]:
    """Build and calibrate the map of each scene, and write them into a run folder.

    A folder without a run becomes one: its `run.json` records where the frames are.

    Raises:
        DatasetError: a scene has too few frames that can be used.
        CamlocError: the folder cannot be written.
    """
    scenes = load_scenes(sources)
    mapped = tuple(build_map(scene, settings, masks=masks, progress=progress) for scene in scenes)
    if not (folder / MANIFEST_FILE).exists():
        RunManifest("", {}, sources, tuple(scene.name for scene in scenes)).save(folder)
    save_maps(folder, tuple(each.scene_map for each in mapped))
    return mapped


def build_map(
    scene: Scene, settings: MapSettings, *, masks: Path | None = None, progress: Progress | None = None
) -> MappedScene:
    """Build the map of a scene from its training frames, and calibrate it.

    A first map, built without the held-out frames, is calibrated on them. The final map is built from all
    training frames and takes the calibration over. It has more points than the first one, so that the
    thresholds are on the safe side.

    Raises:
        DatasetError: fewer than two frames can be used, or none of their keypoints can be triangulated.
    """
    started = time.perf_counter()

    def read_mask(frame: Frame) -> Bool[NDArray[np.bool_], "height width"] | None:
        return None if masks is None else read_mask_as_stored(masks, frame)

    def build(frames: tuple[Frame, ...]) -> tuple[SceneMap, BuildReport]:
        return build_scene_map(
            frames,
            scene=scene.name,
            unit=scene.unit,
            settings=settings,
            masks=None if masks is None else read_mask,
            known=known,
            progress=progress,
        )

    known: dict[str, ExtractedFrame] | None = {} if len(scene.train) <= MOST_FRAMES_IN_MEMORY else None
    whole, report = build(scene.train)
    calibration = Calibration()
    split = SMALL_SPLIT if len(scene.train) < SMALL_SCENE else CALIBRATION_SPLIT
    kept, held_out = hold_out(oriented(scene.train), split)
    if known is not None and held_out:
        with suppress(DatasetError):  # the other frames give no map: the thresholds stay the cautious ones
            calibration = calibrate(build(kept)[0], _held_out(held_out, known))
    return MappedScene(whole.with_calibration(calibration), report, time.perf_counter() - started)


def _held_out(frames: tuple[Frame, ...], known: dict[str, ExtractedFrame]) -> list[HeldOutFrame]:
    return [
        HeldOutFrame(known[frame.name].features, known[frame.name].camera, frame.truth())
        for frame in frames
        if frame.name in known
    ]
