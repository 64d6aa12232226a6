"""Files with checksums: a JSON file of settings with the weights that belong to it, and single files.

The JSON file of such a pair holds the SHA-256 of the weights (`weights_sha256`) and of its own content
(`sha256`). A pair is replaced such that a reader always finds a whole pair, whenever the writer is killed:
the new weights are written beside the old ones, then the JSON file is replaced, which makes them valid, and
then they take the name of the old ones.

A single file holds its own checksum: that of its content with `PLACEHOLDER` in the checksum's place.
"""

import hashlib
import json
import mmap
import os
import re
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from camloc.core.config import from_builtins, to_builtins, to_json
from camloc.core.files import read_regular, sha256_of, write_atomically, writing
from camloc.errors import CamlocError, RecipeError

Settings = TypeVar("Settings")

_OWN, _WEIGHTS = "sha256", "weights_sha256"

# Largest whole number in the settings of a network, such as a width; and the largest number of its layers,
# blocks and scenes, and of the entries of a list.
MOST_WIDTH = 65_536
MOST_PARTS = 1_000
_PARTS = ("layers", "blocks", "scenes", "groups")

# Levels of nested settings.
_DEEPEST = 50


# What stands for the checksum of a single file while it is computed, and its key in a JSON file.
PLACEHOLDER = "sha256:" + 64 * "0"
CHECKSUM = "checksum"

# How far from the start or the end of a file its checksum is looked for, in bytes.
_NEAR = 2**26
_FOUND = re.compile(rb"sha256:[0-9a-f]{64}")


class SealError(CamlocError):
    """A file or a pair of files that is damaged; the message is a phrase behind the name of the file."""


def write_pair(path: Path, settings: object, weights_path: Path, weights: bytes) -> None:
    """Write settings as JSON and the weights beside them.

    Args:
        path: of the JSON file.
        settings: a dataclass with the field `format`.
        weights_path: of the weights, in the same folder.
        weights: content of the file.

    Raises:
        CamlocError: the folder cannot be written.
    """
    content = json.loads(to_json(settings))
    write_atomically(_next(weights_path), weights)
    try:
        write_atomically(path, to_json(sealed(content, hashlib.sha256(weights).hexdigest())))
    except CamlocError:
        _next(weights_path).unlink(missing_ok=True)
        raise
    with writing(weights_path):
        _next(weights_path).replace(weights_path)


def read_settings(path: Path, kind: type[Settings], *, format: int) -> tuple[Settings, str]:
    """The settings in the JSON file of a pair, and the SHA-256 of the weights that belong to it.

    Args:
        path: of the JSON file.
        kind: type of the settings.
        format: version that is read; other versions are refused before anything else is read.

    Raises:
        SealError: the file cannot be read, is of another version, or does not have its checksum.
    """
    try:
        data = read_regular(path)
        content = msgspec.json.decode(data)
        json.loads(data, parse_float=_exact)
    except (ValueError, RecursionError) as problem:  # also msgspec's, and text that is not UTF-8
        raise SealError(f"cannot be read: it is not JSON: {problem}") from None
    except OSError as problem:
        raise SealError(f"cannot be read: {problem}") from None
    if not isinstance(content, dict):
        raise SealError("cannot be read: it is not a JSON object")
    found = content.get("format")
    if isinstance(found, int) and found != format:
        raise SealError(f"has format {found}, this version of camloc reads {format}")
    weights = content.pop(_WEIGHTS, None)
    own = content.pop(_OWN, None)
    if not isinstance(weights, str) or own != sealed(content, weights)[_OWN]:
        raise SealError("is damaged: its content does not have its checksum")
    try:
        return from_builtins(content, kind), weights
    except RecipeError as problem:
        raise SealError(f"cannot be read: {problem}") from None


def _exact(text: str) -> float:
    """A number of a file that camloc wrote; other digits of the same number are damage."""
    number = float(text)
    if text != repr(number):
        raise ValueError(f"{text} was not written by camloc")
    return number


def with_own_checksum(data: bytes) -> bytes:
    """The content of a single file with its checksum in the place of `PLACEHOLDER`, which it holds once."""
    return data.replace(PLACEHOLDER.encode(), f"sha256:{hashlib.sha256(data).hexdigest()}".encode(), 1)


