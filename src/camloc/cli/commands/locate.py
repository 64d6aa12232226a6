"""`camloc locate`: where images were taken."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import Device, Filter, OptionalFolder, Refine, Run
from camloc.errors import ImageError, RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from camloc.data.types import Estimate, Frame


def locate(
    run: tyro.conf.Positional[Run],
    images: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="")]
    ],
    *,
    format: Literal["text", "json", "tum", "colmap"] = "text",
    focal: Annotated[float | None, tyro.conf.arg(metavar="PIXELS", help_behavior_hint="")] = None,
    filter: Filter = "auto",
    masks: OptionalFolder = None,
    refine: Refine = "none",
    device: Device = "cpu",
) -> None:
    """Say where images were taken.

    An image that cannot be placed is lost, with the reason. One that cannot be read is told on
    standard error, the others are still located, and the status is 1.

    Poses are world_from_cam, and quaternions have w first, but: tum has lines "index x y z qx qy qz qw",
    and colmap's images.txt holds cam_from_world. Images are counted from 0 in tum, from 1 in colmap.

    Args:
        run: Folder of a trained run, or an exported .onnx file.
        images: Image files of any size.
        format: How to print poses: with words, as a JSON list, or as lines of a TUM or a COLMAP file.
        focal: Focal length of the images, for models that need it; that of the camera that was learned
            from if not given.
        filter: For models that align points, how wrong points are left out; auto is the way that was best
            on held-out frames.
        masks: For such models, folder with masks named IMAGE.png, black where an image does not count.
        refine: Move positions towards training cameras near the answer: neighbours by their mean, affine (the
            paper's, exact), adamw (the paper's three steps) or anchored as the run's pose auto-encoder says,
            auto by what was best on held-out frames.
        device: Where to run.
    """
    from camloc.data.image_io import centered_camera
    from camloc.data.types import Frame, Lost
    from camloc.inference.localizer import Localizer

    if not images:
        raise RecipeError("name at least one image to locate")
    if focal is not None and not (math.isfinite(focal) and focal > 0):
        raise RecipeError(f"a focal length is a positive number of pixels, not {focal}")
    localizer = Localizer.load(
        run, device=device, outlier_filter=None if filter == "auto" else filter, masks=masks, refine=refine
    )
    frames = [Frame(str(image), image) for image in images]
    estimates: list[Estimate] = []
    unreadable = 0
    for image in images:
        try:
            camera = None if focal is None else centered_camera(image, focal)
            estimates.append(localizer.locate(image, camera=camera))
        except ImageError as problem:
            print(f"camloc: {problem}", file=sys.stderr)
            estimates.append(Lost(str(problem)))  # in its place, so that the others keep their numbers
            unreadable += 1
            continue
        if format == "text":
            print(_line(str(image), estimates[-1]), flush=True)
    if format != "text":
        print(_formatted(frames, estimates, format), end="")
    if unreadable:
        sys.exit(1)


def _line(name: str, estimate: "Estimate") -> str:
    from camloc.data.types import Lost

    name = name if name.isprintable() else ascii(name)
    if isinstance(estimate, Lost):
        return f"{name}  lost: {estimate.reason}"
    pose = estimate.world_from_cam
    position = _numbers(pose.translation)
    quaternion = " ".join(f"{value:.6f}" for value in pose.quaternion_wxyz().tolist())
    scene = (
        estimate.scene if estimate.probability == 1.0 else f"{estimate.scene} ({estimate.probability:.0%})"
    )
    text = f"{name}  {scene}  position {position}  quaternion_wxyz {quaternion}"
    if estimate.spread is not None:
        text += f"  expected error {estimate.spread.meters:.3f} m {estimate.spread.degrees:.2f}°"
    if estimate.residual is not None:
        text += f"  residual {estimate.residual:.3f} m"
    if estimate.unrefined is not None:
        text += f"  refined from {_numbers(estimate.unrefined.translation)}"
    return text


def _numbers(position: "Tensor") -> str:
    return " ".join(f"{value:.4f}" for value in position.tolist())


def _formatted(frames: "list[Frame]", estimates: "list[Estimate]", format: str) -> str:
    from camloc.evaluation import trajectory

    match format:
        case "json":
            return trajectory.estimates_json(frames, estimates)
        case "tum":
            return trajectory.estimates_tum(frames, estimates)
        case _:
            return trajectory.estimates_colmap(frames, estimates)
