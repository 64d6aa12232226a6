"""Scene geometry from posed images to located ones: filters, masks, focal lengths, ONNX."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.command_line import camloc, listing, refused
from tests.support.models import TINY_BACKBONE
from tests.support.networks import network_of
from tests.support.trained import HEIGHT, WIDTH, scene_with_cache

from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.data.types import Located, Lost, poses_of
from camloc.geometry import Camera, pose_error
from camloc.inference.localizer import Localizer
from camloc.models.base import GeometryModel
from camloc.models.checkpoint import load_checkpoint
from camloc.models.outlier_filters import OUTLIER_FILTERS, OutlierFilter
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.runs.manifest import DataSource
from camloc.runs.prepare import prepare
from camloc.runs.train import train
from camloc.training.loop import Epoch
from camloc.training.recipe import Recipe, Stage
from camloc.training.validation import best_filter, filter_errors

CAMERA = Camera(WIDTH, HEIGHT, 525 * WIDTH / 640, 525 * WIDTH / 640, WIDTH / 2, HEIGHT / 2)


def recipe() -> Recipe:
    return Recipe(
        model="scene_geometry",
        config=SceneGeometryConfig(TINY_BACKBONE, taps=(2, 3, 4), hidden=32, blocks=1),
        preprocess=Preprocess(WIDTH, HEIGHT, undistort=True),
        stages=(Stage(epochs=60, learning_rate=5e-3, optimizer="adamw", schedule="one_cycle"),),
        batch_size=6,
        hold_out=HoldOut(every=0),
        validate_every=60,
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data set `scene` and the run `run`. Not to be changed."""
    with scene_with_cache(tmp_path_factory.mktemp("scene-geometry")) as folder:
        data = DataSource(str(folder / "scene"))
        for _ in train(prepare(recipe(), name="tiny/scene-geometry", data=data, folder=folder / "run")):
            pass
        yield folder


def images(learned: Path) -> list[Path]:
    return [frame.image for frame in DataSource(str(learned / "scene")).load().train]


def test_learned_images_are_located(learned: Path) -> None:
    localizer = Localizer.load(learned / "run")
    frames = DataSource(str(learned / "scene")).load().train
    for frame, estimate in zip(frames, localizer.locate_all(frames), strict=True):
        assert isinstance(estimate, Located)
        error = pose_error(estimate.world_from_cam, frame.truth())
        assert error.meters < 0.5, frame.name
        assert error.degrees < 15.0, frame.name


def test_a_image_without_intrinsics_is_taken_to_be_from_the_camera_that_was_learned_from(
    learned: Path,
) -> None:
    localizer = Localizer.load(learned / "run")
    frame = DataSource(str(learned / "scene")).load().train[3]
    known, unknown = localizer.locate(frame.image, camera=frame.camera), localizer.locate(frame.image)
    assert isinstance(known, Located)
    assert isinstance(unknown, Located)
    assert pose_error(known.world_from_cam, unknown.world_from_cam).meters < 1e-6


@pytest.mark.parametrize("name", OUTLIER_FILTERS)
def test_every_filter_answers_or_says_why_not(learned: Path, name: OutlierFilter) -> None:
    localizer = Localizer.load(learned / "run", outlier_filter=name)
    answers = [localizer.locate(image) for image in images(learned)]
    lost = [answer for answer in answers if isinstance(answer, Lost)]
    assert all("agree" in answer.reason or "far from" in answer.reason for answer in lost)
    assert len(lost) < len(answers)


