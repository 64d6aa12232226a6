"""Poses of photographs and of a video, hidden and computed again: `docs/results/structure_from_motion.md`.

    uv run python -m benchmarks.structure_from_motion DATA [--only fox]

DATA holds the folders `fox`, `hololens` and `redkitchen`. Videos are made of the frames of a recording.
"""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from PIL import Image

from benchmarks.page import filled, known, result_page, write
from camloc.data.formats import load
from camloc.data.types import Frame, Scene, oriented
from camloc.geometry.alignment import umeyama
from camloc.mapping.build import MapSettings
from camloc.mapping.check.check import check_scene
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import DataSource
from camloc.runs.map import build_maps
from camloc.runs.poses import PosesReport, compute_poses

NAME = "structure_from_motion"

# Rows of the page; frames a second of videos; every how many frames of the recording a video has.
_SCENES = ("fox", "hololens", "redkitchen")
_RATES = {"hololens": 10, "redkitchen": 15}
_OPTIONS = {"hololens": {"rotation": "world_from_cam"}}
_STEPS = {"hololens": 1, "redkitchen": 2}


@dataclass(frozen=True)
class Row:
    """One source: what was placed, how far from the true poses, and what it cost.

    `median_share` and `largest_share` are position differences after similarity alignment, divided by the
    diagonal of the path's extent; `degrees` is the median orientation difference. `test` images of a block of
    their own were located in a map of the others, `verified` of them verified. `true_pixels` and
    `computed_pixels` are the median distances of the same matches between images from the epipolar lines of
    the true poses and of the computed ones, which show whose error a difference is.
    """

    scene: str
    kind: str
    images: int
    placed: int
    pixels: float
    median_share: float
    largest_share: float
    degrees: float
    processor_seconds: float
    seconds: float
    cores: int
    test: int
    verified: int
    verified_median_share: float
    true_pixels: float | None = None
    computed_pixels: float | None = None


@dataclass(frozen=True)
class Measured:
    """The rows of the page."""

    rows: tuple[Row, ...]


def measure(data: Path, scene: str) -> Row:
    """Hide the poses of a scene, compute them, and compare."""
    given = load(data / scene, **_OPTIONS.get(scene, {}))
    truth = sorted(oriented((*given.train, *given.test)), key=lambda frame: frame.name)
    truth = truth[:: _STEPS.get(scene, 1)]
    with TemporaryDirectory() as folder:
        work = Path(folder)
        source: Path = work / "photos"
        if scene in _RATES:
            source = work / "walk.mp4"
            make_video(source, [frame.image for frame in truth], _RATES[scene])
        else:
            source.mkdir()
            for frame in truth:
                shutil.copy(frame.image, source / frame.image.name)
        wall, processor = time.perf_counter(), time.process_time()
        report = compute_poses(source, work / "scene")
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        return _compared(scene, report, work, truth, processor, wall)


def _compared(
    scene: str, report: PosesReport, work: Path, truth: Sequence[Frame], processor: float, wall: float
) -> Row:
    found = load(work / "scene")
    frames = (*found.train, *found.test)
    shown = [_true_frame(frame, truth, is_video=scene in _RATES) for frame in frames]
    true = [frame.truth() for frame in shown]
    centers = np.array([frame.truth().translation for frame in frames])
    targets = np.array([pose.translation for pose in true])
    aligned = umeyama(centers, targets)
    extent = float(np.linalg.norm(np.ptp(targets, axis=0)))
    share = np.linalg.norm(aligned.apply(centers) - targets, axis=1) / extent
    turned = [aligned.motion.rotation @ frame.truth().rotation for frame in frames]
    cosines = [(np.trace(one.T @ pose.rotation) - 1.0) / 2.0 for one, pose in zip(turned, true, strict=True)]
    source = DataSource(os.path.realpath(work / "scene"), scene=scene)
    build_maps((source,), work / "run", MapSettings())
    results = evaluate_run(work / "run", out=work / "run").results.sets[0]
    counts = results.verification
    assert counts is not None
    median = results.estimates.meters.median
    return Row(
        scene,
        "video" if scene in _RATES else "photographs",
        report.images,
        len(report.placed),
        report.pixels,
        float(np.median(share)),
        float(share.max()),
        float(np.degrees(np.median(np.arccos(np.clip(cosines, -1.0, 1.0))))),
        processor,
        wall,
        int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        len(found.test),
        counts.verified,
        float("nan") if median is None else median * float(aligned.scale) / extent,
        _epipolar_pixels(
            [
                replace(a, camera=b.camera, world_from_cam=b.truth())
                for a, b in zip(frames, shown, strict=True)
            ]
        ),
        _epipolar_pixels(frames),
    )


