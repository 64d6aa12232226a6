"""`camloc map`: from posed images to verified poses, by the commands and in Python."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.command_line import camloc, refused

from camloc import Localizer, Located, Lost
from camloc.data import formats
from camloc.evaluation.results import Results
from camloc.geometry.pose import pose_error
from camloc.inference.localizer import MAP

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def scene(square: Path) -> Path:
    return square


@pytest.fixture
def run(square_map: Path) -> Path:
    return square_map


def test_test_images_are_verified_at_their_true_poses(run: Path, scene: Path) -> None:
    localizer = Localizer.load(run)
    frames = formats.load(scene).test
    errors = []
    for frame, estimate in zip(frames, localizer.locate_all(frames), strict=True):
        assert isinstance(estimate, Located)
        assert estimate.is_verified
        errors.append(float(pose_error(estimate.world_from_cam, frame.truth()).meters))
    assert float(np.median(errors)) < 0.03


def test_an_image_alone_is_located_as_among_others_and_by_its_path_as_with_its_camera(
    run: Path, scene: Path
) -> None:
    localizer = Localizer.load(run)
    frames = formats.load(scene).test[:3]
    together = list(localizer.locate_all(frames))
    for frame, estimate in zip(frames, together, strict=True):
        for alone in (localizer.locate(frame.image), localizer.locate(frame.image, camera=frame.camera)):
            assert isinstance(alone, Located)
            assert isinstance(estimate, Located)
            assert np.array_equal(alone.world_from_cam.matrix(), estimate.world_from_cam.matrix())


def test_the_command_says_how_a_pose_was_verified(run: Path, scene: Path, capfd: Capture) -> None:
    image = formats.load(scene).test[0].image
    assert "verified by" in camloc(capfd, "locate", run, image).out
    (answer,) = json.loads(camloc(capfd, "locate", run, image, "--format", "json").out)
    assert answer["verified"] is True
    assert answer["unit"] == "m"
    assert np.array(answer["covariance"]).shape == (6, 6)
    assert answer["verification"]["inliers"] >= 12
    assert set(answer["expected_error"]) == {"meters", "degrees"}


@pytest.mark.parametrize("kind", ["noise", "mirrored"])
def test_images_of_nothing_in_the_map_are_lost(kind: str, run: Path, scene: Path, tmp_path: Path) -> None:
    with Image.open(formats.load(scene).test[0].image) as image:
        pixels = np.asarray(image)
    noise = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    Image.fromarray(noise if kind == "noise" else pixels[:, ::-1]).save(tmp_path / "foreign.png")
    estimate = Localizer.load(run).locate(tmp_path / "foreign.png")
    assert isinstance(estimate, Lost)
    assert estimate.reason


def test_the_evaluation_of_a_map_has_results_and_a_report(run: Path, tmp_path: Path, capfd: Capture) -> None:
    assert camloc(capfd, "evaluate", run, "--out", tmp_path).status == 0
    results = Results.load(tmp_path / "results.json")
    assert results.refined_by == MAP
    assert results.headline.estimates.lost == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_every_changed_byte_of_a_map_is_noticed(run: Path, tmp_path: Path, capfd: Capture) -> None:
    run = shutil.copytree(run, tmp_path / "run")
    files = sorted((run / "map" / "0").iterdir())
    assert [path.name for path in files] == ["map.json", "map.safetensors"]
    image = tmp_path / "image.png"
    Image.new("RGB", (64, 48)).save(image)
    rng = np.random.default_rng(0)
    for path in files:
        whole = path.read_bytes()
        for position in rng.integers(0, len(whole), 20).tolist():
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(damaged)
            assert "map" in refused(capfd, "locate", run, image)
        path.write_bytes(whole)


def test_what_cannot_be_done_is_one_sentence(run: Path, scene: Path, tmp_path: Path, capfd: Capture) -> None:
    assert "is not a size" in refused(
        capfd, "map", scene, "--out", tmp_path / "m", "--size", "many", status=2
    )
    assert "holds nothing" in refused(capfd, "map", scene, "--out", tmp_path / "m", "--size", "10B", status=2)
    assert "knows its data" in refused(capfd, "map", run, "--data", scene, status=2)
    assert "no checkpoint" in refused(
        capfd, "locate", run, formats.load(scene).test[0].image, "--verify", "never"
    )
    assert "no network" in refused(
        capfd, "locate", run, formats.load(scene).test[0].image, "--refine", "neighbours"
    )
