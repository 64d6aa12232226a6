"""From a finished run to refined poses, as a user does it: autoencode, evaluate, locate."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.command_line import camloc, listing, refused
from tests.support.models import TINY_BACKBONE
from tests.support.several_scenes import AWAY, NAMES, train_scenes, write_scenes

from camloc import Localizer, Located
from camloc.data.types import Lost
from camloc.errors import CheckpointError, RecipeError
from camloc.evaluation.results import Results
from camloc.models.checkpoint import load_checkpoint
from camloc.recipes import students
from camloc.refinement import recipe as student_recipes
from camloc.refinement.choice import AuxiliaryNetworks, surest
from camloc.refinement.image_decoder import DecoderMetadata, ImageDecoderConfig
from camloc.refinement.pairs import PairSettings
from camloc.refinement.pose_autoencoder import AutoencoderMetadata
from camloc.refinement.refiner import REFINEMENT_METHODS
from camloc.refinement.relative_pose import InputKind, RelativePoseConfig
from camloc.refinement.storage import digest
from camloc.refinement.train import (
    prepare_autoencoder,
    stored_encoder,
    train_autoencoder,
    train_relative,
)
from camloc.runs.autoencode import load_teacher

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def student(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the run with an auto-encoder beside its checkpoint. Not to be changed."""
    run = tmp_path_factory.mktemp("student") / "run"
    shutil.copytree(trained / "run", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMLOC_CACHE", str(trained / "cache"))
        training = prepare_autoencoder(load_teacher(run), short_recipe(), name="tiny/student")
        for _ in train_autoencoder(training):
            pass
        yield run


def short_recipe() -> student_recipes.StudentRecipe:
    recipe = students.quick()
    return replace(recipe, stage=replace(recipe.stage, epochs=3), variants=2)


def image_of(trained: Path) -> Path:
    return next((trained / "scene").glob("seq-*/*.color.png"))


def test_the_auto_encoder_stands_beside_the_checkpoint_and_needs_no_unpickling(
    trained: Path, student: Path
) -> None:
    new = {Path(name).relative_to(student) for name in listing(student)} - {
        Path(name).relative_to(trained / "run") for name in listing(trained / "run")
    }
    assert new == {
        Path("autoencoder"),
        Path("autoencoder", "autoencoder.json"),
        Path("autoencoder", "weights.safetensors"),
    }
    metadata = AutoencoderMetadata.read(student)
    assert metadata is not None
    assert metadata.recipe == "tiny/student"
    assert metadata.config.branches == "shared"  # HyperPose regresses both halves from the same features
    assert surest(metadata.refined) in ("none", *REFINEMENT_METHODS)
    assert set(metadata.settings) == set(REFINEMENT_METHODS)
    assert set(metadata.refined) == {"none", *REFINEMENT_METHODS}
    assert metadata.teacher is not None
    assert metadata.refined["none"].median == pytest.approx(metadata.teacher.meters)


def test_the_written_encoder_can_be_read(student: Path) -> None:
    loaded = AutoencoderMetadata.load(student, load_checkpoint(student).model)
    assert loaded is not None
    _, encoder = loaded
    assert not encoder.training
    poses = load_checkpoint(student).training_poses[0]
    latents = encoder(poses)
    assert latents.position.shape == (len(poses), encoder.latents[0])
    assert latents.position.isfinite().all()


def test_the_measured_encoder_is_the_stored_one(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are stored in half precision, and the errors in the metadata are those of these weights."""
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    shutil.copytree(trained / "run", tmp_path / "run")
    training = prepare_autoencoder(load_teacher(tmp_path / "run"), short_recipe(), name="tiny/student")
    for _ in train_autoencoder(training):
        pass
    loaded = AutoencoderMetadata.load(tmp_path / "run", load_checkpoint(tmp_path / "run").model)
    assert loaded is not None
    assert loaded[0].config.kept == "half"
    assert digest(loaded[1]) == digest(training.encoder)


def test_every_method_refines_and_keeps_the_unrefined_pose(trained: Path, student: Path) -> None:
    own = Localizer.load(student).locate(image_of(trained))
    assert isinstance(own, Located)
    assert own.unrefined is None
    for method in REFINEMENT_METHODS:
        estimate = Localizer.load(student, refine=method).locate(image_of(trained))
        assert isinstance(estimate, Located), method
        assert estimate.unrefined is not None
        assert np.array_equal(estimate.unrefined.matrix(), own.world_from_cam.matrix())
        assert np.array_equal(estimate.world_from_cam.rotation, own.world_from_cam.rotation)
        assert not np.array_equal(estimate.world_from_cam.translation, own.world_from_cam.translation)
        inner = Localizer.load(student / "checkpoint", refine=method).locate(image_of(trained))
        assert isinstance(inner, Located)
        assert np.array_equal(inner.world_from_cam.translation, estimate.world_from_cam.translation)


def test_a_lost_image_is_not_refined(student: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (50, 60, 70)).save(tmp_path / "blank.png")
    estimate = Localizer.load(student, refine="affine").locate(tmp_path / "blank.png")
    assert estimate == Lost("the image is blank")


def test_an_evaluation_has_every_method_in_one_table_beside_the_unrefined_poses(
    student: Path, tmp_path: Path, capfd: Capture
) -> None:
    plain = camloc(capfd, "evaluate", student, "--out", tmp_path / "plain")
    refined = camloc(capfd, "evaluate", student, "--refine", "affine", "--out", tmp_path / "affine")
    assert plain.status == refined.status == 0, refined.err
    for row in ("mean of neighbours", "affine, 3 steps", "anchored"):
        assert row in plain.out
        assert row in refined.out
    assert "not refined" in refined.out
    assert "not refined" not in plain.out  # it is the result itself
    ours, theirs = (Results.load(tmp_path / name / "results.json") for name in ("affine", "plain"))
    assert (ours.refined_by, theirs.refined_by) == ("affine", "none")
    assert set(ours.headline.every_method) == {"none", *REFINEMENT_METHODS}
    assert ours.headline.every_method == theirs.headline.every_method
    assert ours.headline.estimates == ours.headline.every_method["affine"]
    assert theirs.headline.estimates == ours.headline.every_method["none"]
    assert ours.headline.estimates.degrees == theirs.headline.estimates.degrees
    assert "Effect of refinement" in (tmp_path / "affine" / "report.html").read_text()


def test_a_run_without_auto_encoder_has_no_such_table(evaluated: object) -> None:
    folder = evaluated.path  # type: ignore[attr-defined]
    assert Results.load(folder / "results.json").headline.every_method == {}
    assert "Effect of refinement" not in (folder / "report.html").read_text()


def test_the_command_trains_an_encoder_that_locate_uses(
    trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    monkeypatch.setattr("camloc.recipes.find_student", lambda _: short_recipe())
    shutil.copytree(trained / "run", tmp_path / "run")
    ended = camloc(capfd, "autoencode", tmp_path / "run")
    assert ended.status == 0, ended.err
    assert "median error on held-out frames" in ended.out
    assert "--refine auto" in ended.err
    located = camloc(capfd, "locate", tmp_path / "run", image_of(trained), "--refine", "anchored")
    assert located.status == 0, located.err
    assert "refined from" in located.out
    message = camloc(
        capfd, "locate", tmp_path / "run", image_of(trained), "--refine", "anchored", "--format", "json"
    )
    (estimate,) = json.loads(message.out)
    assert estimate["unrefined_position"] != estimate["position"]


def test_without_an_auto_encoder_only_neighbours_refine(
    trained: Path, exported: object, capfd: Capture
) -> None:
    message = refused(capfd, "locate", trained / "run", image_of(trained), "--refine", "affine")
    assert "camloc autoencode" in message
    for run in (trained / "run", exported.path):  # type: ignore[attr-defined]
        ended = camloc(capfd, "locate", run, image_of(trained), "--refine", "neighbours")
        assert ended.status == 0, ended.err
        assert "refined from" in ended.out


def test_an_auto_encoder_of_other_weights_is_not_used(student: Path, tmp_path: Path) -> None:
    shutil.copytree(student, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run")
    assert AuxiliaryNetworks.load(tmp_path / "run", checkpoint) is not None
    with torch.no_grad():
        next(checkpoint.model.parameters()).add_(1.0)
    assert AuxiliaryNetworks.load(tmp_path / "run", checkpoint) is None


@pytest.mark.parametrize("damage", ["weights.safetensors", "autoencoder.json"])
def test_a_damaged_auto_encoder_is_refused_in_a_sentence(damage: str, student: Path, tmp_path: Path) -> None:
    shutil.copytree(student, tmp_path / "run")
    path = tmp_path / "run" / "autoencoder" / damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="train it again") as message:
        Localizer.load(tmp_path / "run", refine="affine")
    assert damage in str(message.value)
    assert isinstance(Localizer.load(tmp_path / "run"), Localizer)


def test_a_folder_without_a_run_and_an_unknown_recipe_are_refused(
    trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    message = refused(capfd, "autoencode", tmp_path)
    assert "not a run" in message
    message = refused(capfd, "autoencode", trained / "run", "--recipe", "students/slow", status=2)
    assert "students/quick" in message


def short_virtual(sees: InputKind) -> student_recipes.StudentRecipe:
    """All auxiliary networks, trained for two epochs."""
    recipe = short_recipe()
    assert recipe.decoder is not None
    assert recipe.relative is not None
    config = ImageDecoderConfig(width=16, height=16, hidden=(8,), channels=(4, 4, 4, 4))
    decoder = replace(recipe.decoder, config=config, stage=replace(recipe.decoder.stage, epochs=2))
    relative = replace(
        recipe.relative,
        config=RelativePoseConfig(sees, TINY_BACKBONE, latent=8),
        stage=replace(recipe.relative.stage, epochs=2),
        pairs=PairSettings(per_frame=2, candidates=5),
        batch_size=8,
    )
    return replace(recipe, decoder=decoder, relative=relative)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("sees", ["images", "encoding", "latents"])
def test_the_command_trains_virtual_views_and_their_decoder(
    sees: InputKind, trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    monkeypatch.setattr("camloc.recipes.find_student", lambda _: short_virtual(sees))
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    message = refused(capfd, "locate", run, image_of(trained), "--refine", "virtual")
    assert "camloc autoencode" in message
    ended = camloc(capfd, "autoencode", run, "--virtual")
    assert ended.status == 0, ended.err
    assert "virtual view" in ended.out
    assert (run / "decoder" / "images.png").exists() == (sees == "images")
    located = camloc(capfd, "locate", run, image_of(trained), "--refine", "virtual")
    assert located.status == 0, located.err
    assert "refined from" in located.out
    evaluated = camloc(capfd, "evaluate", run, "--refine", "virtual", "--out", tmp_path / "evaluated")
    assert evaluated.status == 0, evaluated.err
    results = Results.load(tmp_path / "evaluated" / "results.json")
    assert set(results.headline.every_method) == {"none", *REFINEMENT_METHODS, "virtual"}
    assert results.headline.estimates == results.headline.every_method["virtual"]


def test_a_decoder_leaves_a_figure_of_true_and_decoded_images(
    trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    monkeypatch.setattr("camloc.recipes.find_student", lambda _: short_virtual("latents"))
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    ended = camloc(capfd, "autoencode", run, "--decoder")
    assert ended.status == 0, ended.err
    assert str(run / "decoder" / "images.png") in ended.err.replace("\n", "")
    with Image.open(run / "decoder" / "images.png") as sheet:
        size = sheet.size
    assert size == (2 * (16 * 3 + 6) + 6, 2 * (16 * 3 + 6) + 6)  # two frames are held out
    found = AutoencoderMetadata.load(run, load_checkpoint(run).model)
    assert found is not None
    decoder = DecoderMetadata.load(run, found[1])
    assert decoder is not None
    assert set(decoder[0].differences) == {"decoded", "nearest image", "mean image"}
    # Another seed gives another auto-encoder, to which the decoder does not belong.
    assert camloc(capfd, "autoencode", run, "--seed", "5").status == 0
    again = AutoencoderMetadata.load(run, load_checkpoint(run).model)
    assert again is not None
    assert DecoderMetadata.load(run, again[1]) is None


def test_a_missing_auxiliary_network_is_named(trained: Path, student: Path) -> None:
    with pytest.raises(RecipeError, match="no pose auto-encoder"):
        stored_encoder(load_teacher(trained / "run"))
    teacher = load_teacher(student)
    with pytest.raises(RecipeError, match="no image decoder"):
        next(iter(train_relative(teacher, short_virtual("images"))))
    with pytest.raises(RecipeError, match="no relative pose regressor"):
        next(iter(train_relative(teacher, replace(short_recipe(), relative=None))))


def test_the_auto_encoder_of_a_multi_scene_regressor_knows_all_scenes(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("camloc.recipes.find_student", lambda _: short_virtual("latents"))
    sources, run = write_scenes(tmp_path / "data"), tmp_path / "run"
    train_scenes(sources, run)
    ended = camloc(capfd, "autoencode", run, "--decoder", "--virtual")
    assert ended.status == 0, ended.err
    metadata = AutoencoderMetadata.read(run)
    assert metadata is not None
    assert metadata.scenes == NAMES
    for refine in ("neighbours", "anchored", "virtual"):
        localizer = Localizer.load(run, refine=refine)
        for source, name, middle in zip(sources, NAMES, (0.0, AWAY), strict=True):
            for estimate in localizer.locate_all(source.load().test):
                assert isinstance(estimate, Located)
                assert estimate.unrefined is not None
                assert estimate.scene == name
                assert np.abs(estimate.world_from_cam.translation - np.asarray(middle)).max() < 10
