"""Data sets: one layout a file. A file's name is its layout's name; nothing is registered.

`load(root)` finds out which layout a folder has and reads it. A layout is a module with `SCENES` (the names
of the scenes that it is known for), `LOOKS_FOR` (what `fits` looks for, in words), `fits(root)` and
`load(root, scene, **options)`, which gives a `Scene`. Nothing is ever downloaded.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from camloc.errors import DatasetError

if TYPE_CHECKING:
    from camloc.data.types import Scene

# What a data set of camloc's own making describes itself with, so that its module needs no `fits`.
SCENE_FILE = "scene.json"

LAYOUTS = tuple(sorted(entry.name for entry in pkgutil.iter_modules(__path__) if entry.name != "parts"))


def load(root: Path, *, layout: str = "auto", scene: str | None = None, **options: Any) -> "Scene":
    """Read a scene.

    Args:
        root: the folder of the data, or its file of poses.
        layout: one of `LAYOUTS`, or "auto" to find out.
        scene: which scene, where `root` holds several; otherwise what to call it instead of its own name.
        options: those of the layout's own `load`; paths and numbers may be given as text.

    Raises:
        DatasetError: the layout is not clear, has no such option, or the data cannot be used as they are.
    """
    name = detect(root) if layout == "auto" else layout
    read = _module(name).load
    found: Scene = read(root, scene or "", **_converted(options, read, name))
    return found


def detect(root: Path) -> str:
    """The layout that a folder, or a file of poses, has.

    A table of poses beside data in a layout of its own does not count.

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
            wanted = "; ".join(getattr(module, "LOOKS_FOR", SCENE_FILE) for module in modules.values())
            raise DatasetError(f"{root} has no layout that is known; looked for: {wanted}")
        case several:
            raise DatasetError(f"{root} has more than one layout; choose one of {', '.join(several)}")


def scene_names(root: Path, *, layout: str = "auto") -> tuple[str, ...]:
    """The scenes that stand side by side in a folder, or where their layout has them, in alphabetical order.

    Raises:
        DatasetError: there is no such layout, or there are none.
    """
    modules = [_module(name) for name in (LAYOUTS if layout == "auto" else (layout,))]
    inside = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    known = {name for module in modules for name in getattr(module, "SCENES", ())}
    found = tuple(
        name for name in sorted(inside | known) if any(_fits(module, root / name) for module in modules)
    )
    if not found:
        raise DatasetError(f"{root} does not hold scenes side by side; name the folder of one scene")
    return found


def option_types(layout: str) -> dict[str, Any]:
    """The options of a layout's `load`, with their types.

    Raises:
        DatasetError: there is no such layout.
    """
    return _option_types(_module(layout).load)


def word_options(layout: str) -> tuple[str, ...]:
    """The options of a layout's `load` that a word can give, as on a command line.

    Raises:
        DatasetError: there is no such layout.
    """
    return tuple(name for name, hint in option_types(layout).items() if not _is_object(hint))


def _module(name: str) -> ModuleType:
    if name not in LAYOUTS:
        raise DatasetError(f"there is no layout {name!r}; the layouts are {', '.join(LAYOUTS)}")
    return importlib.import_module(f"{__name__}.{name}")


def _fits(module: ModuleType, root: Path) -> bool:
    fits: Callable[[Path], bool] | None = getattr(module, "fits", None)
    return (root / SCENE_FILE).is_file() if fits is None else fits(root)


def _option_types(read: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(read)
    parameters = inspect.signature(read).parameters.values()
    return {each.name: hints[each.name] for each in parameters if each.kind is each.KEYWORD_ONLY}


def _converted(options: dict[str, Any], read: Callable[..., Any], layout: str) -> dict[str, Any]:
    """Options in the types that the layout asks for."""
    types = _option_types(read)
    for name in options:
        if name not in types:
            known = ", ".join(types) or "none"
            raise DatasetError(f"the layout {layout} has no option {name!r}; its options: {known}")
    return {name: _as_type(name, value, types[name]) for name, value in options.items()}


def _as_type(name: str, value: Any, hint: Any) -> Any:
    """A value that may have been a word on a command line or in a file."""
    if not isinstance(value, str):
        return value
    if _is_object(hint):
        raise DatasetError(f"the option {name} cannot be given as a word; give it in Python")
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    choices = [choice for literal in literals for choice in get_args(literal)]
    if choices and value not in choices:
        raise DatasetError(f"the option {name} is one of {', '.join(choices)}, not {value!r}")
    if Path in get_args(hint):
        return Path(value)
    if hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            raise DatasetError(f"the option {name} is a number, not {value!r}") from None
    return (value,) if get_origin(hint) is Collection else value


def _is_object(hint: Any) -> bool:
    """Whether a value of the type is neither a word, a number, a path nor a list of words."""
    return any(is_dataclass(part) for part in (hint, *get_args(hint)))
