"""`camloc locate`: the camera poses of images."""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from camloc.cli.options import Device, Filter, OptionalFolder, Prior, Refine, Run, Verify
from camloc.errors import DatasetError, ImageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from camloc.data.geopose import Anchor
    from camloc.data.query import NamedQuery, Query
    from camloc.data.types import Estimate, Frame
    from camloc.geometry.camera import Camera

Format = Literal["text", "json", "jsonl", "csv", "tum", "colmap", "nerfstudio", "geopose"]

# Formats with a line an image, which is printed as soon as the image is located.
_LINES = ("text", "jsonl", "csv", "geopose")

# Exit status of --fail-on-lost if an image is lost.
_LOST = 3


def locate(
    run: tyro.conf.Positional[Run],
    images: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="")]
    ],
    *,
    format: Format = "text",
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")] = None,
    every: Annotated[float, tyro.conf.arg(metavar="SECONDS", help_behavior_hint="")] = 0.0,
    camera: Annotated[str, tyro.conf.arg(metavar="FILE|MODEL,W,H,...", help_behavior_hint="")] = "",
    focal: Annotated[float | None, tyro.conf.arg(metavar="PIXELS", help_behavior_hint="")] = None,
    verify: Verify = "auto",
    prior: Prior = "network",
    filter: Filter = "auto",
    masks: OptionalFolder = None,
    refine: Refine = "none",
    device: Device = "cpu",
    fail_on_lost: bool = False,
    cluster: Annotated[int, tyro.conf.arg(metavar="WORKERS", help_behavior_hint="")] = 0,
    quiet: bool = False,
    profile: bool = False,
) -> None:
    """Print the camera poses of images.

    An image is a file; a folder stands for all images below it, a pattern such as 'walk/*.jpg' for the files
    that it matches, a list of images with times (CSV with the columns time and image, or TUM's rgb.txt) for
    these, a video for its frames, and - for the bytes of an image on standard input.

    An image without an acceptable pose is lost, and the reason is printed. An image that cannot be read is
    reported on standard error; the other images are still located, and the exit status is 1.

    Poses are world_from_cam and quaternions have w first, with three exceptions: tum has lines "time x y z
    qx qy qz qw", where images without times are numbered from 0; colmap is a model of cam_from_world; and
    nerfstudio's axes are those of OpenGL.

    Args:
        run: Folder of a run, or an exported folder or .onnx file.
        images: Images of any size, folders, patterns, lists, videos, or - for standard input.
        format: Output format: text, a JSON list, JSON lines, a CSV table, a TUM trajectory, a COLMAP model
            (a folder, --out), nerfstudio's transforms.json (--out), or a GeoPose (OGC basic quaternion) a
            line for scenes with a place on the earth.
        out: File, or for colmap folder, to write instead of standard output.
        every: Least time between the frames of a video that are located; all by default.
        camera: Intrinsics of the images: a camera.json, or a COLMAP model with size and parameters, such as
            SIMPLE_RADIAL,640,480,525,320,240,-0.1. By default an image is assigned to the training camera
            whose images have its size; if there is none, a map finds the focal length.
        focal: Focal length of the images in pixels, if nothing else of the camera is known.
        verify: Use of the run's map: auto verifies poses and returns the others as unverified; always loses
            images that the map does not confirm; never leaves the map out.
        prior: Where the map looks first: near the network's pose, at the training images most like the image,
            or everywhere.
        filter: For models that align points, how wrong points are left out; auto is the filter that was best
            on held-out frames.
        masks: For models that align points, folder with masks named IMAGE.png, black for ignored pixels.
        refine: Refine positions by the training poses near the prediction: neighbours by their mean; affine
            (the paper's, exact), adamw (the paper's three steps) or anchored by the run's pose auto-encoder;
            virtual by its relative pose regressor; auto by the method that was best on held-out frames.
        device: Where the network runs.
        fail_on_lost: End with exit status 3 if an image is lost, to tell it apart from other failures.
        cluster: Number of processes that locate image files in a Ray cluster: the one that RAY_ADDRESS names,
            or one that is started here.
        quiet: Print nothing on standard error but the error that ends the command.
        profile: Print on standard error the time of each stage: reading the file, resizing, network, ...
    """
    from camloc.cli.options import given_camera
    from camloc.data.query import named_queries
    from camloc.data.types import Lost

    _check_usage(images, format=format, out=out, every=every, camera=camera, focal=focal)
    if cluster < 0:
        raise UsageError("--cluster is a number of processes; give 1 or more")
    given = given_camera(camera) if camera else None
    options = {
        "device": device,
        "verify": verify,
        "prior": prior,
        "outlier_filter": None if filter == "auto" else filter,
        "masks": masks,
        "refine": refine,
    }
    items = named_queries(images, every=every)
    prepared = partial(_with_camera, given=given, focal=focal)
    writer = _Writer(format, out, run)
    stages = _Stages()
    unreadable = lost = 0
    for item, estimate in (
        _in_cluster(run, items, prepared, options, cluster)
        if cluster
        else _here(run, items, prepared, options, stages)
    ):
        if isinstance(estimate, ImageError):
            unreadable += 1
            if not quiet:
                print(f"camloc: {estimate}", file=sys.stderr)
            if item is not None:
                writer.add(item, Lost(str(estimate)), is_readable=False)
            continue
        assert item is not None
        lost += isinstance(estimate, Lost)
        writer.add(item, estimate)
    writer.finish(quiet=quiet)
    if profile:
        stages.show()
    if unreadable:
        sys.exit(1)
    if fail_on_lost and lost:
        sys.exit(_LOST)


