"""Locating needs no torch: with a map, with an exported network, and with both from one folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.integration.conftest import made
from tests.support.blocked import WITHOUT_TORCH
from tests.support.command_line import camloc, refused, sentence
from tests.support.models import small_config
from tests.support.trained import Made

from camloc import Localizer, Located
from camloc.data import formats
from camloc.data.image_io import Preprocess
from camloc.data.types import poses_of
from camloc.evaluation.results import Results
from camloc.mapping.scene_map import load_maps, save_maps
from camloc.models import build_model
from camloc.models.checkpoint import save_checkpoint
from camloc.models.metadata import metadata_for

Capture = pytest.CaptureFixture[str]


def without_torch(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """A command in a process that cannot import torch, its relatives, or what draws reports."""
    program = f"{WITHOUT_TORCH}from camloc.cli.main import main\nmain({[*map(str, arguments)]!r})"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(square: Path, square_map: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a map and with a network that has learned nothing but the mean pose."""
    folder = tmp_path_factory.mktemp("both")
    config = small_config("hyperpose")
    torch.manual_seed(0)
    model = build_model("hyperpose", config)
    poses = poses_of(formats.load(square).train).tensor()
    model.observe(poses)
    (scene_map,) = load_maps(square_map).values()
    metadata = metadata_for("hyperpose", config, Preprocess(64, 48), (scene_map.scene,))
    save_checkpoint(folder / "checkpoint", metadata, model, (poses,))
    save_maps(folder, [scene_map])
    return folder


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    """Everything of that run as one folder."""
    assert made("export", run).out == f"{run / 'export'}\n"
    return run / "export"


def matrix(answer: dict[str, Any]) -> np.ndarray:
    return np.array(answer["world_from_cam"])


def test_both_from_one_folder(run: Path, bundle: Path, square: Path) -> None:
    assert {each.name for each in bundle.iterdir()} == {"README.md", "bundle.json", "map", "model.onnx"}
    images = [frame.image for frame in formats.load(square).test[:2]]
    for verify in ("auto", "never"):
        ended = without_torch("locate", bundle, *images, "--format", "json", "--verify", verify)
        assert ended.returncode == 0, ended.stderr
        localizer = Localizer.load(run, verify="auto" if verify == "auto" else "never")
        for answer, image in zip(json.loads(ended.stdout), images, strict=True):
            expected = localizer.locate(image)
            assert isinstance(expected, Located)
            assert answer["verified"] == expected.is_verified == (verify == "auto")
            np.testing.assert_allclose(matrix(answer), expected.world_from_cam.matrix(), rtol=0, atol=1e-5)


def test_an_exported_network_alone(trained: Path, exported: Made) -> None:
    image = next((trained / "scene" / "seq-02").glob("*.color.png"))
    ended = without_torch("locate", exported.path, image, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    (answer,) = json.loads(ended.stdout)
    expected = Localizer.load(trained / "run").locate(image)
    assert isinstance(expected, Located)
    np.testing.assert_allclose(matrix(answer), expected.world_from_cam.matrix(), rtol=0, atol=1e-5)


def test_a_map_alone_is_exported_and_evaluated(square_map: Path, square: Path, tmp_path: Path) -> None:
    ended = without_torch("export", square_map, "--out", tmp_path / "map")
    assert ended.returncode == 0, ended.stderr
    assert {each.name for each in (tmp_path / "map").iterdir()} == {"README.md", "bundle.json", "map"}
    ended = without_torch("evaluate", tmp_path / "map", "--data", square, "--out", tmp_path / "results")
    assert ended.returncode == 0, ended.stderr
    assert "camloc[report]" in ended.stderr
    assert Results.load(tmp_path / "results" / "results.json").headline.estimates.lost == 0
    assert not (tmp_path / "results" / "report.html").exists()


def test_what_needs_torch_names_the_extra(run: Path, square: Path, tmp_path: Path) -> None:
    image = formats.load(square).test[0].image
    for arguments in (
        ("train", "demo/hyperpose", "--data", square, "--out", tmp_path),
        ("locate", run, image),
    ):
        ended = without_torch(*arguments)
        assert ended.returncode == 1
        assert "pip install 'camloc[train]'" in sentence(ended.stderr)


def test_a_damaged_bundle_is_refused(bundle: Path, square: Path, capfd: Capture) -> None:
    image = formats.load(square).test[0].image
    network = bundle / "model.onnx"
    whole = network.read_bytes()
    for damaged in (whole[:-1], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], None):
        try:
            network.unlink() if damaged is None else network.write_bytes(damaged)
            assert "export the run again" in refused(capfd, "locate", bundle, image)
        finally:
            network.write_bytes(whole)
    manifest = (bundle / "bundle.json").read_text()
    for text in ("", "{}", manifest.replace('"format": 1', '"format": 7')):
        try:
            (bundle / "bundle.json").write_text(text)
            assert "bundle.json" in refused(capfd, "locate", bundle, image)
        finally:
            (bundle / "bundle.json").write_text(manifest)


def test_an_export_replaces_only_an_export(square_map: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "letter.txt").write_text("Dear Madam")
    assert "other files" in refused(capfd, "export", square_map, "--out", tmp_path)
    assert camloc(capfd, "export", square_map, "--out", tmp_path / "map").status == 0
    assert camloc(capfd, "export", square_map, "--out", tmp_path / "map").status == 0
    assert "exported already" in refused(capfd, "export", tmp_path / "map")
    assert "other files" in refused(capfd, "export", square_map, "--out", square_map)
    assert "neither a network nor a map" in refused(capfd, "export", tmp_path, "--out", tmp_path / "new")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed; it runs the page's module")
def test_the_page_in_the_browser_decodes_as_camloc_does(bundle: Path) -> None:
    """The module of examples/browser reads the metadata of the file, and makes a pose of outputs."""
    module = (Path(__file__).parents[2] / "examples" / "browser" / "decode.js").as_uri()
    program = f"""
        import {{ decode, middle, planes, readAbout }} from "{module}";
        import {{ readFileSync }} from "node:fs";
        const about = readAbout(new Uint8Array(readFileSync({json.dumps(str(bundle / "model.onnx"))})));
        console.log(JSON.stringify({{
          about, pose: decode(about, [1, 2, 3], [2, 0, 0, 0]),
          middle: middle(100, 200, {{ width: 40, height: 30 }}),
          planes: Array.from(planes([255, 0, 51, 255, 0, 255, 0, 255])),
        }}));
    """
    ended = subprocess.run(
        ["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    stored = onnxruntime.InferenceSession(bundle / "model.onnx").get_modelmeta().custom_metadata_map["camloc"]
    assert found["about"] == json.loads(stored)
    (center,) = found["about"]["decoding"]["centers"]
    np.testing.assert_allclose(found["pose"]["position"], np.add(center, [1, 2, 3]))
    assert found["pose"]["quaternion_wxyz"] == [1, 0, 0, 0]
    np.testing.assert_allclose(found["middle"], [0, 62.5, 100, 75])
    np.testing.assert_allclose(found["planes"], [1, 0, 0, 1, 0.2, 0], atol=1e-7)