def _epipolar_pixels(frames: Sequence[Frame]) -> float | None:
    """The median distance of matches from epipolar lines, in pixels of 640 x 480, by `camloc check`."""
    agreement = check_scene(Scene("frames", tuple(frames), unit="units")).agreement
    return agreement.readings[0].pixels if agreement and agreement.readings else None


def _true_frame(frame: Frame, truth: Sequence[Frame], *, is_video: bool) -> Frame:
    """The frame of the data set that an image is: by its number in the video, or by its name."""
    if is_video:
        return truth[int(frame.image.stem.rpartition("_")[2])]
    return next(each for each in truth if each.image.name == frame.image.name)


def make_video(path: Path, images: Sequence[Path], rate: int) -> None:
    """Write images as an H.264 video."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for image in images:
            with Image.open(image) as opened:
                pixels = np.asarray(opened.convert("RGB"))
            height, width = (side // 2 * 2 for side in pixels.shape[:2])
            if not stream.codec_context.is_open:
                stream.height, stream.width = height, width
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def page(measured: Measured) -> str:
    """The page."""
    return result_page(
        "Poses of photographs and videos",
        NAME,
        "`camloc poses` on images whose poses are known and were hidden. Differences of positions to the "
        "true poses after similarity alignment, in percent of the diagonal of the path's extent; the true "
        "poses are those of the data sets: by COLMAP (fox), HoloLens tracking (hololens), depth SLAM "
        "(redkitchen). A video is made of the frames of a recording, and `camloc poses` chooses some of "
        "them. The processor's time is of all cores together.",
        filled(
            [
                ("scene", "{scene}, {kind}"),
                ("images", "{images}"),
                ("placed", "{placed}"),
                ("residual", "{pixels:.2f} px"),
                ("median", "{median_share:.2%}"),
                ("largest", "{largest_share:.2%}"),
                ("orientation", "{degrees:.2f}°"),
                ("processor", "{processor_seconds:.0f} s"),
            ],
            [vars(row) for row in measured.rows],
        ),
        *_whose_error(measured),
        "Then a map of the training images located the test images, which lie in blocks of their own. "
        "Differences are to the poses that were computed.",
        filled(
            [
                ("scene", "{scene}, {kind}"),
                ("test images", "{test}"),
                ("verified", "{verified}"),
                ("median", "{verified_median_share:.2%}"),
            ],
            [vars(row) for row in measured.rows],
        ),
        command="DATA",
    )


def _whose_error(measured: Measured) -> tuple[str, ...]:
    """What the images say of both poses, for the scenes of which that was measured."""
    rows = [vars(row) for row in measured.rows if row.true_pixels is not None]
    if not rows:
        return ()
    return (
        "The images show whose error a difference is: the median distance of matches between two images "
        "from their epipolar lines, by the true poses and intrinsics of the data set and by the computed "
        "ones, in pixels of 640 x 480.",
        filled(
            [
                ("scene", "{scene}, {kind}"),
                ("by the true poses", "{true_pixels:.2f} px"),
                ("by the computed poses", "{computed_pixels:.2f} px"),
            ],
            rows,
        ),
    )


def main(data: tyro.conf.Positional[Path], *, only: tuple[str, ...] = ()) -> None:
    """Measure, and write the page.

    Args:
        data: Folder with the folders fox, hololens and redkitchen.
        only: Scenes to measure; the others keep their numbers.
    """
    new = [measure(data, scene) for scene in only or _SCENES]
    rows = {row.scene: row for row in (*known(NAME, Measured(())).rows, *new)}
    measured = Measured(tuple(rows[scene] for scene in _SCENES if scene in rows))
    write(NAME, measured, page(measured))


if __name__ == "__main__":
    tyro.cli(main)