def test_the_held_out_frames_choose_the_filter(learned: Path, tmp_path: Path) -> None:
    """With none held out it is the learned weights, as published; a given filter goes before."""
    assert network_of(Localizer.load(learned / "run")).used_filter == "weights"
    assert network_of(Localizer.load(learned / "run", outlier_filter="none")).used_filter == "none"
    settings = replace(recipe(), hold_out=HoldOut(every=4, block=2), stages=(Stage(2, 1e-3),))
    data = DataSource(str(learned / "scene"))
    training = prepare(settings, name="tiny/scene-geometry", data=data, folder=tmp_path / "run")
    for _ in train(training):
        pass
    metadata = load_checkpoint(tmp_path / "run").metadata
    assert training.validation is not None
    model = load_checkpoint(tmp_path / "run").model
    assert isinstance(model, GeometryModel)
    errors = filter_errors(model, training.validation, settings.preprocess, device=torch.device("cpu"))
    assert set(errors) == set(OUTLIER_FILTERS)
    poses = poses_of(training.train_frames[0]).tensor()
    assert metadata.outlier_filter == best_filter(errors, training.validation, poses)
    assert metadata.expected_error == pytest.approx(errors[metadata.outlier_filter], rel=1e-3)
    made_up: dict[OutlierFilter, tuple[float, float]] = dict.fromkeys(OUTLIER_FILTERS, (1.0, 10.0))
    made_up["rigid-ransac"] = (0.5, 10.0)
    assert best_filter(made_up, training.validation, poses) == "rigid-ransac"


def test_what_a_mask_hides_does_not_count(learned: Path, tmp_path: Path) -> None:
    image = images(learned)[2]
    smeared = np.asarray(Image.open(image)).copy()
    path, masks = tmp_path / "smeared.png", tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(smeared).save(path)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, : WIDTH // 2] = 0
    Image.fromarray(mask).save(masks / "smeared.png.png")
    plain = Localizer.load(learned / "run").locate(path)
    masked = Localizer.load(learned / "run", masks=masks).locate(path)
    everywhere = Localizer.load(learned / "run", masks=tmp_path).locate(path)
    assert isinstance(plain, Located)
    assert isinstance(masked, Located)
    assert isinstance(everywhere, Located)
    assert pose_error(plain.world_from_cam, masked.world_from_cam).meters > 1e-4
    assert pose_error(plain.world_from_cam, everywhere.world_from_cam).meters < 1e-9


def test_the_commands_take_filters_masks_and_a_focal_length(
    learned: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = images(learned)[0]
    ended = camloc(capfd, "locate", learned / "run", image, "--filter", "pnp-ransac", "--focal", "52.5")
    assert "residual" in ended.out
    camloc(capfd, "evaluate", learned / "run", "--filter", "none", "--out", tmp_path / "evaluated")
    results = json.loads((tmp_path / "evaluated" / "results.json").read_text())
    assert results["outlier_filter"] == "none"
    assert "none" in (tmp_path / "evaluated" / "report.html").read_text()


def test_an_exported_network_answers_alike(
    learned: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    camloc(capfd, "export", learned / "run", "--out", tmp_path / "model.onnx")
    image = images(learned)[1]
    names: tuple[OutlierFilter, ...] = ("weights", "none")
    for name in names:
        ours = Localizer.load(learned / "run", outlier_filter=name).locate(image)
        theirs = Localizer.load(tmp_path / "model.onnx", outlier_filter=name).locate(image)
        assert isinstance(ours, Located)
        assert isinstance(theirs, Located)
        assert pose_error(ours.world_from_cam, theirs.world_from_cam).meters < 1e-4


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--focal", "nan"), 2),
        (("--focal", "-3"), 2),
        (("--masks", "no-such-folder"), 1),
        (("--filter", "magic"), 2),
    ],
)
def test_wrong_options_are_reported_in_a_sentence(
    learned: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, str], status: int
) -> None:
    before = listing(tmp_path)
    refused(capfd, "locate", learned / "run", images(learned)[0], *words, status=status)
    assert listing(tmp_path) == before


def test_the_points_of_a_map_supervise_the_network(square: Path, tmp_path: Path) -> None:
    stages = (replace(recipe().stages[0], epochs=30),)
    training = prepare(
        replace(recipe(), stages=stages),
        name="tiny/scene-geometry",
        data=DataSource(str(square)),
        folder=tmp_path / "run",
        has_map_supervision=True,
    )
    assert training.train.map_points is not None
    assert (training.train.map_points.isfinite().all(-1).sum(1) > 20).all()
    losses = [event.losses["map"] for event in train(training) if isinstance(event, Epoch)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_regressor_has_no_points_that_a_map_could_supervise(
    learned: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "demo/hyperpose", "--data", learned / "scene", "--out", tmp_path / "run")
    assert "predicts no scene points" in refused(capfd, *words, "--map-supervision")
