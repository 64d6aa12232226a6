"""Options that several commands share."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from camloc.errors import RecipeError

if TYPE_CHECKING:
    from camloc.recipes.settings import DataSource
    from camloc.training.pretrained import Weights

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

Device = Literal["cpu", "cuda", "mps", "auto"]


def seconds(duration: str) -> float:
    """Seconds of a duration such as "90s", "20m" or "1.5h".

    Raises:
        RecipeError: it is not a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", duration.strip())
    if match is None or float(match[1]) <= 0:
        raise RecipeError(f"'{duration}' is not a duration; write 90s, 20m or 1.5h")
    return float(match[1]) * _UNITS[match[2]]


def reader_options(words: tuple[str, ...]) -> dict[str, str]:
    """Options of a data set's reader from words such as `split=blocks`.

    Raises:
        RecipeError: a word is not of that form.
    """
    pairs = [word.partition("=") for word in words]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise RecipeError(f"'{name}{equals}{value}' is not NAME=VALUE, as in split=blocks")
    return {name.replace("-", "_"): value for name, _, value in pairs}


def data_source(
    root: Path, *, layout: str, scene: str, options: tuple[str, ...], **lists: Path | None
) -> "DataSource":
    """The frames that the options name; paths are made absolute, so that a run can be moved."""
    from camloc.recipes.settings import DataSource

    named = {name: str(path.resolve()) for name, path in lists.items() if path is not None}
    return DataSource(str(root.resolve()), layout, scene, {**reader_options(options), **named})


def backbone_weights(choice: str) -> "Weights":
    """ "none", "hub", or the file that is named."""
    match choice:
        case "none":
            return "none"
        case "hub":
            return "hub"
        case path:
            return Path(path).resolve()