def check_own_checksum(path: Path, *, near: Literal["start", "end"]) -> None:
    """Check the checksum that a single file holds; the file is not read into memory.

    Args:
        path: of the file.
        near: where the checksum is looked for first.

    Raises:
        SealError: the file has no checksum, or another one, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file, closing(_mapped(file.fileno())) as data:
            _check(data, near=near)
    except (OSError, ValueError) as problem:  # an empty file cannot be mapped
        raise SealError(f"cannot be read: {problem}") from None


def _mapped(descriptor: int) -> mmap.mmap:
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


def _check(data: mmap.mmap | bytes, *, near: Literal["start", "end"]) -> None:
    # A file of many gigabytes, such as one with a hole, is not searched as a whole.
    end = max(0, len(data) - _NEAR)
    place = data.find(b"sha256:", 0, _NEAR) if near == "start" else data.rfind(b"sha256:", end)
    found = _FOUND.match(data[place : place + len(PLACEHOLDER)]) if place >= 0 else None
    if found is None:
        raise SealError("has no checksum: it is damaged, or not of this version of camloc")
    with memoryview(data) as view:
        digest = hashlib.sha256(view[:place])
        digest.update(PLACEHOLDER.encode())
        digest.update(view[place + len(PLACEHOLDER) :])
    if found[0] != f"sha256:{digest.hexdigest()}".encode():
        raise SealError("is damaged: it does not have its checksum")


def sealed_json(settings: object) -> bytes:
    """Settings as a JSON file with its own checksum under the key `checksum`."""
    return with_own_checksum(to_json({CHECKSUM: PLACEHOLDER, **to_builtins(settings)}))


def unsealed_json(data: bytes, kind: type[Settings]) -> Settings:
    """The settings in a file of `sealed_json`.

    A file without the key is accepted: who edits such a file deletes its checksum.

    Raises:
        SealError: the file does not have its checksum.
        RecipeError: not JSON, an unknown or missing key, or a value of another type.
    """
    try:
        content = msgspec.json.decode(data)
    except (ValueError, RecursionError) as problem:  # also msgspec's, and text that is not UTF-8
        raise RecipeError(f"{kind.__name__} is not JSON: {problem}") from None
    if isinstance(content, dict) and CHECKSUM in content:
        try:
            _check(data, near="start")
        except SealError as problem:
            raise SealError(f"{problem}; if you edited it, delete its line {CHECKSUM!r}") from None
        del content[CHECKSUM]
    return from_builtins(content, kind)


def write_checksums(path: Path, files: Sequence[Path]) -> None:
    """Write a list of the checksums of files of its folder, which `sha256sum --check` reads too.

    Raises:
        CamlocError: the list cannot be written.
    """
    write_atomically(path, "".join(f"{sha256_of(each)}  {each.name}\n" for each in files))


def check_listed(path: Path, checksums: Path) -> None:
    """Check a file against a list of checksums; without a list, every file passes.

    Raises:
        SealError: the list has another checksum for this name, or cannot be read.
    """
    if not os.path.lexists(checksums):
        return
    try:
        lines = [line.split(b"  ", 1) for line in read_regular(checksums).splitlines()]
        listed = {file.decode(): digest.decode() for digest, file in lines}
    except (OSError, ValueError):
        raise SealError(f"cannot be checked: {checksums} is damaged; delete that file to read it") from None
    if listed.get(path.name) != sha256_of(path):
        raise SealError(
            f"is damaged: it has not its checksum in {checksums.name}; if you edited it, delete that file"
        )


def weights_of_pair(weights_path: Path, sha256: str) -> Path:
    """The weights file that has the given checksum: `weights_path`, or the file that is about to replace it.

    Raises:
        SealError: neither has that checksum.
    """
    for candidate in (weights_path, _next(weights_path)):
        with suppress(OSError):
            if sha256_of(candidate) == sha256:
                return candidate
    if not weights_path.exists():
        raise SealError("is missing")
    raise SealError("is damaged: it does not have its checksum")


def sealed(content: dict[str, Any], weights_sha256: str) -> dict[str, Any]:
    """The content of the JSON file of a pair with its checksums, in place of any earlier ones."""
    inner = {name: value for name, value in content.items() if name != _OWN} | {_WEIGHTS: weights_sha256}
    # Whatever the spaces and the order of the names.
    text = json.dumps(inner, sort_keys=True).encode()
    return inner | {_OWN: hashlib.sha256(text).hexdigest()}


def _next(weights_path: Path) -> Path:
    return weights_path.with_name(f"{weights_path.stem}.next{weights_path.suffix}")


def size_beyond_bounds(config: Any, name: str = "", depth: int = 0) -> str:
    """A phrase for the first setting that would make a network a giant, or "".

    Args:
        config: settings of a network as plain dicts, lists, numbers and strings.
        name: of the setting that `config` is the value of; "" for all settings.
        depth: levels above `config`.
    """
    if depth > _DEEPEST:
        return f"{name[:100]} is nested more than {_DEEPEST} levels deep"
    if isinstance(config, int):
        most = MOST_PARTS if name.rpartition(".")[2] in _PARTS else MOST_WIDTH
        return f"{name} is {config:,}, more than {most:,}" if abs(config) > most else ""
    if isinstance(config, list | tuple) and len(config) > MOST_PARTS:
        return f"{name} has {len(config):,} entries, more than {MOST_PARTS:,}"
    items: list[tuple[str, Any]] = []
    if isinstance(config, dict):
        items = [(f"{name}.{key}".removeprefix("."), value) for key, value in config.items()]
    elif isinstance(config, list | tuple):
        items = [(name, value) for value in config]
    return next((found for key, value in items if (found := size_beyond_bounds(value, key, depth + 1))), "")
