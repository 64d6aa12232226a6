"""`camloc locate`: the camera poses of images."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.cli.options import Device, Filter, OptionalFolder, Prior, Refine, Run, Verify
from camloc.errors import ImageError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from camloc.data.types import Estimate, Frame

# Exit status if an image is lost and the user asked for one.
_LOST = 3


def locate(
    run: tyro.conf.Positional[Run],
    images: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="")]
    ],
    *,
    format: Literal["text", "json", "tum", "colmap"] = "text",
    camera: Annotated[str, tyro.conf.arg(metavar="FILE|MODEL,W,H,...", help_behavior_hint="")] = "",
    focal: Annotated[float | None, tyro.conf.arg(metavar="PIXELS", help_behavior_hint="")] = None,
    verify: Verify = "auto",
    prior: Prior = "network",
    filter: Filter = "auto",
    masks: OptionalFolder = None,
    refine: Refine = "none",
    device: Device = "cpu",
    fail_on_lost: bool = False,
) -> None:
    """Print the camera poses of images.

    An image without an acceptable pose is lost, and the reason is printed. An image that cannot be read is
    reported on standard error; the other images are located all the same, and the exit status is 1.

    Poses are world_from_cam and quaternions have w first, with two exceptions: tum has lines "index x y z qx
    qy qz qw", and colmap's images.txt holds cam_from_world. tum counts images from 0, colmap from 1.

    Args:
        run: Folder of a run, or an exported folder or .onnx file.
        images: Image files of any size.
        format: Output format: text, a JSON list, or the lines of a TUM or a COLMAP file.
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
    """
    from camloc.data.formats.parts.intrinsics import camera_from_text
    from camloc.data.image_io import centered_camera
    from camloc.data.types import Frame, Lost
    from camloc.inference.localizer import Localizer

    if not images:
        raise UsageError("name at least one image to locate")
    if focal is not None and not (math.isfinite(focal) and focal > 0):
        raise UsageError(f"the focal length {focal} is not a positive number of pixels; correct --focal")
    if camera and focal is not None:
        raise UsageError("give --camera or --focal, not both")
    given = camera_from_text(camera, "--camera") if camera else None
    localizer = Localizer.load(
        run,
        device=device,
        verify=verify,
        prior=prior,
        outlier_filter=None if filter == "auto" else filter,
        masks=masks,
        refine=refine,
    )
    frames = [Frame(str(image), image) for image in images]
    estimates: list[Estimate] = []
    unreadable = 0
    for image in images:
        try:
            own = given if focal is None else centered_camera(image, focal)
            estimates.append(localizer.locate(image, camera=own))
        except ImageError as problem:
            print(f"camloc: {problem}", file=sys.stderr)
            estimates.append(Lost(str(problem)))  # so that the other images keep their numbers
            unreadable += 1
            continue
        if format == "text":
            print(_line(str(image), estimates[-1]), flush=True)
    if format != "text":
        print(_formatted(frames, estimates, format), end="")
    if unreadable:
        sys.exit(1)
    if fail_on_lost and any(isinstance(each, Lost) for each in estimates):
        sys.exit(_LOST)


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
    if (found := estimate.verification) is not None:
        text += f"  verified by {found.inliers} inliers"
    if (error := estimate.expected_error) is not None:
        text += f"  expected error {error.meters:.3f} {estimate.unit} {error.degrees:.2f}°"
    if estimate.residual is not None:
        text += f"  residual {estimate.residual:.3f} {estimate.unit}"
    if estimate.unrefined is not None and estimate.verification is None:
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
