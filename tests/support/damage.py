"""Ways to spoil a data set that `tests.support.layouts` wrote, and what must come of them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camloc.core.files import sha256_of
from camloc.core.sealed import PLACEHOLDER, sealed, with_own_checksum
from camloc.data import formats as datasets
from camloc.errors import DatasetError
from tests.support.layouts import WRITERS, make_scene

Damage = Callable[[Path], None]

SCENE = make_scene()

# Layout, what is wrong, how it is made so, and what the sentence must hold.
Case = tuple[str, str, Damage, tuple[str, ...]]


def refusal(root: Path, **options: Any) -> str:
    """The sentence with which a folder is refused."""
    with pytest.raises(DatasetError) as caught:
        datasets.load(root, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    assert caught.value.__cause__ is None
    return message


def reseal(folder: Path, name: str = "checkpoint.json") -> None:
    """Give a changed checkpoint checksums that fit, so that what is wrong must be found in its content.

    Files that are missing or cannot be read stay as they are.
    """
    try:
        content = json.loads((folder / name).read_text())
        weights = sha256_of(folder / "weights.safetensors")
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(content, dict):
        (folder / name).write_text(json.dumps(sealed(content, weights)))


def reseal_file(path: Path) -> None:
    """Give a changed file that holds its own checksum one that fits; a file without any stays as it is."""
    data = re.sub(rb"sha256:[0-9a-f]{64}", PLACEHOLDER.encode(), path.read_bytes())
    path.write_bytes(with_own_checksum(data))


def edited(path: str, line: int, change: Callable[[str], str]) -> Damage:
    """A damage that changes one line of a text file."""

    def damage(root: Path) -> None:
        lines = (root / path).read_text().splitlines()
        lines[line - 1] = change(lines[line - 1])
        (root / path).write_text("\n".join(lines) + "\n")

    return damage


def replaced(path: str, content: str | bytes) -> Damage:
    """A damage that gives a file another content."""

    def damage(root: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (root / path).write_bytes(data)

    return damage


def removed(path: str) -> Damage:
    return lambda root: (root / path).unlink()


def turned_into_folder(path: str) -> Damage:
    def damage(root: Path) -> None:
        (root / path).unlink()
        (root / path).mkdir()

    return damage


def word(number: int, text: str, separator: str | None = None) -> Callable[[str], str]:
    """A change of one word of a line."""

    def change(line: str) -> str:
        words = line.split(separator)
        words[number] = text
        return (separator or " ").join(words)

    return change


def transforms(change: Callable[[dict[str, Any]], None]) -> Damage:
    """A damage of the content of `transforms.json`."""

    def damage(root: Path) -> None:
        content = json.loads((root / "transforms.json").read_text())
        change(content)
        (root / "transforms.json").write_text(json.dumps(content))

    return damage


def frame_two(**values: Any) -> Damage:
    """A damage of the frame number 2 of `transforms.json`."""
    return transforms(lambda content: content["frames"][2].update(values))


SHEARED = [[1.0, 0.1, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
MIRRORED = np.diag([1.0, 1.0, -1.0, 1.0]).tolist()
TRANSPOSED = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [2.0, 3.0, 4.0, 1.0]]


def lines(rows: list[list[float]]) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def cut(path: str) -> Damage:
    """A damage that takes the end of a file away."""

    def damage(root: Path) -> None:
        (root / path).write_bytes((root / path).read_bytes()[:-5])

    return damage


def parameters(cases: list[Case]) -> list[Any]:
    """The cases as pytest takes them."""
    return [
        pytest.param(variant, damage, sentence, id=f"{variant}-{wrong}")
        for variant, wrong, damage, sentence in cases
    ]


def check(root: Path, variant: str, damage: Damage, sentence: tuple[str, ...]) -> None:
    """Write a scene, spoil it, and look for the words in the sentence with which it is refused."""
    options = WRITERS[variant](root, SCENE)
    damage(root)
    message = refusal(root, **options)
    for part in sentence:
        assert part in message
