"""Training on cached features is as exact, and changes the heads only."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.support.command_line import listing, refused
from tests.support.models import TINY_BACKBONE
from tests.support.trained import HEIGHT, WIDTH

from camloc.data.augment import Augment, Draws
from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.errors import CamlocError
from camloc.models.scene_geometry import SceneGeometry, SceneGeometryConfig
from camloc.runs.evaluate import evaluate_run
from camloc.runs.manifest import DataSource, RunManifest
from camloc.runs.prepare import Training, prepare
from camloc.runs.train import train
from camloc.training.feature_cache import FeatureVariants
from camloc.training.loop import Epoch
from camloc.training.recipe import Recipe, Stage

VARIANTS = 3


def recipe() -> Recipe:
    return Recipe(
        model="scene_geometry",
        config=SceneGeometryConfig(TINY_BACKBONE, taps=(2, 3), hidden=16, blocks=1),
        preprocess=Preprocess(WIDTH, HEIGHT, undistort=True),
        stages=(Stage(epochs=4, learning_rate=3e-3, frozen=("backbone.*",), average=0.9),),
        augment=Augment(roll_degrees=20.0, yaw_degrees=10.0, brightness=0.2),
        cached_variants=VARIANTS,
        batch_size=6,
        hold_out=HoldOut(every=6, block=2),
    )


def prepared(scene: Path, folder: Path, *, settings: Recipe | None = None, seed: int = 0) -> Training:
    data = DataSource(str(scene))
    return prepare(settings or recipe(), name="tiny", data=data, folder=folder, seed=seed)


def test_the_first_variant_is_the_image_and_the_others_are_turned(scene: Path, tmp_path: Path) -> None:
    training = prepared(scene, tmp_path / "run")
    cached, model = training.train, training.model
    assert isinstance(cached, FeatureVariants)
    assert isinstance(model, SceneGeometry)
    plain = prepared(scene, tmp_path / "plain", settings=replace(recipe(), cached_variants=0)).train
    batch = plain.batch(torch.arange(len(cached)))  # type: ignore[union-attr]
    with torch.no_grad():
        features = model.eval().features(batch.images)
    torch.testing.assert_close(
        torch.from_numpy(cached.images[:, 0].astype("f4")), features, rtol=2e-3, atol=2e-3
    )
    torch.testing.assert_close(cached.rotation[:, 0], cached.world_from_cam.rotation)
    assert cached.inside is not None
    assert bool(cached.inside[:, 0].all())
    assert not bool(cached.inside[:, 1:].all())
    turned = (cached.rotation[:, 1:] - cached.rotation[:, :1]).abs().amax((-1, -2))
    assert bool((turned > 1e-4).all())


def test_every_variant_is_drawn_with_its_own_labels(scene: Path, tmp_path: Path) -> None:
    training = prepared(scene, tmp_path / "run")
    cached = training.train
    assert isinstance(cached, FeatureVariants)
    generator = torch.Generator().manual_seed(0)
    rows, size = torch.arange(len(cached)).repeat(20), training.recipe.preprocess
    batch = cached.drawn(
        rows,
        Draws(generator, len(rows), slice(None)),
        augment=training.recipe.augment,
        width=size.width,
        height=size.height,
    )
    drawn = set()
    for number, row in enumerate(rows.tolist()):
        (matches,) = (
            (cached.rotation[row] == batch.world_from_cam.rotation[number]).all(-1).all(-1).nonzero().T
        )
        variant = int(matches[0])
        drawn.add(variant)
        stored = torch.from_numpy(cached.images[row, variant].astype("f4"))
        assert torch.equal(batch.images[number], stored)
        assert torch.equal(batch.world_from_cam.translation[number], cached.world_from_cam.translation[row])
    assert drawn == set(range(VARIANTS))


def test_only_the_heads_train_and_the_loss_falls(scene: Path, tmp_path: Path) -> None:
    training = prepared(scene, tmp_path / "run")
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    epochs = [event for event in train(training) if isinstance(event, Epoch)]
    after = training.model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith("backbone.") for name in changed)
    assert sum(epochs[-1].losses.values()) < sum(epochs[0].losses.values())


def test_an_interrupted_training_ends_with_the_same_bits(scene: Path, tmp_path: Path) -> None:
    whole, broken = prepared(scene, tmp_path / "whole"), prepared(scene, tmp_path / "broken")
    for _ in train(whole):
        pass
    for event in train(broken):
        if isinstance(event, Epoch) and event.epoch == 3:
            break
    again = prepared(scene, tmp_path / "broken")
    for _ in train(again):
        pass
    ours, theirs = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_features_are_computed_once(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(scene, tmp_path / "first")

    def never(*_: object) -> None:
        raise AssertionError("features were computed again")

    monkeypatch.setattr(SceneGeometry, "features", never)
    started = time.monotonic()
    prepared(scene, tmp_path / "second")
    assert time.monotonic() - started < 60
    with pytest.raises(AssertionError, match="again"):
        prepared(scene, tmp_path / "third", seed=1)


def test_the_time_that_features_took_is_known_to_every_run_that_uses_them(
    scene: Path, tmp_path: Path
) -> None:
    first = prepared(scene, tmp_path / "first")
    assert 0 < first.manifest.feature_seconds < 60
    second = prepared(scene, tmp_path / "second")
    assert second.manifest.feature_seconds == first.manifest.feature_seconds
    assert RunManifest.load(tmp_path / "second").feature_seconds == first.manifest.feature_seconds
    for _ in train(second):
        pass
    results = evaluate_run(tmp_path / "second").results
    assert results.training is not None
    assert results.training.feature_seconds == first.manifest.feature_seconds
    assert "Features, computed before" in (tmp_path / "second" / "report.html").read_text()
    whole = prepared(scene, tmp_path / "whole", settings=replace(recipe(), cached_variants=0))
    assert whole.manifest.feature_seconds == 0.0


def test_a_cache_that_cannot_be_written_is_reported(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "features").write_text("a file where the folder should be")
    monkeypatch.setenv("CAMLOC_CACHE", str(cache))
    with pytest.raises(CamlocError, match="cache of features"):
        prepared(scene, tmp_path / "run")


def test_the_command_requires_a_pretrained_backbone(
    scene: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = listing(tmp_path)
    message = refused(capfd, "train", "room/scene-geometry", "--data", scene, "--out", tmp_path / "run")
    assert "--backbone-weights" in message
    assert listing(tmp_path) == before
