"""Runs that are wrong: every command that reads them says so, and leaves nothing behind."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.command_line import camloc, listing, refused, sentence
from tests.support.damage import turned_into_folder

Capture = pytest.CaptureFixture[str]
Damage = Callable[[Path], object]

FACTS, WEIGHTS = "checkpoint/checkpoint.json", "checkpoint/weights.safetensors"

# Which commands read the files that are damaged.
CHECKPOINT = ("locate", "evaluate", "export")
FACTS_OF_RUN = ("evaluate",)


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, to be damaged."""
    monkeypatch.chdir(tmp_path)
    left_out = shutil.ignore_patterns("state.safetensors", "tensorboard")
    return shutil.copytree(trained / "run", tmp_path / "run", ignore=left_out)


def holding(path: str, data: str | bytes) -> Damage:
    return lambda run: (run / path).write_bytes(data.encode() if isinstance(data, str) else data)


def without(path: str) -> Damage:
    return lambda run: shutil.rmtree(run / path) if (run / path).is_dir() else (run / path).unlink()


def cut(path: str, share: float) -> Damage:
    def damage(run: Path) -> None:
        data = (run / path).read_bytes()
        (run / path).write_bytes(data[: int(len(data) * share)])

    return damage


def facts(path: str, *keys: str | int, value: object = None) -> Damage:
    """Give a place deep in a JSON file another value, or take it away."""

    def damage(run: Path) -> None:
        content = json.loads((run / path).read_text())
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        if value is None:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value
        (run / path).write_text(json.dumps(content))

    return damage


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(run: Path) -> None:
        tensors = load_file(run / WEIGHTS)
        change(tensors)
        save_file(tensors, run / WEIGHTS)

    return damage


