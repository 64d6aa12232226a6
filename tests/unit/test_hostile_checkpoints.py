"""Checkpoints that somebody made to do harm are refused before anything is opened or allocated."""

import json
import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.damage import reseal
from tests.support.models import some_poses
from tests.support.trained import tiny_recipe

from camloc.core.files import MOST_JSON_BYTES
from camloc.errors import CheckpointError
from camloc.models import build_model
from camloc.models.checkpoint import load_checkpoint, save_checkpoint
from camloc.models.metadata import metadata_for
from camloc.runs.manifest import RunManifest

JSON, WEIGHTS = "checkpoint.json", "weights.safetensors"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    recipe = tiny_recipe()
    model = build_model(recipe.model, recipe.config)
    metadata = metadata_for("hyperpose", recipe.config, recipe.preprocess, ("scene",))
    save_checkpoint(tmp_path, replace(metadata, epoch=3), model, (some_poses(9),))
    assert load_checkpoint(tmp_path).metadata.epoch == 3
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def with_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / JSON).read_text())
    change(content["config"])
    (folder / JSON).write_text(json.dumps(content))
    reseal(folder)


@pytest.mark.parametrize("name", [JSON, WEIGHTS])
def test_a_pipe_is_not_waited_for(name: str, saved: Path) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    assert name in refusal(saved)


def test_metadata_of_many_megabytes_are_not_read(saved: Path) -> None:
    with (saved / JSON).open("ab") as file:
        file.truncate(MOST_JSON_BYTES + 1)
    assert f"more than {MOST_JSON_BYTES:,} bytes" in refusal(saved)
    (saved / "run.json").write_bytes(b" " * (MOST_JSON_BYTES + 1))
    with pytest.raises(CheckpointError, match="more than"):
        RunManifest.load(saved)
    (saved / "run.json").unlink()
    os.mkfifo(saved / "run.json")
    with pytest.raises(CheckpointError, match="not a regular file"):
        RunManifest.load(saved)


def test_an_option_cannot_open_a_file(saved: Path) -> None:
    (saved / "secret").write_text("secret")
    path = str(saved / "secret")
    with_config(saved, lambda config: config["backbone"]["options"].update(checkpoint_path=path))
    assert "no option 'checkpoint_path'" in refusal(saved)


@pytest.mark.parametrize(
    ("change", "printed"),
    [
        (lambda config: config.update(hidden=10**6), "hidden is 1,000,000"),
        (lambda config: config.update(hidden=60_000), "does not fit"),
        (lambda config: config.update(grid=[10**15, 1]), "grid is"),
        (lambda config: config.update(grid=[60_000, 60_000]), "does not fit"),
        (lambda config: config["hypernetwork"].update(position=60_000), "does not fit"),
        (lambda config: config["backbone"].update(name="vit_giant_patch14_224"), "does not fit"),
    ],
)
def test_a_giant_is_refused_before_it_is_allocated(
    change: Callable[[dict[str, Any]], object], printed: str, saved: Path
) -> None:
    with_config(saved, change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert printed in refusal(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000, "kilobytes"


def test_flipped_bits_and_zeroed_pages_are_noticed(saved: Path) -> None:
    for name in (JSON, WEIGHTS):
        whole = (saved / name).read_bytes()
        for number in range(40):
            place = (number * 7919 + 13) * len(whole) // (40 * 7919 + 13)
            flipped = whole[:place] + bytes([whole[place] ^ (1 << number % 8)]) + whole[place + 1 :]
            (saved / name).write_bytes(flipped)
            refusal(saved)
        (saved / name).write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
        refusal(saved)
        (saved / name).write_bytes(whole)
    assert load_checkpoint(saved).metadata.epoch == 3


def test_a_checkpoint_without_checksums_is_of_another_version(saved: Path) -> None:
    content = json.loads((saved / JSON).read_text())
    old = {name: value for name, value in content.items() if "sha256" not in name}
    (saved / JSON).write_text(json.dumps(old | {"format": 1}))
    assert "has format 1, this version of camloc reads 2" in refusal(saved)
    (saved / JSON).write_text(json.dumps(old))
    assert "does not have its checksum" in refusal(saved)
