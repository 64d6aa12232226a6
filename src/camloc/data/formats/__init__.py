"""Readers of data sets, one layout a file; the file's name is the layout's name.

`load(root)` finds out which layout a folder has and reads it. A layout is a module with `LOOKS_FOR` (the
files that `fits` looks for, in words), `fits(root)`, perhaps `SCENES` (the names of its published scenes),
and `load(root, scene, *, selection, **options)`, which returns a `Scene`. These are the same in all layouts,
unless a layout says more:

    root        the folder of the data, or its file of poses
    scene       the name to give the scene; the folder's name otherwise
    selection   which frames are used, see `Selection`
    raises      DatasetError: something is missing, damaged, or contradicts something else

Nothing is ever downloaded. A `world.json` beside the poses says their unit (see `camloc.data.world`), where
no option `unit` is given.
"""

import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from camloc.errors import DatasetError, ReaderOptionError

if TYPE_CHECKING:
    from camloc.data.types import Scene

# The description of a rendered scene, so that its module needs no `fits`.
SCENE_FILE = "scene.json"

LAYOUTS = tuple(sorted(entry.name for entry in pkgutil.iter_modules(__path__) if entry.name != "parts"))

_SHEET_ENDINGS = (".xlsx", ".xls", ".ods", ".numbers")
_BAG_ENDINGS = (".bag", ".db3", ".mcap")
VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")

# Files that are counted to describe a folder.
_MOST_COUNTED = 20_000

# Levels of folders in which scenes are looked for.
_DEPTH = 3


def load(root: Path, *, layout: str = "auto", scene: str | None = None, **options: Any) -> "Scene":
    """Read a scene.

    Args:
        root: the folder of the data, or its file of poses.
        layout: one of `LAYOUTS`, or "auto" to find out.
        scene: which scene, where `root` holds several; otherwise the name to give it.
        options: of `Selection` and of the layout's own `load`; all may be text, where commas divide lists.

    Raises:
        DatasetError: the layout is not clear, has no such option, or the data cannot be used.
    """
    name = detect(root) if layout == "auto" else layout
    read = _module(name).load
    values = reader_values(read, options, f"the layout {name}")
    found: Scene = read(root, scene or "", **values)
    _refuse_path(found.name, root)
    folder = root if root.is_dir() else root.parent
    from camloc.data.formats.parts.intrinsics import unread_calibration
    from camloc.data.world import WORLD_FILE, read_world

    has_cameras = all(frame.camera is not None for frame in (*found.train, *found.test))
    if not has_cameras and (file := unread_calibration(folder)):
        note = (
            f"{file} looks like a calibration and is not read; name it K.txt if it holds a 3x3 matrix, or "
            f"write a camera.json"
        )
        found = replace(found, notes=(*found.notes, note))
    if "unit" not in values and (folder / WORLD_FILE).is_file():
        found = replace(found, unit=read_world(folder).unit)
    return found


def detect(root: Path) -> str:
    """The layout of a folder, or of a file of poses.

    A table of poses beside data in another layout does not count.

    Raises:
        DatasetError: there is nothing, or no layout fits, or more than one.
    """
    if not root.exists():
        raise DatasetError(f"{root} does not exist")
    modules = {name: _module(name) for name in LAYOUTS}
    fitting = [name for name, module in modules.items() if _fits(module, root)]
    own = [name for name in fitting if not getattr(modules[name], "FALLBACK", False)]
    match own or fitting:
        case [name]:
            return name
        case []:
            raise DatasetError(f"{_appearance(root, modules)}; `camloc datasets` lists the layouts")
        case several:
            raise DatasetError(f"{root} has several layouts; choose one with --layout: {', '.join(several)}")


def scene_names(root: Path, *, layout: str = "auto") -> tuple[str, ...]:
    """The scenes in a folder, or in the folders below where their layout has them, in alphabetical order.

    Raises:
        DatasetError: there is no such layout, or there are no scenes.
    """
    modules = [_module(name) for name in (LAYOUTS if layout == "auto" else (layout,))]
    inside = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    known = {name for module in modules for name in getattr(module, "SCENES", ())}
    found = tuple(
        name for name in sorted(inside | known) if any(_fits(module, root / name) for module in modules)
    )
    if not found:
        raise DatasetError(f"{root} has no folders that are scenes; name the folder of one scene")
    return found


def option_types(layout: str) -> dict[str, Any]:
    """The options of a layout and of `Selection`, with their types.

    Raises:
        DatasetError: there is no such layout.
    """
    own, shared = _types_of(_module(layout).load)
    return own | shared


