"""`camloc poses`: the camera poses of photographs or of a video, by structure from motion."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import OptionalFolder
from camloc.errors import UsageError

if TYPE_CHECKING:
    from camloc.runs.poses import KnownDistance, PosesReport

KnownDistanceOption = Annotated[
    tuple[str, str, float] | None, tyro.conf.arg(metavar="IMAGE IMAGE METERS", help_behavior_hint="")
]
Source = Annotated[str, tyro.conf.arg(metavar="FOLDER|VIDEO|PATTERN")]
Frames = Annotated[int, tyro.conf.arg(metavar="NUMBER")]

# Images that are listed by name for each reason.
_MOST_NAMED = 4

# Steps between neighbours longer than this multiple of the median are reported.
_LONG_STEP = 5.0


def poses(
    source: tyro.conf.Positional[Source],
    *,
    out: OptionalFolder = None,
    into: OptionalFolder = None,
    known_distance: KnownDistanceOption = None,
    mapper: Literal["incremental", "global"] = "incremental",
    frames: Frames = 300,
) -> None:
    """Compute the camera poses of photographs or of a video, and write them as a scene.

    The scene is a COLMAP model with its images, which camloc and COLMAP open. Images without a pose are
    listed with the reason. From images alone a scene has no scale; positions are then in units. GPS positions
    in the photographs give metres and axes east, north and up; --known-distance gives metres.

    With --into, the photographs are located in the map of an existing scene and added to its model.

    Args:
        source: Folder of photographs, a video, or a quoted pattern such as 'photos/*.jpg'.
        out: Folder of the new scene.
        into: Folder of an existing scene that the photographs are added to.
        known_distance: Two images and the distance in metres between the places where they were taken.
        mapper: How poses are computed: image after image, or all at once, which is faster for many images and
            more often wrong in places.
        frames: Most frames that are used of a video; sharp ones are chosen along the motion.
    """
    if (out is None) == (into is None):
        raise UsageError("name the folder of the new scene with --out, or of an existing one with --into")
    if into is not None:
        if known_distance is not None:
            raise UsageError("--known-distance scales a new scene; leave it out with --into")
        _add(source, into)
        return
    assert out is not None
    compute_and_print(
        source, out, known_distance=known_distance_of(known_distance), mapper=mapper, frames=frames
    )
    from camloc.cli.progress import console

    console.print(f"\nnext   camloc datasets {out}\n       camloc map {out} --out runs/{out.name}")


def known_distance_of(words: tuple[str, str, float] | None) -> "KnownDistance | None":
    """The known distance of the option, checked.

    Raises:
        UsageError: the distance is not positive.
    """
    from camloc.runs.poses import KnownDistance

    if words is None:
        return None
    if not 0.0 < words[2] < 1e6:
        raise UsageError(f"the known distance {words[2]} is not a positive number of metres")
    return KnownDistance(*words)


def compute_and_print(
    source: str,
    out: Path,
    *,
    known_distance: "KnownDistance | None" = None,
    mapper: Literal["incremental", "global"] = "incremental",
    frames: int = 300,
) -> "PosesReport":
    """Compute poses with a progress bar, and print which images have one."""
    from camloc.cli.progress import steps
    from camloc.data.video import FrameChoice
    from camloc.mapping.structure_from_motion import MotionSettings
    from camloc.runs.poses import compute_poses

    if frames < 3:
        raise UsageError(f"poses need 3 frames or more, not {frames}")
    with steps() as progress:
        report = compute_poses(
            source,
            out,
            settings=MotionSettings(mapper=mapper),
            choice=FrameChoice(fewest=min(40, frames), most=frames),
            known_distance=known_distance,
            progress=progress,
        )
    for line in report_lines(report):
        print(line)
    return report


def report_lines(report: "PosesReport") -> list[str]:
    """The images with a pose, those without one and the reasons, the gaps and the scale."""
    from camloc.mapping.check.findings import named

    lines = [
        f"{len(report.placed)} of {report.images} images have a pose, {report.points:,} points, "
        f"{report.pixels:.2f} px, in {report.seconds:.0f} s"
    ]
    lines += [f"  camera      {camera}" for camera in report.cameras]
    if report.note:
        lines.append(f"  video       {report.note}")
    for reason, names in _by_reason({**report.refused, **report.unplaced}).items():
        lines.append(f"  left out    {named(names, _MOST_NAMED)}: {reason}")
    for group in report.groups:
        lines.append(
            f"  apart       {len(group)} images are a group of their own, {group[0]} to {group[-1]}: take "
            f"photographs between both parts, or compute their poses by themselves"
        )
    for gap in report.gaps:
        if gap.images > 1:
            lines.append(f"  gap         {gap.images} images in a row, {gap.first} to {gap.last}")
    if report.longest_step is not None and report.longest_step[2] >= _LONG_STEP:
        first, second, times = report.longest_step
        lines.append(f"  step        {first} to {second} is {times:.0f} times the usual step")
    if report.doubtful:
        lines.append(
            f"  doubtful    {report.contradicted} of {report.connected} pairs of images that show the same "
            f"contradict the poses ({named(report.doubtful, _MOST_NAMED)}): the path may be bent there; "
            f"take more images there"
        )
    lines.append(f"  scale       {_scale(report)}")
    lines.append(
        f"  test        {report.test} images in blocks of the sequence"
        if report.test
        else "  test        none: too few images for a block of their own"
    )
    return lines


def _scale(report: "PosesReport") -> str:
    world = report.world
    if world.unit != "m":
        return f"none, positions are in units: {report.no_scale}; give --known-distance for metres"
    if world.anchor is None:
        return "metres, by the known distance"
    anchor = world.anchor
    return (
        f"metres east, north and up of {anchor.latitude:.6f}°, {anchor.longitude:.6f}°; GPS positions are "
        f"{world.residual:.1f} m off in the median"
    )


def _by_reason(reasons: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found


def _add(source: str, scene: Path) -> None:
    from camloc.cli.progress import console, steps
    from camloc.mapping.check.findings import named
    from camloc.runs.poses import add_photos

    with steps() as progress:
        added = add_photos(source, scene, progress=progress)
    print(f"{len(added.placed)} of {len(added.placed) + len(added.unplaced)} images were added to {scene}")
    for reason, names in _by_reason(added.unplaced).items():
        print(f"  left out    {named(names, _MOST_NAMED)}: {reason}")
    if added.placed:
        console.print(f"\nnext   camloc map {scene} --out runs/{scene.resolve().name}")
