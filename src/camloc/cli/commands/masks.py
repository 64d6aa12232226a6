"""`camloc masks`: mask things that do not belong to the scene, found by a segmentation network."""

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import (
    Device,
    Folder,
    Layout,
    OptionalFile,
    OptionalFolder,
    ReaderOptions,
    Scene,
    data_source,
)
from camloc.errors import ImageError, RecipeError, UsageError

if TYPE_CHECKING:
    from camloc.data.segmentation import Segmentation
    from camloc.data.types import Frame

# Records the settings of the masks in a folder.
SETTINGS_FILE = "masks.json"


def masks(
    images: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="[IMAGE ...]", help_behavior_hint="")]
    ] = (),
    *,
    weights: Annotated[str, tyro.conf.arg(metavar="hub|FILE")],
    out: Folder,
    data: OptionalFolder = None,
    scene: Scene = "",
    layout: Layout = "auto",
    option: ReaderOptions = (),
    network: Annotated[str, tyro.conf.arg(metavar="NETWORK")] = "lraspp_mobilenet_v3_large",
    classes: OptionalFile = None,
    leave_out: Annotated[str, tyro.conf.arg(metavar="person,car,...", help_behavior_hint="")] = "",
    device: Device = "cpu",
) -> None:
    """Write masks that exclude people, vehicles and other moving things from images.

    The mask of image NAME is NAME.png: black where the segmentation network finds an excluded class, white
    elsewhere. `camloc locate` and `camloc evaluate` read the folder with --masks; COLMAP reads such masks
    too.

    Existing masks are kept, so an interrupted command continues when it is given again.

    Args:
        images: Image files, or name a data set with --data.
        weights: Weights of the network: hub (download torchvision's) or a file with torchvision's parameter
            names.
        out: Folder for the masks.
        data: Folder of a data set; masks are written for all its images.
        scene: Scene of the data set if it has several.
        layout: Layout of the data set.
        option: Option of the layout's reader, such as split=blocks.
        network: One of torchvision's segmentation networks.
        classes: Class names of the weights: cityscapes, or a text file with one a line; the 21 classes of
            Pascal VOC by default, which have neither sky nor vegetation.
        leave_out: Classes to exclude, with commas between; dynamic (people, animals and vehicles) by default;
            others are these with sky and vegetation.
        device: Device to run on.
    """
    from camloc.cli.progress import console, counted
    from camloc.data.image_io import image_tensor, read_image
    from camloc.data.masks import mask_path, write_mask

    if bool(images) == bool(data):
        raise UsageError("name images, or a data set with --data; one of the two")
    if data is None:
        frames = _frames(images)
    else:
        source = data_source(data, layout=layout, scene=scene, options=option)
        frames = source.load().frames
    network_of_masks = _segmentation(
        network, weights=weights, classes=classes, leave_out=leave_out, device=device, out=out
    )
    unreadable = 0
    with counted("masks") as progress:
        for done, frame in enumerate(frames, start=1):
            try:
                if not mask_path(out, frame).exists():
                    write_mask(out, frame, network_of_masks.belonging(image_tensor(read_image(frame.image))))
            except ImageError as problem:
                print(f"camloc: {problem}", file=sys.stderr)
                unreadable += 1
            progress(done, len(frames))
    print(out)
    console.print(f"\nnext   camloc locate RUN IMAGE.jpg --masks {out}")
    if unreadable:
        sys.exit(1)


def _frames(images: tuple[Path, ...]) -> "tuple[Frame, ...]":
    from camloc.data.types import Frame

    by_name: dict[str, Path] = {}
    for image in images:
        other = by_name.setdefault(image.name, image)
        if other != image:
            raise RecipeError(
                f"{other} and {image} have the same name, so their masks would too; write them to two folders"
            )
    return tuple(Frame(name, image) for name, image in by_name.items())


def _segmentation(
    network: str, *, weights: str, classes: Path | None, leave_out: str, device: str, out: Path
) -> "Segmentation":
    """The network with its weights; its settings are recorded in the folder of the masks."""
    from camloc.core.device import torch_device
    from camloc.data import segmentation
    from camloc.training.pretrained import load_segmentation_weights

    target = torch_device(device)
    if classes is None:
        names = segmentation.published_classes(network)
    else:
        names = segmentation.CLASS_LISTS.get(str(classes)) or _lines(classes)
    left_out = segmentation.left_out_numbers(
        names, [name.strip() for name in leave_out.split(",") if name.strip()]
    )
    built = segmentation.segmentation_network(network, classes=len(names))
    load_segmentation_weights(built, "hub" if weights == "hub" else Path(weights), name=network)
    digest = hashlib.sha256()
    for tensor in built.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    _note(out, network=network, weights=digest.hexdigest()[:24], left_out=[names[n] for n in left_out])
    return segmentation.Segmentation(built.to(target), left_out, target)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise RecipeError(f"{path} is not a text file of class names, one a line") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) != len(names) or len(names) < 2:
        raise RecipeError(f"{path} needs at least two class names, one a line, without repetition")
    return names


def _note(out: Path, **settings: str | list[str]) -> None:
    """Record the settings of the masks in a folder; refuse a folder of masks with other settings."""
    from camloc.core.config import to_json
    from camloc.core.files import write_atomically

    path, content = out / SETTINGS_FILE, to_json(settings)
    if not path.exists():
        write_atomically(path, content)
    elif path.read_bytes() != content:
        raise RecipeError(
            f"{out} holds masks with other settings; choose another --out, or delete the folder"
        )
