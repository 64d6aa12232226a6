"""An exported file is evaluated like the run that it was exported from, and its results name the runtime."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.command_line import camloc, listing, refused
from tests.support.trained import Made

from camloc.evaluation.results import Results
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import DataSource, RunManifest

Capture = pytest.CaptureFixture[str]


def test_an_exported_file_has_the_accuracy_of_its_run(
    trained: Path, exported: Made, tmp_path: Path, capfd: Capture
) -> None:
    ended = camloc(capfd, "evaluate", exported.path, "--data", trained / "scene", "--out", tmp_path / "found")
    assert ended.status == 0, ended.err
    ours = evaluate_run(trained / "run", out=tmp_path / "run").results
    theirs = Results.load(tmp_path / "found" / "results.json")
    one, other = ours.headline.estimates, theirs.headline.estimates
    assert other.meters.median == pytest.approx(one.meters.median)
    assert other.degrees.median == pytest.approx(one.degrees.median, rel=1e-3)
    assert (theirs.model, theirs.recipe, theirs.parameters) == (ours.model, ours.recipe, ours.parameters)
    assert theirs.headline.nearest_training_pose == ours.headline.nearest_training_pose
    assert (ours.runtime, theirs.runtime) == ("PyTorch", "ONNX Runtime")
    assert (theirs.training, theirs.final_epoch, theirs.settings) == (None, None, {})
    assert "ONNX Runtime" in (tmp_path / "found" / "report.html").read_text()


def test_its_results_are_in_a_folder_beside_it(trained: Path, exported: Made, tmp_path: Path) -> None:
    path = tmp_path / "shipped.onnx"
    path.write_bytes(exported.path.read_bytes())
    report = evaluate_run(path, data=DataSource(str(trained / "scene"))).report
    assert report == tmp_path / "shipped" / "report.html"
    assert (tmp_path / "shipped" / "estimates.csv").exists()
    assert {each.name for each in tmp_path.iterdir()} == {"shipped.onnx", "shipped"}


def test_without_images_its_evaluation_is_refused(exported: Made, tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "shipped.onnx"
    path.write_bytes(exported.path.read_bytes())
    before = listing(tmp_path)
    assert "name them with --data" in refused(capfd, "evaluate", path)
    assert listing(tmp_path) == before


@pytest.mark.usefixtures("no_report")
def test_int8_is_an_option_of_the_export(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    run = tmp_path / "run"
    run.symlink_to(trained / "run")
    path = tmp_path / "small.onnx"
    ended = camloc(capfd, "export", run, "--precision", "int8", "--out", path)
    assert (ended.status, ended.out) == (0, f"{path}\n"), ended.err
    assert "camloc evaluate measures" in ended.err
    assert "median errors on held-out training images: " in ended.err
    assert "layers" in ended.err
    assert "pre-processing" not in ended.err
    results = evaluate_run(path, data=DataSource(str(trained / "scene"))).results
    assert results.runtime == "ONNX Runtime, int8"
    # Six frames and a model of a few seconds of training: similar to the run's own, and not equal.
    own = evaluate_run(trained / "run", out=tmp_path / "own").results.headline.estimates.meters.median
    found = results.headline.estimates.meters.median
    assert found is not None
    assert own is not None
    assert found != own
    assert found == pytest.approx(own, rel=0.2)


def test_int8_without_the_training_images_says_what_is_missing(
    trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "run" / "checkpoint", run / "checkpoint")
    manifest = RunManifest.load(trained / "run")
    replace(manifest, data=(DataSource(str(tmp_path / "moved")),)).save(run)
    ended = camloc(capfd, "export", run, "--precision", "int8", "--input", "image")
    assert ended.status == 0, ended.err
    message = " ".join(ended.err.split())
    assert str(tmp_path / "moved") in message
    assert "without training images convolutions stay in single precision: put the images back" in message
    (frame,) = sorted((trained / "scene" / "seq-02").glob("*.color.png"))[:1]
    located = camloc(capfd, "locate", run / "export", frame, "--profile")
    assert located.status == 0, located.err
    for stage in ("reading the file", "resizing", "network", "decoding", "acceptance", "all"):
        assert f"{stage} " in located.err
