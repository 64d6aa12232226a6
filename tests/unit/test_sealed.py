"""A pair of files with checksums: damage is always noticed, and a killed writer leaves a whole pair."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from camloc.core import sealed as module
from camloc.core.sealed import (
    PLACEHOLDER,
    SealError,
    check_own_checksum,
    read_settings,
    sealed_json,
    size_beyond_bounds,
    unsealed_json,
    weights_of_pair,
    with_own_checksum,
    write_pair,
)
from camloc.errors import RecipeError


@dataclass(frozen=True)
class Settings:
    """Of a network."""

    format: int
    width: int = 3
    share: float = 1.0
    names: tuple[str, ...] = ()
    sizes: dict[str, float] | None = None


ENDS: tuple[Literal["start", "end"], ...] = ("start", "end")
SETTINGS = Settings(7, share=0.1, names=("a", "ü"), sizes={"b": 1.0, "a": 2.5})


def written(folder: Path, settings: Settings = SETTINGS, weights: bytes = b"old") -> tuple[Path, Path]:
    paths = folder / "settings.json", folder / "weights.bin"
    write_pair(paths[0], settings, paths[1], weights)
    return paths


def read(folder: Path) -> tuple[Settings, bytes]:
    settings, sha256 = read_settings(folder / "settings.json", Settings, format=7)
    return settings, weights_of_pair(folder / "weights.bin", sha256).read_bytes()


def test_a_pair_is_read_as_it_was_written(tmp_path: Path) -> None:
    written(tmp_path)
    assert read(tmp_path) == (SETTINGS, b"old")
    assert {path.name for path in tmp_path.iterdir()} == {"settings.json", "weights.bin"}
    written(tmp_path, weights=b"new")
    assert read(tmp_path) == (SETTINGS, b"new")


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    for path in written(tmp_path):
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
            with pytest.raises(SealError):
                read(tmp_path)
        path.write_bytes(whole)
    assert read(tmp_path) == (SETTINGS, b"old")


def test_files_of_two_pairs_do_not_fit(tmp_path: Path) -> None:
    written(tmp_path / "one")
    _, weights = written(tmp_path / "other", weights=b"new")
    (tmp_path / "one" / "weights.bin").write_bytes(weights.read_bytes())
    with pytest.raises(SealError, match="does not have its checksum"):
        read(tmp_path / "one")
    weights.unlink()
    with pytest.raises(SealError, match="is missing"):
        read(tmp_path / "other")


def test_another_version_is_reported_before_damage(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"format": 6, "without": "checksums"}')
    with pytest.raises(SealError, match="has format 6, this version of camloc reads 7"):
        read_settings(tmp_path / "settings.json", Settings, format=7)


@pytest.mark.parametrize("step", range(1, 4))
def test_a_writer_that_is_killed_leaves_a_whole_pair(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the first, the second and the third file takes its name."""
    written(tmp_path)
    taken: list[Path] = []
    replace = Path.replace

    def counted(self: Path, target: Path) -> Path:
        taken.append(target)
        if len(taken) == step:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", counted)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, Settings(7, width=4), b"new")
    monkeypatch.undo()
    assert read(tmp_path) == ((SETTINGS, b"old") if step < 3 else (Settings(7, width=4), b"new"))
    written(tmp_path, Settings(7, width=5), b"newest")
    assert read(tmp_path) == (Settings(7, width=5), b"newest")
    assert {path.name for path in tmp_path.iterdir()} == {"settings.json", "weights.bin"}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"hidden": 10**6}, "hidden"),
        ({"encoder": {"layers": 1001}}, "encoder.layers"),
        ({"grid": [2, 10**15]}, "grid"),
        ({"backbone": {"options": {"channels": [1] * 1001}}}, "backbone.options.channels"),
        ({"hidden": -(10**6)}, "hidden"),
    ],
)
def test_settings_of_giants_are_named(config: dict[str, Any], name: str) -> None:
    assert size_beyond_bounds(config).startswith(f"{name} ")


def test_settings_within_the_bounds_are_accepted() -> None:
    config = {"hidden": module.MOST_WIDTH, "layers": 12, "rate": 1e9, "grid": (6, 8), "name": "x" * 2000}
    assert size_beyond_bounds(config) == ""


def test_every_flipped_bit_of_a_single_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    whole = sealed_json(SETTINGS)
    assert unsealed_json(whole, Settings) == SETTINGS
    for place in range(len(whole)):
        for bit in (1, 1 << place % 8):
            with pytest.raises((SealError, RecipeError)):
                unsealed_json(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :], Settings)
    path.write_bytes(b"head" + with_own_checksum(f"{PLACEHOLDER} and more".encode()))
    for near in ENDS:
        with pytest.raises(SealError, match="does not have its checksum"):
            check_own_checksum(path, near=near)
    path.write_bytes(with_own_checksum(f"head {PLACEHOLDER} and more".encode()))
    for near in ENDS:
        check_own_checksum(path, near=near)
    path.write_bytes(b"nothing")
    with pytest.raises(SealError, match="has no checksum"):
        check_own_checksum(path, near="end")


def test_who_edits_a_file_deletes_its_checksum() -> None:
    edited = sealed_json(SETTINGS).replace(b'"width": 3', b'"width": 4')
    with pytest.raises(SealError, match="if you edited it, delete its line 'checksum'"):
        unsealed_json(edited, Settings)
    lines = [line for line in edited.decode().splitlines() if '"checksum"' not in line]
    assert unsealed_json("\n".join(lines).encode(), Settings).width == 4


def test_other_digits_of_the_same_number_are_noticed(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    path.write_text(path.read_text().replace("0.1", "0.10"))
    with pytest.raises(SealError, match=r"0\.10"):
        read(tmp_path)
