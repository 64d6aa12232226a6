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
from tests.support.damage import reseal, turned_into_folder

Capture = pytest.CaptureFixture[str]
Damage = Callable[[Path], object]

METADATA, WEIGHTS = "checkpoint/checkpoint.json", "checkpoint/weights.safetensors"

# Which commands read the files that are damaged.
CHECKPOINT = ("locate", "evaluate", "export")
METADATA_OF_RUN = ("evaluate",)


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


def metadata(path: str, *keys: str | int, value: object = None) -> Damage:
    """Give a scene deep in a JSON file another value, or take it away."""

    def damage(run: Path) -> None:
        content = json.loads((run / path).read_text())
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        if value is None:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value
        content.pop("checksum", None)
        (run / path).write_text(json.dumps(content))
        if path == METADATA:
            reseal((run / path).parent)

    return damage


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(run: Path) -> None:
        tensors = load_file(run / WEIGHTS)
        change(tensors)
        save_file(tensors, run / WEIGHTS)
        reseal((run / WEIGHTS).parent)

    return damage


def poses(change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    """Change the training poses that the weights' file holds."""

    def damage(tensors: dict[str, torch.Tensor]) -> None:
        tensors["training_poses.scene"] = change(tensors["training_poses.scene"])

    return weights(damage)


RUNS: dict[str, tuple[tuple[str, ...], Damage]] = {
    "no checkpoint": (CHECKPOINT, without("checkpoint")),
    "no metadata": (CHECKPOINT, without(METADATA)),
    "no weights": (CHECKPOINT, without(WEIGHTS)),
    "metadata are empty": (CHECKPOINT, holding(METADATA, "")),
    "metadata are a list": (CHECKPOINT, holding(METADATA, "[1, 2]")),
    "metadata are binary": (CHECKPOINT, holding(METADATA, b"\x80\x04\xff")),
    "metadata are deep": (CHECKPOINT, holding(METADATA, "[" * 100_000)),
    "metadata are a folder": (CHECKPOINT, turned_into_folder(METADATA)),
    **{f"metadata cut at {share}": (CHECKPOINT, cut(METADATA, share)) for share in (0.1, 0.5, 0.9, 0.99)},
    "another format": (CHECKPOINT, metadata(METADATA, "format", value=1)),
    "format is a word": (CHECKPOINT, metadata(METADATA, "format", value="one")),
    "no format": (CHECKPOINT, metadata(METADATA, "format")),
    "an unknown fact": (CHECKPOINT, metadata(METADATA, "colour", value="red")),
    "an unknown setting": (CHECKPOINT, metadata(METADATA, "config", "colour", value="red")),
    "an unknown setting deep down": (CHECKPOINT, metadata(METADATA, "config", "backbone", "colour", value=1)),
    "a setting of another type": (CHECKPOINT, metadata(METADATA, "config", "hidden", value="many")),
    "a negative width": (CHECKPOINT, metadata(METADATA, "config", "hidden", value=-3)),
    "a width for giants": (CHECKPOINT, metadata(METADATA, "config", "hidden", value=10**15)),
    "another width": (CHECKPOINT, metadata(METADATA, "config", "hidden", value=17)),
    "an unknown network": (
        CHECKPOINT,
        metadata(METADATA, "config", "backbone", "name", value="resnet_of_mine"),
    ),
    "another network": (CHECKPOINT, metadata(METADATA, "config", "backbone", "name", value="test_vit")),
    "an unknown model": (CHECKPOINT, metadata(METADATA, "model", value="hyperpoze")),
    "another model": (CHECKPOINT, metadata(METADATA, "model", value="posenet")),
    "a module as a model": (CHECKPOINT, metadata(METADATA, "model", value="parts.backbone")),
    "no scenes": (CHECKPOINT, metadata(METADATA, "scenes", value=[])),
    "another scene": (CHECKPOINT, metadata(METADATA, "scenes", value=["kitchen"])),
    "scenes are a word": (CHECKPOINT, metadata(METADATA, "scenes", value="scene")),
    "images of no size": (CHECKPOINT, metadata(METADATA, "preprocess", "width", value=0)),
    "images for giants": (CHECKPOINT, metadata(METADATA, "preprocess", "height", value=10**9)),
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
    "no training poses": (CHECKPOINT, weights(lambda tensors: tensors.pop("training_poses.scene"))),
    "empty training poses": (CHECKPOINT, poses(lambda rows: rows[:0])),
    "training poses of 6 numbers": (CHECKPOINT, poses(lambda rows: rows[:, :6].contiguous())),
    "flat training poses": (CHECKPOINT, poses(lambda rows: rows[0].clone())),
    "training poses that are NaN": (CHECKPOINT, poses(lambda rows: rows * torch.nan)),
    "training poses of zeros": (CHECKPOINT, poses(torch.zeros_like)),
    "no run.json": (METADATA_OF_RUN, without("run.json")),
    "run.json is empty": (METADATA_OF_RUN, holding("run.json", "")),
    "run.json is cut": (METADATA_OF_RUN, cut("run.json", 0.6)),
    "run.json is a folder": (METADATA_OF_RUN, turned_into_folder("run.json")),
    "run.json has an unknown fact": (METADATA_OF_RUN, metadata("run.json", "colour", value="red")),
    "run.json lacks the data": (METADATA_OF_RUN, metadata("run.json", "data")),
    "run.json has a word as seed": (METADATA_OF_RUN, metadata("run.json", "seed", value="lucky")),
    "the data are gone": (METADATA_OF_RUN, metadata("run.json", "data", 0, "root", value="/nowhere/at/all")),
    "the data have another layout": (METADATA_OF_RUN, metadata("run.json", "data", 0, "layout", value="tum")),
    "the data have an unknown layout": (
        METADATA_OF_RUN,
        metadata("run.json", "data", 0, "layout", value="tun"),
    ),
    "the data have an unknown option": (
        METADATA_OF_RUN,
        metadata("run.json", "data", 0, "options", "x", value="1"),
    ),
    "the log is no JSON": (METADATA_OF_RUN, holding("log.jsonl", '{"epoch": 1\n')),
    "the log is binary": (METADATA_OF_RUN, holding("log.jsonl", b"\xff\xfe\x00")),
    "the log is a folder": (METADATA_OF_RUN, turned_into_folder("log.jsonl")),
    "the last weights are cut": (METADATA_OF_RUN, cut("last/weights.safetensors", 0.5)),
    "the last metadata are gone": (METADATA_OF_RUN, without("last/checkpoint.json")),
}


@pytest.mark.parametrize("what", RUNS)
def test_a_run_that_is_damaged(what: str, trained: Path, run: Path, tmp_path: Path, capfd: Capture) -> None:
    commands, damage = RUNS[what]
    damage(run)
    before = listing(tmp_path)
    image = next((trained / "scene" / "seq-02").glob("*.color.png"))
    for command in commands:
        words = [image] if command == "locate" else []
        # A layout or an option that does not exist is a wrong word wherever it stands.
        status = 2 if what in ("the data have an unknown layout", "the data have an unknown option") else 1
        message = refused(capfd, command, run, *words, status=status)
        assert len(message) < 500
        assert listing(tmp_path) == before


def test_what_is_no_run_at_all(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "file").write_text("no run")
    (tmp_path / "empty").mkdir()
    before = listing(tmp_path)
    image = next((trained / "scene" / "seq-02").glob("*.color.png"))
    for name in ("file", "empty", "missing", "file/run", "x" * 400):
        for command in ("locate", "evaluate", "export"):
            refused(capfd, command, tmp_path / name, *([image] if command == "locate" else []))
    assert listing(tmp_path) == before


def test_weights_that_are_no_numbers_lose_every_image(trained: Path, run: Path, capfd: Capture) -> None:
    weights(lambda tensors: tensors["model.hidden.weight"].fill_(torch.nan))(run)
    image = next((trained / "scene" / "seq-02").glob("*.color.png"))
    ended = camloc(capfd, "locate", run, image)
    assert ended.status == 0
    assert "lost: the network's pose is not a number" in ended.out


def test_a_scene_that_cannot_be_written_to(trained: Path, run: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "taken.onnx").mkdir()
    before = listing(tmp_path)
    scene = trained / "scene"
    for arguments in (
        ("evaluate", run, "--out", tmp_path / "file"),
        ("evaluate", run, "--out", tmp_path / "file" / "below"),
        ("export", run, "--out", tmp_path / "taken.onnx"),
        ("export", run, "--out", tmp_path / "file"),
        ("export", run, "--out", tmp_path),
        ("train", "demo/hyperpose", "--data", scene, "--out", tmp_path / "file"),
        ("train", "demo/hyperpose", "--data", scene, "--out", run),
    ):
        refused(capfd, *arguments)
        assert listing(tmp_path) == before


@pytest.mark.parametrize("to", ["colmap", "kitti", "nerfstudio", "table", "tum"])
def test_a_disk_that_is_full(
    to: str, trained: Path, run: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out").mkdir()
    before = listing(tmp_path)
    ended = camloc(capfd, "import", trained / "scene", tmp_path / "out", "--to", to)
    assert ended.status == 1
    assert "the disk is full" in sentence(ended.err)
    assert "disk is full" in refused(capfd, "evaluate", run, "--out", tmp_path / "out")
    arguments = ("train", "demo/hyperpose", "--data", trained / "scene", "--out", tmp_path / "out")
    assert "disk is full" in refused(capfd, *arguments)
    assert listing(tmp_path) == before


def test_options_of_evaluate_without_data(run: Path, capfd: Capture) -> None:
    for option in (("--scene", "x"), ("--layout", "tum"), ("--option", "split=a"), ("--test-list", "a.txt")):
        assert "--data" in refused(capfd, "evaluate", run, *option, status=2)
