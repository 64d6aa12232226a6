"""`camloc figure`, `camloc compare`, `camloc convert` and the rows of `camloc evaluate`, on a small run."""

import csv
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.support import authors
from tests.support.command_line import camloc, refused
from tests.support.trained import Made

from camloc.data.formats import load
from camloc.data.types import Frame
from camloc.evaluation.published import Published
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.evaluation.table import format_table
from camloc.inference.pooled_retrieval import network_errors
from camloc.inference.torch_network import TorchNetwork
from camloc.models.base import Regressor
from camloc.models.checkpoint import load_checkpoint
from camloc.runs.manifest import RunManifest

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


def test_a_run_that_lost_every_image_has_no_figure_of_errors(
    evaluated: Made, tmp_path: Path, capfd: Capture
) -> None:
    shutil.copy(evaluated.path / RESULTS_NAME, tmp_path / RESULTS_NAME)
    with (evaluated.path / "estimates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "estimates.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"tx": ""} for row in rows)
    for name in ("trajectories", "errors"):
        assert "are lost" in refused(capfd, "figure", name, tmp_path)


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
    printed = Published(
        results.scene, 0.08, 5.68, "0.08 m 5.68°", "TransPoseNet (2021), Table 3", "depth SLAM", "a misprint"
    )
    monkeypatch.setattr(table, "published_of", lambda recipe: (printed,) if recipe == results.recipe else ())
    text = format_table(results)
    assert "printed in the paper" in text
    assert "0.08 m 5.68°" in text
    assert "depth SLAM" in text
    assert "a misprint" in text


def test_retrieval_by_pooled_features_is_that_of_a_plain_recomputation(trained: Path) -> None:
    checkpoint = load_checkpoint(trained / "run")
    scene = load(trained / "scene")
    found = network_errors(TorchNetwork(checkpoint), scene.train, scene.test)["nearest"]
    model = checkpoint.model
    assert isinstance(model, Regressor)

    def vector(frame: Frame) -> torch.Tensor:
        image = checkpoint.metadata.preprocess.view(frame).image[None].float() / 255.0
        with torch.no_grad():
            maps = model.backbone.forward_with_novelty_maps(image)[1]
        return torch.cat([each[0].mean((1, 2)) / each[0].mean((1, 2)).norm() for each in maps])

    known = [vector(frame) for frame in scene.train]
    for row, frame in enumerate(scene.test):
        query = vector(frame)
        nearest = min(range(len(known)), key=lambda number: float((known[number] - query).norm()))
        step = scene.train[nearest].truth().translation - frame.truth().translation
        assert found.meters[row] == pytest.approx(
            float(torch.linalg.vector_norm(torch.as_tensor(step))), abs=1e-6
        )


def test_figures_of_occlusion_points_and_decoded_images(
    evaluated: Made, trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    for name in ("estimates.csv", "results.json"):
        shutil.copy(evaluated.path / name, run / name)
    camloc(capfd, "figure", "occlusion", run, "--baseline", evaluated.path, "--out", tmp_path / "o.svg")
    assert b"image" in (tmp_path / "o.svg").read_bytes()
    assert "predicts no points" in refused(capfd, "figure", "points", run)
    assert "--decoder" in refused(capfd, "figure", "decoded", run)


def test_a_comparison_of_two_methods_of_three_seeds_says_which_difference_is_noise(
    evaluated: Made, trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    """The second method errs as much as the first in position, and a tenth of it in orientation."""
    manifest = RunManifest.load(trained / "run")
    with (evaluated.path / "estimates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for method, share in (("plain", 1.0), ("turned", 0.1)):
        for seed in range(3):
            run = tmp_path / method / f"seed-{seed}"
            run.mkdir(parents=True)
            replace(manifest, recipe=f"tiny/{method}", seed=seed).save(run)
            shutil.copy(evaluated.path / RESULTS_NAME, run / RESULTS_NAME)
            with (run / "estimates.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                for number, row in enumerate(rows):
                    writer.writerow(row | _moved(row, 0.2 + 0.01 * number + 0.005 * seed, 4.0 * share))
    shown = camloc(capfd, "compare", tmp_path / "plain", tmp_path / "turned", "--out", tmp_path / "page")
    (sentence,) = [line for line in " ".join(shown.out.split()).split(";") if "turned minus" in line]
    position, orientation = sentence.split("), ")
    assert position.endswith("(noise")
    assert orientation.endswith("(smaller)")
    assert "single runs" not in shown.out


def _moved(row: dict[str, str], meters: float, degrees: float) -> dict[str, str]:
    """The estimate of a row: the truth, moved and turned about the camera's x axis."""
    names = ("tx", "ty", "tz", "qw", "qx", "qy", "qz")
    keys = [key for key in row if key.startswith("truth_") and key[6:].startswith(names)]
    values = [float(row[key]) for key in keys]
    half = math.radians(degrees) / 2.0
    w, x, y, z = values[3:]
    cos, sin = math.cos(half), math.sin(half)
    turned = (w * cos - x * sin, w * sin + x * cos, y * cos + z * sin, z * cos - y * sin)
    moved = (values[0] + meters, *values[1:3], *turned)
    return {key[6:]: repr(value) for key, value in zip(keys, moved, strict=True)}