def _here(
    run: Path,
    items: "Iterator[NamedQuery | ImageError]",
    prepared: "Callable[[NamedQuery], Query]",
    options: "dict[str, Any]",
    stages: "_Stages",
) -> "Iterator[tuple[NamedQuery | None, Estimate | ImageError]]":
    """Images with their estimates, or the reason why one cannot be read, each as soon as it is located."""
    from camloc.core.stages import measured
    from camloc.inference.localizer import Localizer

    localizer = Localizer.load(run, **options)
    for item in items:
        if isinstance(item, ImageError):
            yield None, item
            continue
        try:
            started = time.perf_counter()
            with measured() as seconds:
                estimate = localizer.locate(prepared(item))
            stages.add(seconds, time.perf_counter() - started)
            yield item, estimate
        except ImageError as problem:
            yield item, problem


def _in_cluster(
    run: Path,
    items: "Iterator[NamedQuery | ImageError]",
    prepared: "Callable[[NamedQuery], Query]",
    options: "dict[str, Any]",
    workers: int,
) -> "Iterator[tuple[NamedQuery | None, Estimate | ImageError]]":
    """The same by the processes of a cluster."""
    from camloc.serve.cluster import located_in_cluster

    queries = []
    for item in items:
        if isinstance(item, ImageError):
            yield None, item
            continue
        try:
            queries.append(item._replace(query=prepared(item)))
        except ImageError as problem:
            yield item, problem
    yield from located_in_cluster(run, queries, options=options, workers=workers)


def _check_usage(
    images: tuple[str, ...],
    *,
    format: Format,
    out: Path | None,
    every: float,
    camera: str,
    focal: float | None,
) -> None:
    if not images:
        raise UsageError("name at least one image to locate")
    if focal is not None and not (math.isfinite(focal) and focal > 0):
        raise UsageError(f"the focal length {focal} is not a positive number of pixels; correct --focal")
    if camera and focal is not None:
        raise UsageError("give --camera or --focal, not both")
    if format == "colmap" and out is None:
        raise UsageError("a COLMAP model is a folder; name it with --out FOLDER")
    if format == "nerfstudio" and out is None:
        raise UsageError("name the file to write with --out transforms.json")
    if not (math.isfinite(every) and every >= 0):
        raise UsageError(f"{every} is not a number of seconds; correct --every")


def _with_camera(item: "NamedQuery", *, given: "Camera | None", focal: float | None) -> "Query":
    from camloc.data.checks import check_camera
    from camloc.data.image_io import centered_camera

    if focal is None:
        return replace(item.query, camera=given)
    own = centered_camera(item.query.frame().source, focal)
    try:
        check_camera(own, "--focal")
    except DatasetError as problem:
        raise UsageError(str(problem)) from None
    return replace(item.query, camera=own)