def _types_of(read: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The own options of a reader, and the options of its `Selection`, with their types."""
    hints = get_type_hints(read)
    parameters = inspect.signature(read).parameters.values()
    names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    shared = get_type_hints(hints["selection"]) if "selection" in names else {}
    return {name: hints[name] for name in names if name not in ("selection", "progress")}, shared


def _module(name: str) -> ModuleType:
    if name not in LAYOUTS:
        raise ReaderOptionError(f"there is no layout {name!r}; the layouts are {', '.join(LAYOUTS)}")
    return importlib.import_module(f"{__name__}.{name}")


def _fits(module: ModuleType, root: Path) -> bool:
    fits: Callable[[Path], bool] | None = getattr(module, "fits", None)
    return (root / SCENE_FILE).is_file() if fits is None else fits(root)


def reader_values(read: Callable[..., Any], options: dict[str, Any], what: str) -> dict[str, Any]:
    """Convert options, which may be text, to the types of a reader's keyword arguments.

    The options of `Selection` become the argument `selection`. `what` is the subject of messages.

    Raises:
        DatasetError: there is no such option, or its value is none.
    """
    own, shared = _types_of(read)
    types = own | shared
    for name in options:
        if name not in types:
            known = ", ".join(types) or "none"
            raise ReaderOptionError(f"{what} has no option {name!r}; its options: {known}")
    values = {name: _as_type(name, value, types[name]) for name, value in options.items()}
    arguments = {name: value for name, value in values.items() if name in own}
    if shared:
        from camloc.data.splits import Selection

        arguments["selection"] = Selection(**{name: values[name] for name in values.keys() - own.keys()})
    return arguments


def _as_type(name: str, value: Any, hint: Any) -> Any:
    """Convert a value, which may be a word of a command line or of a file."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    parts = (hint, *get_args(hint))
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices and value not in choices:
        raise ReaderOptionError(f"the option {name} is one of {', '.join(choices)}, not {value!r}")
    if Path in parts:
        return Path(value)
    if any(getattr(part, "__name__", "") == "Camera" for part in parts):
        from camloc.data.formats.parts.intrinsics import camera_from_text

        return camera_from_text(value, f"the option {name}")
    if hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            raise ReaderOptionError(f"the option {name} is a number, not {value!r}") from None
    if name == "exclude":
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _refuse_path(name: str, root: Path) -> None:
    """Refuse a scene name that would place the run's folder elsewhere."""
    is_path = name in ("", ".", "..") or any(sign in name for sign in "/\\") or name[1:2] == ":"
    if is_path or not name.isprintable():
        raise DatasetError(
            f"{root}: the scene is called {name[:80]!r}, which cannot be the name of a folder; give "
            f"it a name of letters, digits and hyphens"
        )


def _appearance(root: Path, modules: dict[str, ModuleType]) -> str:
    """The contents of a folder without a layout, and the next step."""
    if root.suffix.lower() in VIDEO_ENDINGS:
        return f"{root} is a video without poses; {_computed_by(root)}"
    if root.suffix in _BAG_ENDINGS or (root / "metadata.yaml").is_file():
        return f"{root} is a ROS bag; `camloc import {root} DEST` writes its images and poses"
    if not root.is_dir():
        return f"{root} is no file of poses; name a folder, a table of poses or a transforms.json"
    scenes = _scenes_below(root, modules)
    if scenes:
        named = ", ".join(scenes[:8]) + (", ..." if len(scenes) > 8 else "")
        return f"{root} has no layout of its own, but its folders have one: {named}; name one of these"
    images, videos = _count_files(root)
    if unread := _unread_poses(root):
        return f"{unread}; {_computed_by(root)} without it" if images else unread
    if images:
        one = "an image" if images == 1 else f"{images} images"
        return f"{root} looks like {one} without poses; {_computed_by(root)}"
    if videos:
        one = "a video" if videos == 1 else f"{videos} videos"
        return f"{root} looks like {one} without poses; {_computed_by(root / 'VIDEO')}"
    return f"{root} has no layout that is known, and no images"


def _scenes_below(root: Path, modules: dict[str, ModuleType]) -> list[str]:
    """The paths of the folders that fit a layout, of the first level below `root` that has some."""
    level = [root]
    for _ in range(_DEPTH):
        inside = (path for folder in level for path in folder.iterdir())
        level = sorted(path for path in islice(inside, _MOST_COUNTED) if _is_readable_folder(path))[:100]
        fitting = [path for path in level if any(_fits(module, path) for module in modules.values())]
        if fitting:
            return [path.relative_to(root).as_posix() for path in fitting]
    return []


def _is_readable_folder(path: Path) -> bool:
    """Whether a path is a folder that may be read, and is not hidden."""
    return not path.name.startswith(".") and path.is_dir() and os.access(path, os.R_OK | os.X_OK)


def _unread_poses(root: Path) -> str:
    """The reason why a file that should hold poses, by its name, cannot be read; "" without such a file."""
    from camloc.data.formats.parts.files import is_named, open_regular
    from camloc.data.formats.table import read_records

    sheets = sorted(path for path in root.iterdir() if path.suffix.lower() in _SHEET_ENDINGS)
    if sheets:
        return f"{sheets[0]} is a spreadsheet, which is not read; save it as CSV"
    named = [root / f"transforms{end}.json" for end in ("", "_train")]
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv"))
    try:
        for path in filter(is_named, named):
            open_regular(path).close()
        for path in tables[:1]:
            read_records(path)
    except DatasetError as problem:
        return str(problem)
    return ""


def _computed_by(source: Path) -> str:
    return (
        f"`camloc start {source}` computes the poses and builds a map, `camloc poses {source} --out SCENE` "
        f"computes them alone"
    )


def _count_files(root: Path) -> tuple[int, int]:
    """Images and videos in a folder and below it, of its first `_MOST_COUNTED` files."""
    from camloc.data.formats.parts.files import IMAGE_ENDINGS

    images = videos = counted = 0
    for _, _, names in os.walk(root):
        images += sum(name.lower().endswith(IMAGE_ENDINGS) for name in names)
        videos += sum(name.lower().endswith(VIDEO_ENDINGS) for name in names)
        counted += len(names)
        if counted > _MOST_COUNTED:
            break
    return images, videos
