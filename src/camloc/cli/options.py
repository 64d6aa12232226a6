"""Options that several commands share: their names in the help, and the parsing of their values."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from camloc.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from camloc.data.types import Scene as LoadedScene
    from camloc.geometry.camera import Camera
    from camloc.runs.manifest import DataSource
    from camloc.training.pretrained import Weights

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

# The help shows no default for these options; the commands' descriptions explain it.
Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]
Folder = Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
OptionalFolder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
Scene = Annotated[str, tyro.conf.arg(metavar="SCENE", help_behavior_hint="")]
Folders = tyro.conf.UseAppendAction[
    Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER", help_behavior_hint="(repeatable)")]
]
Scenes = tyro.conf.UseAppendAction[
    Annotated[tuple[str, ...], tyro.conf.arg(metavar="SCENE", help_behavior_hint="(repeatable)")]
]
Layout = Annotated[str, tyro.conf.arg(metavar="LAYOUT")]
ReaderOptions = tyro.conf.UseAppendAction[
    Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE", help_behavior_hint="(repeatable)")]
]
Seed = Annotated[int, tyro.conf.arg(metavar="NUMBER")]
Device = Literal["cpu", "cuda", "mps", "auto"]
Precision = Literal["auto", "32-true", "bf16-mixed"]

# The same as in `camloc.inference.onnx.runtime`, whose import loads torch.
ExportPrecision = Literal["float32", "int8"]
ExportInput = Literal["tensor", "image"]

# The same as in `camloc.models.outlier_filters`, whose import loads torch.
Filter = Literal["auto", "weights", "none", "rigid-ransac", "pnp-ransac"]

# The same as in `camloc.refinement.position`; "auto" is the best method on held-out frames.
Refine = Literal["none", "auto", "neighbours", "affine", "adamw", "anchored", "virtual"]

# The same as in `camloc.inference.localizer`.
Verify = Literal["auto", "always", "never"]
Prior = Literal["network", "retrieval", "none"]

# NumPy and torch accept seeds below this number.
_SEEDS = 2**32


def seconds(duration: str) -> float:
    """The seconds in a duration such as "90s", "20m" or "1.5h".

    Raises:
        UsageError: the text is not a duration.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*(s|m|min|h|)", duration.strip(), re.ASCII)
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"'{duration}' is not a duration; write 90s, 20m or 1.5h")
    return float(match[1]) * _UNITS[match[2]]


_BYTES = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}


def size_in_bytes(text: str) -> int:
    """The bytes in a size such as 500kB or 4MB.

    Raises:
        UsageError: the text is not a size.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*([kmg]?b|)", text.strip().lower(), re.ASCII)
    if match is None:
        raise UsageError(f"'{text}' is not a size; write 500kB or 4MB")
    return round(float(match[1]) * _BYTES[match[2]])


def checked_seed(seed: int) -> int:
    """Check that NumPy and torch accept a seed, and return it.

    Raises:
        UsageError: it is negative or too large for NumPy or torch.
    """
    if not 0 <= seed < _SEEDS:
        raise UsageError(f"the seed {seed} is not a number from 0 to {_SEEDS - 1:,}")
    return seed


# Arguments of every reader that have an option of their own.
_OWN_OPTIONS = {"root": "data", "layout": "layout", "scene": "scene"}


def reader_options(words: tuple[str, ...]) -> dict[str, str]:
    """Options of a data set's reader from words such as `split=blocks`.

    Raises:
        UsageError: a word is not NAME=VALUE, names something that has its own option, or an option other
            than exclude is given twice.
    """
    options: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"the option '{word}' is not NAME=VALUE, as in split=blocks")
        name = name.replace("-", "_")
        if name in _OWN_OPTIONS:
            raise UsageError(f"{name} is not an option of a reader; give it as --{_OWN_OPTIONS[name]}")
        if name == "exclude" and name in options:
            value = f"{options[name]},{value}"
        elif name in options:
            raise UsageError(f"the option {name} is given twice; give it once")
        options[name] = value
    return options


def read_scene(root: Path, *, layout: str, scene: str, options: tuple[str, ...]) -> "tuple[LoadedScene, str]":
    """The scene that the options name, and its layout.

    Raises:
        DatasetError: the layout is not clear, or the data cannot be used.
        UsageError: an option is not NAME=VALUE.
    """
    from camloc.data.formats import detect, load

    layout = detect(root) if layout == "auto" else layout
    return load(root, layout=layout, scene=scene or None, **reader_options(options)), layout


def data_source(
    root: Path, *, layout: str, scene: str, options: tuple[str, ...], **lists: Path | None
) -> "DataSource":
    """The data source that the options name, with absolute paths, so that a run can be moved."""
    from camloc.runs.manifest import DataSource

    named = {name: os.path.realpath(path) for name, path in lists.items() if path is not None}
    return DataSource(os.path.realpath(root), layout, scene, {**reader_options(options), **named})


def data_sources(
    roots: tuple[Path, ...],
    *,
    layout: str,
    scenes: tuple[str, ...],
    options: tuple[str, ...],
    **lists: Path | None,
) -> "tuple[DataSource, ...]":
    """The data sources of one or several scenes, from several folders or from one folder with several scenes.

    Args:
        roots: folders.
        layout: layout of all of them.
        scenes: names of the scenes in the order of the folders; or the scenes of the only folder, where "all"
            means every scene that it holds.
        options: reader options of all scenes or, as in "office:rotation=world_from_cam", of one scene.
        lists: files that list images, for a single scene.

    Raises:
        UsageError: no folder is given, or names and folders do not match.
        DatasetError: "all" is given and the folder holds no scenes.
    """
    if not roots:
        raise UsageError("name the folder of the data set with --data")
    if scenes == ("all",) and len(roots) == 1:
        from camloc.data.formats import scene_names

        scenes = scene_names(roots[0], layout=layout)
    if len(roots) == 1:
        roots = roots * max(1, len(scenes))
    scenes = scenes or ("",) * len(roots)
    if len(scenes) != len(roots):
        raise UsageError(
            f"{len(roots)} folders have {len(scenes)} names; give one --scene for each --data, in the same "
            f"order, or none"
        )
    if len(roots) > 1 and any(lists.values()):
        raise UsageError(
            "a list of images is for a single scene; put train.txt and test.txt into each folder instead"
        )
    named = {word: word.partition("=")[0].rpartition(":")[0] for word in options}
    for word, scene in named.items():
        if scene and scene not in scenes:
            raise UsageError(f"the option '{word}' is for {scene!r}, which no --scene names")
    return tuple(
        data_source(
            root,
            layout=layout,
            scene=scene,
            options=tuple(word.removeprefix(f"{scene}:") for word, of in named.items() if of in ("", scene)),
            **lists,
        )
        for root, scene in zip(roots, scenes, strict=True)
    )


def backbone_weights(choice: str) -> "Weights":
    """The source of backbone weights: "none", "hub" or an absolute path."""
    match choice:
        case "none":
            return "none"
        case "hub":
            return "hub"
        case path:
            return Path(os.path.realpath(path))


def given_camera(text: str) -> "Camera":
    """The camera of the option `--camera`.

    Raises:
        UsageError: it is neither a file nor a model with its numbers, or no camera has these.
    """
    from camloc.data.checks import check_camera
    from camloc.data.formats.parts.intrinsics import camera_from_text

    try:
        camera = camera_from_text(text, "--camera")
        check_camera(camera, "--camera")
    except DatasetError as problem:
        raise UsageError(str(problem)) from None
    return camera