def poses(change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    """Change the training poses that the weights' file holds."""

    def damage(tensors: dict[str, torch.Tensor]) -> None:
        tensors["training_poses.place"] = change(tensors["training_poses.place"])

    return weights(damage)


RUNS: dict[str, tuple[tuple[str, ...], Damage]] = {
    "no checkpoint": (CHECKPOINT, without("checkpoint")),
    "no facts": (CHECKPOINT, without(FACTS)),
    "no weights": (CHECKPOINT, without(WEIGHTS)),
    "facts are empty": (CHECKPOINT, holding(FACTS, "")),
    "facts are a list": (CHECKPOINT, holding(FACTS, "[1, 2]")),
    "facts are binary": (CHECKPOINT, holding(FACTS, b"\x80\x04\xff")),
    "facts are deep": (CHECKPOINT, holding(FACTS, "[" * 100_000)),
    "facts are a folder": (CHECKPOINT, turned_into_folder(FACTS)),
    **{f"facts cut at {share}": (CHECKPOINT, cut(FACTS, share)) for share in (0.1, 0.5, 0.9, 0.99)},
    "another format": (CHECKPOINT, facts(FACTS, "format", value=2)),
    "format is a word": (CHECKPOINT, facts(FACTS, "format", value="one")),
    "no format": (CHECKPOINT, facts(FACTS, "format")),
    "an unknown fact": (CHECKPOINT, facts(FACTS, "colour", value="red")),
    "an unknown setting": (CHECKPOINT, facts(FACTS, "config", "colour", value="red")),
    "an unknown setting deep down": (CHECKPOINT, facts(FACTS, "config", "backbone", "colour", value=1)),
    "a setting of another type": (CHECKPOINT, facts(FACTS, "config", "hidden", value="many")),
    "a negative width": (CHECKPOINT, facts(FACTS, "config", "hidden", value=-3)),
    "a width for giants": (CHECKPOINT, facts(FACTS, "config", "hidden", value=10**15)),
    "another width": (CHECKPOINT, facts(FACTS, "config", "hidden", value=17)),
    "an unknown network": (CHECKPOINT, facts(FACTS, "config", "backbone", "name", value="resnet_of_mine")),
    "another network": (CHECKPOINT, facts(FACTS, "config", "backbone", "name", value="test_vit")),
    "an unknown model": (CHECKPOINT, facts(FACTS, "model", value="hyperpoze")),
    "another model": (CHECKPOINT, facts(FACTS, "model", value="posenet")),
    "a module as a model": (CHECKPOINT, facts(FACTS, "model", value="parts.backbone")),
    "no places": (CHECKPOINT, facts(FACTS, "scenes", value=[])),
    "another place": (CHECKPOINT, facts(FACTS, "scenes", value=["kitchen"])),
    "places are a word": (CHECKPOINT, facts(FACTS, "scenes", value="place")),
    "pictures of no size": (CHECKPOINT, facts(FACTS, "preprocess", "width", value=0)),
    "pictures for giants": (CHECKPOINT, facts(FACTS, "preprocess", "height", value=10**9)),
    "weights are empty": (CHECKPOINT, holding(WEIGHTS, b"")),
    "weights are text": (CHECKPOINT, holding(WEIGHTS, "weights\n" * 500)),
    "weights are a pickle": (CHECKPOINT, holding(WEIGHTS, pickle.dumps({"weight": [1.0] * 99}))),
    "weights have an endless header": (CHECKPOINT, holding(WEIGHTS, b"\xff" * 64)),
    "weights are a folder": (CHECKPOINT, turned_into_folder(WEIGHTS)),
    **{f"weights cut at {share}": (CHECKPOINT, cut(WEIGHTS, share)) for share in (0.001, 0.2, 0.7, 0.999)},
    "weights lack one": (CHECKPOINT, weights(lambda tensors: tensors.pop("model.hidden.weight"))),
    "weights have one more": (CHECKPOINT, weights(lambda all: all.update({"model.x": torch.zeros(1)}))),
    "weights of another shape": (
        CHECKPOINT,
        weights(lambda all: all.update({"model.hidden.bias": torch.zeros(3)})),
    ),
    "no training poses": (CHECKPOINT, weights(lambda tensors: tensors.pop("training_poses.place"))),
    "empty training poses": (CHECKPOINT, poses(lambda rows: rows[:0])),
    "training poses of 6 numbers": (CHECKPOINT, poses(lambda rows: rows[:, :6].contiguous())),
    "flat training poses": (CHECKPOINT, poses(lambda rows: rows[0].clone())),
    "training poses that are NaN": (CHECKPOINT, poses(lambda rows: rows * torch.nan)),
    "training poses of zeros": (CHECKPOINT, poses(torch.zeros_like)),
    "no run.json": (FACTS_OF_RUN, without("run.json")),
    "run.json is empty": (FACTS_OF_RUN, holding("run.json", "")),
    "run.json is cut": (FACTS_OF_RUN, cut("run.json", 0.6)),
    "run.json is a folder": (FACTS_OF_RUN, turned_into_folder("run.json")),
    "run.json has an unknown fact": (FACTS_OF_RUN, facts("run.json", "colour", value="red")),
    "run.json lacks the data": (FACTS_OF_RUN, facts("run.json", "data")),
    "run.json has a word as seed": (FACTS_OF_RUN, facts("run.json", "seed", value="lucky")),
    "the data are gone": (FACTS_OF_RUN, facts("run.json", "data", 0, "root", value="/nowhere/at/all")),
    "the data have another layout": (FACTS_OF_RUN, facts("run.json", "data", 0, "layout", value="tum")),
    "the data have an unknown layout": (FACTS_OF_RUN, facts("run.json", "data", 0, "layout", value="tun")),
    "the data have an unknown option": (
        FACTS_OF_RUN,
        facts("run.json", "data", 0, "options", "x", value="1"),
    ),
    "the log is no JSON": (FACTS_OF_RUN, holding("log.jsonl", '{"epoch": 1\n')),
    "the log is binary": (FACTS_OF_RUN, holding("log.jsonl", b"\xff\xfe\x00")),
    "the log is a folder": (FACTS_OF_RUN, turned_into_folder("log.jsonl")),
    "the last weights are cut": (FACTS_OF_RUN, cut("last/weights.safetensors", 0.5)),
    "the last facts are gone": (FACTS_OF_RUN, without("last/checkpoint.json")),
}


@pytest.mark.parametrize("what", RUNS)
def test_a_run_that_is_damaged(what: str, trained: Path, run: Path, tmp_path: Path, capfd: Capture) -> None:
    commands, damage = RUNS[what]
    damage(run)
    before = listing(tmp_path)
    photo = next((trained / "place" / "seq-02").glob("*.color.png"))
    for command in commands:
        told = refused(capfd, command, run, *([photo] if command == "locate" else []))
        assert len(told) < 500
        assert listing(tmp_path) == before


def test_what_is_no_run_at_all(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "file").write_text("no run")
    (tmp_path / "empty").mkdir()
    before = listing(tmp_path)
    photo = next((trained / "place" / "seq-02").glob("*.color.png"))
    for name in ("file", "empty", "missing", "file/run", "x" * 400):
        for command in ("locate", "evaluate", "export"):
            refused(capfd, command, tmp_path / name, *([photo] if command == "locate" else []))
    assert listing(tmp_path) == before


def test_weights_that_are_no_numbers_lose_every_photograph(trained: Path, run: Path, capfd: Capture) -> None:
    weights(lambda tensors: tensors["model.hidden.weight"].fill_(torch.nan))(run)
    photo = next((trained / "place" / "seq-02").glob("*.color.png"))
    ended = camloc(capfd, "locate", run, photo)
    assert ended.status == 0
    assert "lost: the network's answer is not a number" in ended.out


def test_a_place_that_cannot_be_written_to(trained: Path, run: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "taken.onnx").mkdir()
    before = listing(tmp_path)
    place = trained / "place"
    for arguments in (
        ("evaluate", run, "--out", tmp_path / "file"),
        ("evaluate", run, "--out", tmp_path / "file" / "below"),
        ("export", run, "--out", tmp_path / "taken.onnx"),
        ("export", run, "--out", tmp_path / "model.bin"),
        ("train", "demo/hyperpose", "--data", place, "--out", tmp_path / "file"),
        ("train", "demo/hyperpose", "--data", place, "--out", run),
    ):
        refused(capfd, *arguments)
        assert listing(tmp_path) == before


@pytest.mark.parametrize("to", ["colmap", "nerfstudio", "table", "tum"])
def test_a_disk_that_is_full(
    to: str, trained: Path, run: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out").mkdir()
    before = listing(tmp_path)
    out = tmp_path / "out" if to == "colmap" else tmp_path / "out" / "poses.csv"
    ended = camloc(capfd, "datasets", trained / "place", "--to", to, "--out", out)
    assert ended.status == 1
    assert "the disk is full" in sentence(ended.err)
    assert "disk is full" in refused(capfd, "evaluate", run, "--out", tmp_path / "out")
    arguments = ("train", "demo/hyperpose", "--data", trained / "place", "--out", tmp_path / "out")
    assert "disk is full" in refused(capfd, *arguments)
    assert listing(tmp_path) == before


def test_options_of_evaluate_without_data(run: Path, capfd: Capture) -> None:
    for option in (("--scene", "x"), ("--layout", "tum"), ("--option", "split=a"), ("--test-list", "a.txt")):
        assert "--data" in refused(capfd, "evaluate", run, *option)
