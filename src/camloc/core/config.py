"""Settings (frozen dataclasses) as JSON and back; an unknown key is an error."""

import json
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec

from camloc.errors import RecipeError

Settings = TypeVar("Settings")


def to_json(settings: object) -> bytes:
    """Settings (dataclasses, tuples, numbers, strings) as indented JSON with a final newline.

    Raises:
        RecipeError: a number is infinite or NaN, which JSON cannot express.
    """
    try:
        text = json.dumps(to_builtins(settings), indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError:
        name = type(settings).__name__
        raise RecipeError(f"{name} has a number that is infinite or NaN, which JSON cannot express") from None
    return text.encode() + b"\n"


def to_builtins(settings: object) -> Any:
    """Settings as plain dicts, lists, numbers and strings."""
    return msgspec.to_builtins(settings)


def from_builtins(data: Any, kind: type[Settings]) -> Settings:
    """Settings of type `kind` from plain dicts, lists, numbers and strings.

    Raises:
        RecipeError: a key that `kind` does not have, a missing key, or a value of another type.
    """
    try:
        settings = msgspec.convert(data, kind)
    except msgspec.ValidationError as problem:
        raise RecipeError(f"{kind.__name__}: {problem}") from None
    if unknown := _unknown_key(data, settings):
        raise RecipeError(f"{kind.__name__} has no setting '{unknown}'")
    return settings


def from_json(text: bytes, kind: type[Settings]) -> Settings:
    """Settings of type `kind` from JSON.

    Raises:
        RecipeError: not JSON, an unknown or missing key, or a value of another type.
    """
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise RecipeError(f"{kind.__name__} is not JSON: {problem}") from None
    return from_builtins(data, kind)


def _unknown_key(data: Any, settings: object) -> str | None:
    """The first key of `data` that `settings` does not have, with the path to it."""
    if isinstance(data, dict) and is_dataclass(settings):
        known = {field.name for field in fields(settings)}
        for key, value in data.items():
            if key not in known:
                return str(key)
            if inner := _unknown_key(value, getattr(settings, key)):
                return f"{key}.{inner}"
    if isinstance(data, dict) and isinstance(settings, dict):
        for key, value in data.items():
            if inner := _unknown_key(value, settings.get(key)):
                return f"{key}.{inner}"
    if isinstance(data, list | tuple) and isinstance(settings, list | tuple):
        for index, (value, item) in enumerate(zip(data, settings, strict=True)):
            if inner := _unknown_key(value, item):
                return f"{index}.{inner}"
    return None
