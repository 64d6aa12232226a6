"""From images to poses by the command line alone, as the README says it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation
from tests.support.command_line import camloc
from tests.support.trained import Made, small_scene
from torch.nn.utils import parameters_to_vector

from camloc import Located
from camloc.data import formats
from camloc.evaluation.results import Results
from camloc.inference.localizer import Localizer

Capture = pytest.CaptureFixture[str]
Matrix = NDArray[np.float64]


def images_of(trained: Path) -> list[Path]:
    return sorted((trained / "scene" / "seq-02").glob("*.color.png"))


def matrix_of(position: list[float], quaternion_wxyz: list[float]) -> Matrix:
    """A 4x4 matrix by SciPy."""
    w, x, y, z = quaternion_wxyz
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    matrix[:3, 3] = position
    return matrix


def numbers(words: list[str]) -> list[float]:
    return [float(word) for word in words]


def parsed_text(text: str) -> dict[str, Matrix]:
    poses = {}
    for line in text.splitlines():
        words = line.split()
        position, quaternion = words.index("position"), words.index("quaternion_wxyz")
        poses[words[0]] = matrix_of(
            numbers(words[position + 1 : position + 4]), numbers(words[quaternion + 1 : quaternion + 5])
        )
    return poses


def parsed_json(text: str) -> dict[str, Matrix]:
    return {row["image"]: matrix_of(row["position"], row["quaternion_wxyz"]) for row in json.loads(text)}


def parsed_tum(text: str, images: list[Path]) -> dict[str, Matrix]:
    poses = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            index, x, y, z, qx, qy, qz, qw = line.split()
            poses[str(images[int(index)])] = matrix_of(numbers([x, y, z]), numbers([qw, qx, qy, qz]))
    return poses


def parsed_colmap(folder: Path) -> dict[str, Matrix]:
    poses = {}
    for line in (folder / "images.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            words = line.split()
            cam_from_world = matrix_of(numbers(words[5:8]), numbers(words[1:5]))
            poses[words[9]] = np.asarray(np.linalg.inv(cam_from_world), np.float64)
    return poses


def assert_same(ours: dict[str, Matrix], theirs: dict[str, Matrix], *, within: float) -> None:
    assert list(ours) == list(theirs)
    for name, matrix in ours.items():
        np.testing.assert_allclose(theirs[name], matrix, rtol=0, atol=within)


def test_a_folder_is_described_and_converted(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    described = camloc(capfd, "datasets", trained / "scene")
    assert described.status == 0
    assert "layout sevenscenes, 18 training and 6 test frames" in described.out
    assert "the nearest training pose" in described.out
    imported = camloc(capfd, "import", trained / "scene", tmp_path / "table")
    assert imported.status == 0, imported.err
    assert f"camloc check {tmp_path / 'table'}" in imported.out
    again = formats.load(tmp_path / "table")
    assert [frame.name for frame in again.test] == [
        frame.name for frame in formats.load(trained / "scene").test
    ]


def test_training_writes_a_run_and_goes_on_with_it(
    trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.trained import tiny_recipe

    import camloc.recipes as base

    functions = {"tiny/hyperpose": lambda: tiny_recipe(epochs=2)}
    monkeypatch.setattr(base, "recipe_functions", lambda: functions)
    arguments = ("train", "tiny/hyperpose", "--data", trained / "scene", "--out", tmp_path / "run")
    ended = camloc(capfd, *arguments, "--seed", "3", "--layout", "sevenscenes")
    assert ended.status == 0, ended.err
    assert "training images" in ended.err
    assert f"camloc locate {tmp_path / 'run'}" in " ".join(ended.err.split())
    assert "median" in ended.out
    again = camloc(capfd, *arguments, "--seed", "3", "--layout", "sevenscenes")
    assert again.status == 0, again.err
    other = camloc(capfd, *arguments, "--seed", "4", "--layout", "sevenscenes")
    assert other.status == 1
    assert "other settings" in other.err


def test_training_in_bfloat16_is_reported_and_gives_other_weights(
    trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.trained import tiny_recipe

    import camloc.recipes as base
    from camloc.models.checkpoint import load_checkpoint

    functions = {"tiny/hyperpose": lambda: tiny_recipe(epochs=1)}
    monkeypatch.setattr(base, "recipe_functions", lambda: functions)
    weights = {}
    for precision in ("32-true", "bf16-mixed"):
        run = tmp_path / precision
        arguments = ("train", "tiny/hyperpose", "--data", trained / "scene", "--out", run)
        ended = camloc(capfd, *arguments, "--layout", "sevenscenes", "--precision", precision)
        assert ended.status == 0, ended.err
        training = Results.load(run / "results.json").training
        assert training is not None
        assert training.precision == precision
        assert ("in bfloat16" in (run / "report.html").read_text()) == (precision == "bf16-mixed")
        weights[precision] = parameters_to_vector(load_checkpoint(run / "last").model.parameters()).detach()
    single, mixed = weights.values()
    assert single.dtype == mixed.dtype == torch.float32
    assert not torch.equal(single, mixed)
    torch.testing.assert_close(mixed, single, atol=0.02, rtol=0)


def test_evaluating_leaves_results_estimates_trajectories_and_a_report(evaluated: Made) -> None:
    assert "report.html" in evaluated.err
    assert all(row in evaluated.out for row in ("test set", "nearest pose", "mean pose"))
    found = {path.name for path in evaluated.path.iterdir()}
    estimates = {"estimates.csv", "estimates.tum", "estimates.sha256"}
    assert found == {"results.json", *estimates, "truth.tum", "report.html"}
    results = Results.load(evaluated.path / "results.json")
    assert (results.train_frames, results.test_frames) == (18, 6)
    assert (results.recipe, results.scene) == ("tiny/hyperpose", "scene")
    assert "http" not in (evaluated.path / "report.html").read_text().replace("http://www.w3.org", "")


def test_the_written_estimates_are_those_of_the_localizer(trained: Path, evaluated: Made) -> None:
    localizer = Localizer.load(trained / "run")
    answers = {image.name: localizer.locate(image) for image in images_of(trained)}
    table = formats.load(evaluated.path / "estimates.csv", images=trained / "scene")
    frames = (*table.train, *table.test)
    assert len(frames) == len(answers) == 6
    for frame in frames:
        answer = answers[Path(frame.name).name]
        assert isinstance(answer, Located)
        np.testing.assert_allclose(frame.truth().matrix(), answer.world_from_cam.matrix(), rtol=0, atol=1e-5)


def test_the_written_truth_is_the_truth(evaluated: Made) -> None:
    with (evaluated.path / "estimates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth = small_scene().test
    for row, matrix in zip(rows, truth, strict=True):
        assert numbers([row[f"truth_{axis}"] for axis in ("tx", "ty", "tz")]) == pytest.approx(
            matrix[:3, 3].tolist(), abs=1e-8
        )
    stamps = [line.split()[0] for line in (evaluated.path / "truth.tum").read_text().splitlines()[1:]]
    assert stamps == [
        line.split()[0] for line in (evaluated.path / "estimates.tum").read_text().splitlines()[1:]
    ]


def test_all_formats_of_locate_hold_the_same_poses(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    images = images_of(trained)
    printed = {}
    for format in ("text", "json", "tum", "colmap"):
        out = ["--out", str(tmp_path)] if format == "colmap" else []
        ended = camloc(capfd, "locate", trained / "run", *images, "--format", format, *out)
        assert (ended.status, ended.err) == (0, "")
        printed[format] = ended.out
    exact = parsed_json(printed["json"])
    assert list(exact) == [str(image) for image in images]
    assert_same(exact, parsed_text(printed["text"]), within=2e-4)
    assert_same(exact, parsed_tum(printed["tum"], images), within=1e-7)
    assert_same(exact, parsed_colmap(tmp_path), within=1e-7)
    assert "expected error" in printed["text"]
    assert all(row["located"] and row["expected_error"]["meters"] > 0 for row in json.loads(printed["json"]))


def test_a_image_that_cannot_be_read_does_not_move_the_others(
    trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    first, last = images_of(trained)[:2]
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    arguments = ("locate", trained / "run", first, tmp_path / "broken.jpg", last)
    for format in ("text", "json", "tum", "csv"):
        ended = camloc(capfd, *arguments, "--format", format)
        assert ended.status == 1
        assert ended.err.startswith("camloc: ")
        assert len(ended.err.splitlines()) == 1
        if format == "json":
            assert [row["located"] for row in json.loads(ended.out)] == [True, False, True]
        if format == "tum":
            assert [line.split()[0] for line in ended.out.splitlines()[1:]] == ["0", "2"]
        if format == "csv":
            assert [bool(row["lost"]) for row in csv.DictReader(ended.out.splitlines())] == [
                False,
                True,
                False,
            ]


def test_a_blank_image_is_lost_and_the_status_is_0(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    Image.new("RGB", (64, 48), (90, 90, 90)).save(tmp_path / "blank.png")
    ended = camloc(capfd, "locate", trained / "run", tmp_path / "blank.png")
    assert ended == (0, f"{tmp_path / 'blank.png'}  lost: the image is blank\n", "")


def test_the_exported_file_gives_the_same_poses(trained: Path, exported: Made, capfd: Capture) -> None:
    assert exported.out == f"{exported.path}\n"
    assert "differ from the run's by at most" in exported.err
    images = images_of(trained)
    ours, theirs = (
        parsed_json(camloc(capfd, "locate", run, *images, "--format", "json").out)
        for run in (trained / "run", exported.path)
    )
    assert_same(ours, theirs, within=1e-4)


@pytest.mark.usefixtures("no_report")
def test_a_run_can_be_moved(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    import shutil

    shutil.copytree(trained / "run", tmp_path / "elsewhere")
    assert camloc(capfd, "evaluate", tmp_path / "elsewhere").status == 0
    assert camloc(capfd, "locate", tmp_path / "elsewhere" / "checkpoint", images_of(trained)[0]).status == 0
