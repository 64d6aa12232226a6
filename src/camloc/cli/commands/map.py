"""`camloc map`: build maps of local features, which verify poses to the centimetre."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import (
    Folders,
    Layout,
    OptionalFolder,
    ReaderOptions,
    Scenes,
    data_sources,
    size_in_bytes,
)
from camloc.errors import UsageError

if TYPE_CHECKING:
    from camloc.mapping.build import MapSettings
    from camloc.runs.manifest import DataSource
    from camloc.runs.map import MappedScene

Features = Literal["sift", "xfeat", "aliked"]

# Most bytes of a map by default: enough for whole floors of a building.
DEFAULT_BYTES = 8_000_000


def map(
    run: tyro.conf.Positional[
        Annotated[Path | None, tyro.conf.arg(metavar="[RUN|FOLDER]", help_behavior_hint="")]
    ] = None,
    *,
    data: Folders = (),
    out: OptionalFolder = None,
    scene: Scenes = (),
    layout: Layout = "auto",
    option: ReaderOptions = (),
    size: Annotated[str, tyro.conf.arg(metavar="4MB", help_behavior_hint="")] = "",
    features: Features = "sift",
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None,
    refine_poses: bool = False,
    masks: OptionalFolder = None,
    cluster: bool = False,
) -> None:
    """Build the map of a scene from images with known poses, in seconds to a minute.

    A map needs no network: local features of the training images are matched and triangulated with the known
    poses. `camloc map DATA --out RUN` makes a run of a map alone; `camloc map RUN` adds maps to a trained
    run, whose network then proposes the poses that the map verifies. Intrinsics are needed.

    A part of the training images is held out to calibrate when a pose counts as verified, and its covariance.

    Args:
        run: Folder of a trained run, or of a data set.
        data: Folder of the data set; repeat the option for several scenes.
        out: Folder of the run; runs/map/SCENE by default.
        scene: Scene of the data set if it has several, or all; with several folders, the names of their
            scenes in the same order.
        layout: Layout of the data set; `camloc datasets` lists them.
        option: Option of the layout's reader, such as split=blocks.
        size: Most bytes of each map, such as 500kB or 4MB; the points that cover the views best are kept. By
            default 8MB.
        features: Local features: sift, or the networks xfeat and aliked, which need camloc[features].
        weights: File with the weights of aliked, or of xfeat other than the installed ones.
        refine_poses: Adjust the training poses too, for poses of odometry or depth SLAM.
        masks: Folder with masks named IMAGE.png, black where pixels do not count.
        cluster: Build the maps of several scenes at once, on the Ray cluster that RAY_ADDRESS names, or one
            that is started here.
    """
    from camloc.cli.progress import console
    from camloc.mapping.build import MapSettings
    from camloc.mapping.features import FeatureSettings

    if features == "sift" and weights is not None:
        raise UsageError("sift has no weights; leave out --weights")
    sources, folder = _sources_and_folder(run, data, out, scene=scene, layout=layout, option=option)
    settings = MapSettings(
        features=FeatureSettings(extractor=features, weights="" if weights is None else str(weights)),
        refine_poses=refine_poses,
        size_bytes=map_bytes(size) if size else DEFAULT_BYTES,
    )
    if cluster:
        from camloc.serve.cluster import build_maps_in_cluster

        print_maps(build_maps_in_cluster(sources, folder, settings, masks=masks))
    else:
        build_and_print(sources, folder, settings, masks=masks)
    console.print(f"\nnext   camloc evaluate {folder}\n       camloc locate {folder} IMAGE.jpg")


def build_and_print(
    sources: "tuple[DataSource, ...]",
    folder: Path,
    settings: "MapSettings | None" = None,
    *,
    masks: Path | None = None,
) -> None:
    """Build the maps of a run with a progress bar, and print their contents."""
    from camloc.cli.progress import counted
    from camloc.mapping.build import MapSettings
    from camloc.runs.map import build_maps

    with counted("building the map") as progress:

        def show(step: str, share: float) -> None:
            del step
            progress(round(share * 100), 100)

        mapped = build_maps(
            sources, folder, settings or MapSettings(size_bytes=DEFAULT_BYTES), masks=masks, progress=show
        )
    print_maps(mapped)


def print_maps(mapped: "Sequence[MappedScene]") -> None:
    """Print the contents of maps and the frames that were left out."""
    for each in mapped:
        for line in report_lines(each):
            print(line)


def map_bytes(text: str) -> int:
    """The most bytes of a map.

    Raises:
        UsageError: the text is not a size, or less than 10 kB.
    """
    size = size_in_bytes(text)
    if size < 10_000:
        raise UsageError(f"a map of {size:,} bytes holds nothing; give 10kB or more")
    return size


def report_lines(mapped: "MappedScene") -> list[str]:
    """The frames and points of a map, the frames that were left out, and the calibration."""
    report, scene_map = mapped.report, mapped.scene_map
    lines = [
        f"{scene_map.scene}: {len(scene_map):,} points from {report.frames:,} images, "
        f"{report.size_bytes / 1e6:.1f} MB, built in {mapped.seconds:.0f} s"
    ]
    left_out = {
        "without a pose": report.without_pose,
        "without an orientation": report.position_only,
        "without intrinsics": report.without_camera,
        "whose image cannot be read": tuple(report.unreadable),
        "that see no point of the map": report.without_points,
    }
    lines += [
        f"  left out    {len(names):,} images {reason}, such as {names[0]}"
        for reason, names in left_out.items()
        if names
    ]
    if report.pose_changes is not None:
        changes = report.pose_changes
        lines.append(
            f"  poses       moved by {changes.median:.4f} {scene_map.unit} in the median; residuals "
            f"{changes.pixels_before:.2f} px before, {changes.pixels_after:.2f} px after"
        )
    calibration = scene_map.calibration
    if calibration.frames:
        lines.append(
            f"  calibrated  on {calibration.frames} held-out images: verified from "
            f"{calibration.least_inliers} inliers on"
        )
    else:
        lines.append("  calibrated  on no image, because too few could be held out: thresholds are cautious")
    return lines


def _sources_and_folder(
    run: Path | None,
    data: tuple[Path, ...],
    out: Path | None,
    *,
    scene: tuple[str, ...],
    layout: str,
    option: tuple[str, ...],
) -> "tuple[tuple[DataSource, ...], Path]":
    """The sources of the frames, and the run folder that the maps are written into."""
    from camloc.runs.manifest import MANIFEST_FILE, RunManifest

    if run is not None and (run / MANIFEST_FILE).is_file():
        if data or scene or option or layout != "auto":
            raise UsageError(
                f"{run} is a run and knows its data; leave out --data, --scene, --layout and --option"
            )
        return RunManifest.load(run).data, out or run
    roots = data if run is None else (run, *data)
    sources = data_sources(roots, layout=layout, scenes=scene, options=option)
    name = sources[0].scene or Path(sources[0].root).name
    return sources, out or Path("runs") / "map" / name
