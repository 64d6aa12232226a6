"""`camloc track`: the path of a camera through a sequence of images."""

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import Device, OptionalFile, OptionalFolder, Run
from camloc.errors import ImageError, UsageError

if TYPE_CHECKING:
    from camloc.inference.tracking import TrackedImage


def track(
    run: tyro.conf.Positional[Run],
    source: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="VIDEO|FOLDER|TIMES.csv", help_behavior_hint="")]
    ],
    *,
    format: Literal["text", "jsonl", "csv", "tum"] = "text",
    out: OptionalFile = None,
    odometry: OptionalFile = None,
    rate: Annotated[float, tyro.conf.arg(metavar="NUMBER")] = 30.0,
    every: Annotated[float, tyro.conf.arg(metavar="SECONDS", help_behavior_hint="")] = 0.0,
    camera: Annotated[str, tyro.conf.arg(metavar="FILE|MODEL,W,H,...", help_behavior_hint="")] = "",
    masks: OptionalFolder = None,
    live: bool = False,
    device: Device = "cpu",
) -> None:
    """Locate a sequence of images, smooth the path, and bridge images that are lost.

    Each image is first looked for near the pose that the motion predicts. A pose that the
    motion contradicts is left out. The path is smoothed when the last image has been read, and how fast the
    camera accelerates is estimated from the sequence itself. Every pose has a covariance; an image that the
    motion bridges says so. At the end a line on standard error counts them.

    Args:
        run: Folder of a run with a map.
        source: A video, a folder of images, or a list of images with times: CSV with the columns time and
            image, or TUM's rgb.txt.
        format: Output format: text, JSON lines, a CSV table, or a TUM trajectory (time x y z qx qy qz qw).
        out: File to write instead of standard output.
        odometry: TUM file with the path of the same camera in any world, to predict the motion with.
        rate: Images in a second, for a folder of images.
        every: Least time between the frames of a video that are located; all by default.
        camera: Intrinsics of the images; see camloc locate.
        masks: Folder with masks named IMAGE.png, black for ignored pixels.
        live: Print each pose as soon as its image is located, without smoothing.
        device: Where the network runs.
    """
    from camloc.cli.options import given_camera
    from camloc.cli.progress import counted
    from camloc.core.files import write_atomically
    from camloc.data.formats.tum import read_trajectory
    from camloc.data.query import NamedQuery, named_queries
    from camloc.inference.localizer import Localizer
    from camloc.inference.tracking import Track, checked_odometry

    if not source:
        raise UsageError("name a video, a folder of images or a list of images with times")
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"{rate} is not a number of images in a second; correct --rate")
    if not (math.isfinite(every) and every >= 0):
        raise UsageError(f"{every} is not a number of seconds; correct --every")
    if live and (format == "tum" or out is not None):
        raise UsageError("--live prints lines of text, JSON or CSV; leave out --out and --format tum")
    given = given_camera(camera) if camera else None
    path = None if odometry is None else checked_odometry(read_trajectory(odometry), str(odometry))
    tracker = Track(
        Localizer.load(run, device=device, masks=masks), odometry=path, rate=rate, together=not live
    )
    header = _header(format)
    if live:
        print(header, end="", flush=True)
    broken = ""
    items = list(source)
    with counted("images") as progress:
        queries = named_queries(items, every=every)
        count = 0
        for item in queries:
            if isinstance(item, ImageError):
                broken = str(item)
                print(f"camloc: {item}", file=sys.stderr)
                continue
            query = NamedQuery(item.label, item.query if given is None else replace(item.query, camera=given))
            for image in tracker.images([query]):
                count += 1
                progress(count, count)
                if live:
                    print(_line(image, format), end="", flush=True)
    smooth = tracker.smooth()
    if not live:
        text = header + (_tum(smooth) if format == "tum" else "".join(_line(each, format) for each in smooth))
        if out is None:
            print(text, end="")
        else:
            write_atomically(out, text)
    if smooth:
        _show_counts(smooth)
    if broken:
        sys.exit(1)


def _header(format: str) -> str:
    from camloc.data.estimate_files import csv_header

    return csv_header() if format == "csv" else ""


def _line(image: "TrackedImage", format: str) -> str:
    from camloc.data.estimate_files import csv_row, estimate_text, json_line

    match format:
        case "jsonl":
            return json_line(image.name, image.pose)
        case "csv":
            return csv_row(image.name, image.pose)
        case _:
            note = "  left out: its own pose does not fit the motion" if image.is_outlier else ""
            return f"{estimate_text(image.name, image.pose)}{note}\n"


def _tum(images: "list[TrackedImage]") -> str:
    from camloc.data.estimate_files import tum_text
    from camloc.data.types import Located

    return tum_text(
        [(each.time, each.pose.world_from_cam) for each in images if isinstance(each.pose, Located)]
    )


def _show_counts(images: "list[TrackedImage]") -> None:
    from camloc.cli.progress import console
    from camloc.data.types import Located

    poses = [each.pose for each in images if isinstance(each.pose, Located)]
    bridged = sum(each.is_bridged for each in poses)
    outliers = sum(each.is_outlier for each in images)
    console.print(
        f"{len(images)} images: {len(poses) - bridged} located, {bridged} bridged, "
        f"{len(images) - len(poses)} lost; {outliers} poses left out because they do not fit the motion"
    )