class _Writer:
    """Writes estimates as they come, or all of them in the end."""

    def __init__(self, format: Format, out: Path | None, run: Path) -> None:
        from camloc.data.geopose import load_anchors
        from camloc.inference.onnx.bundle import unpacked

        self._format, self._out = format, out
        self._frames: list[Frame] = []
        self._estimates: list[Estimate] = []
        self._lines: list[str] = []
        self._assumed = 0
        self._anchors: Mapping[str, Anchor] = {}
        if format == "geopose":
            with unpacked(run) as folder:
                self._anchors = load_anchors(folder)
        if format == "csv":
            from camloc.data.estimate_files import csv_header

            self._put(csv_header())

    def add(self, item: "NamedQuery", estimate: "Estimate", *, is_readable: bool = True) -> None:
        """Write an estimate, or keep it for the end."""
        if self._format not in _LINES:
            self._keep(item, estimate)
        elif is_readable or self._format != "text":
            self._put(self._line(item.label, estimate))

    def _keep(self, item: "NamedQuery", estimate: "Estimate") -> None:
        from camloc.data.image_io import centered_camera
        from camloc.data.types import Frame, Located

        needs_camera = self._format in ("colmap", "nerfstudio")
        if needs_camera and isinstance(estimate, Located) and estimate.camera is None:
            estimate = replace(estimate, camera=centered_camera(item.query.frame().source))
            self._assumed += 1
        self._frames.append(Frame(item.label, Path(item.label), time=item.query.time))
        self._estimates.append(estimate)

    def finish(self, *, quiet: bool) -> None:
        """Write the outputs that need all answers."""
        from camloc.core.files import write_atomically
        from camloc.data import estimate_files

        match self._format:
            case "json":
                self._put(estimate_files.estimates_json(self._frames, self._estimates))
            case "tum":
                self._put(estimate_files.estimates_tum(self._frames, self._estimates))
            case "colmap":
                assert self._out is not None
                estimate_files.write_colmap(self._frames, self._estimates, self._out)
            case "nerfstudio":
                assert self._out is not None
                estimate_files.write_nerfstudio(self._frames, self._estimates, self._out)
        if self._assumed and not quiet:
            print(
                f"camloc: the intrinsics of {self._assumed} images are unknown; a focal length of 1.2 times "
                f"the longer side is written",
                file=sys.stderr,
            )
        if self._out is not None and self._format not in ("colmap", "nerfstudio"):
            write_atomically(self._out, "".join(self._lines))

    def _line(self, name: str, estimate: "Estimate") -> str:
        from camloc.data import estimate_files

        match self._format:
            case "jsonl":
                return estimate_files.json_line(name, estimate)
            case "csv":
                return estimate_files.csv_row(name, estimate)
            case "text":
                return estimate_files.estimate_text(name, estimate) + "\n"
            case _:
                return estimate_files.geopose_line(estimate, self._anchors)

    def _put(self, text: str) -> None:
        if self._out is None:
            print(text, end="", flush=True)
        else:
            self._lines.append(text)


class _Stages:
    """The time of each stage, over all images."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()
        self._total, self._images = 0.0, 0

    def add(self, seconds: "Mapping[str, float]", total: float) -> None:
        """Add the stages of an image, and the time that they and the steps between them took."""
        self._seconds.update(seconds)
        self._total += total
        self._images += 1

    def show(self) -> None:
        """Print the mean of each stage on standard error."""
        if not self._images:
            return
        rest = self._total - sum(self._seconds.values())
        for name, seconds in (*self._seconds.items(), ("the rest", rest), ("all", self._total)):
            shown = _STAGES.get(name, name)
            print(f"{shown:<28}{1e3 * seconds / self._images:9.1f} ms an image", file=sys.stderr)


# Names of the stages of the map's verification, as they are shown.
_STAGES = {
    "candidates": "retrieval",
    "estimation": "pose: estimation",
    "refinement": "pose: refinement",
    "guided pass": "pose: guided matching",
    "focal length": "pose: focal length",
}
