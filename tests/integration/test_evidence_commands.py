"""`camloc figure`, `camloc compare`, `camloc convert` and the rows of `camloc evaluate`, on a small run."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.support import authors
from tests.support.command_line import camloc, refused
from tests.support.trained import Made

from camloc.evaluation.published import Published
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.evaluation.table import format_table
from camloc.models.checkpoint import load_checkpoint

Capture = pytest.CaptureFixture[str]


def test_trajectories_and_errors_are_drawn_from_an_evaluation(
    evaluated: Made, tmp_path: Path, capfd: Capture
) -> None:
    for name in ("trajectories", "errors"):
        camloc(capfd, "figure", name, evaluated.path, "--out", tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.svg").read_bytes().startswith(b"<?xml")


def test_a_figure_that_a_run_has_not_is_refused_in_a_sentence(
    trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    run = trained / "run"
    assert "Transformer" in refused(capfd, "figure", "attention", run)
    assert ".svg" in refused(capfd, "figure", "errors", run, "--out", tmp_path / "errors.png", status=2)
    assert "clusters" in refused(capfd, "figure", "clusters", run, "--clusters", "1")
    assert "camloc evaluate" in refused(capfd, "figure", "errors", run, "--out", tmp_path / "errors.svg")


def test_a_run_is_compared_with_its_own_trajectory(evaluated: Made, tmp_path: Path, capfd: Capture) -> None:
    message = camloc(
        capfd, "compare", evaluated.path, evaluated.path / "estimates.tum", "--out", tmp_path / "page"
    )
    assert "noise" in message.out
    assert "larger" not in message.out
    for name in ("index.html", "errors.csv", "table.tex", "trajectories.svg"):
        assert (tmp_path / "page" / name).stat().st_size > 200
    assert "one source" in refused(capfd, "compare", evaluated.path)
    assert "--truth" in refused(capfd, "compare", evaluated.path / "estimates.tum", status=2)
    assert "does not exist" in refused(capfd, "compare", tmp_path / "nothing", status=2)


def test_published_weights_become_a_run(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    torch.manual_seed(0)
    theirs = authors.shaken(authors.PoseNet())
    weights, run = tmp_path / "theirs.pth", tmp_path / "run"
    torch.save({"epoch": 3, "model_state_dict": theirs.state_dict()}, weights)
    words = ("convert", weights, "--data", trained / "scene", "--out", run)
    message = camloc(capfd, *words, "--as", "posenet/released-efficientnet-b0")
    assert "_fc" in message.err
    checkpoint = load_checkpoint(run)
    assert (checkpoint.metadata.model, checkpoint.metadata.recipe) == (
        "posenet",
        "published/posenet/released-efficientnet-b0",
    )
    encoder = tmp_path / "encoder.safetensors"
    safetensors.torch.save_file(authors.PoseEncoder(256, has_scenes=False).state_dict(), encoder)
    camloc(capfd, "convert", encoder, "--as", "pose_autoencoder", "--run", run)
    assert (run / "autoencoder" / "autoencoder.json").exists()
    # What is not a file of weights of this network is refused, and nothing in it is executed.
    torch.save(theirs, tmp_path / "whole.pth")
    other = (*words[:1], tmp_path / "whole.pth", *words[2:])
    assert "weights alone" in refused(capfd, *other, "--as", "posenet/released-efficientnet-b0")
    assert "another preset" in refused(capfd, *words, "--as", "transposenet/released")
    assert "no preset" in refused(capfd, *words, "--as", "posenet/nothing")
    assert "MODEL/PRESET" in refused(capfd, *words, "--as", "posenet", status=2)
    assert "--run" in refused(capfd, "convert", encoder, "--as", "pose_autoencoder", status=2)


def test_an_evaluation_shows_the_row_of_the_paper(evaluated: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from camloc.evaluation import table

    results = Results.load(evaluated.path / RESULTS_NAME)
    assert "printed" not in format_table(results)
    printed = Published(results.scene, 0.08, 5.68, "TransPoseNet (2021), Table 3", "depth SLAM", "a misprint")
    monkeypatch.setattr(table, "published_of", lambda recipe: (printed,) if recipe == results.recipe else ())
    text = format_table(results)
    assert "printed in the paper" in text
    assert "0.08 m 5.68°" in text
    assert "depth SLAM" in text
    assert "a misprint" in text
