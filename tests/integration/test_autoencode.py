"""From a finished run to refined answers, as a user goes: teach, evaluate, locate."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

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
from camloc.refinement.choice import refiners_of, surest
from camloc.refinement.image_decoder import ImageDecoderConfig
from camloc.refinement.position import REFINEMENT_METHODS
from camloc.refinement.relative_pose import PairSettings, RelativePoseConfig, Sees
from camloc.refinement.storage import (
    AUTOENCODER,
    autoencoder_metadata,
    digest,
    load_autoencoder,
    load_decoder,
)
from camloc.runs.autoencode import Teacher, encoder_of, prepare_teaching, teach, teach_relative

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def student(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the run with an auto-encoder beside its checkpoint. Not to be changed."""
    run = tmp_path_factory.mktemp("student") / "run"
    shutil.copytree(trained / "run", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMLOC_CACHE", str(trained / "cache"))
        teaching = prepare_teaching(Teacher.load(run), short_recipe(), name="tiny/student")
        for _ in teach(teaching):
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
        Path(AUTOENCODER),
        Path(AUTOENCODER, "autoencoder.json"),
        Path(AUTOENCODER, "weights.safetensors"),
    }
    metadata = autoencoder_metadata(student)
    assert metadata is not None
    assert metadata.recipe == "tiny/student"
    assert metadata.config.branches == "shared"  # HyperPose regresses both halves from the same features
    assert surest(metadata.refined) in ("none", *REFINEMENT_METHODS)
    assert set(metadata.settings) == set(REFINEMENT_METHODS)
    assert set(metadata.refined) == {"none", *REFINEMENT_METHODS}
    assert metadata.answers is not None
    assert metadata.refined["none"].median == pytest.approx(metadata.answers.meters)


def test_what_is_written_is_what_was_taught(student: Path) -> None:
    loaded = load_autoencoder(student, load_checkpoint(student))
    assert loaded is not None
    _, encoder = loaded
    assert not encoder.training
    poses = load_checkpoint(student).training_poses[0]
    latents = encoder(poses)
    assert latents.position.shape == (len(poses), encoder.latents[0])
    assert latents.position.isfinite().all()


def test_what_was_measured_is_what_is_read_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are kept in half precision, and the errors beside them are errors of what is kept."""
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    shutil.copytree(trained / "run", tmp_path / "run")
    teaching = prepare_teaching(Teacher.load(tmp_path / "run"), short_recipe(), name="tiny/student")
    for _ in teach(teaching):
        pass
    loaded = load_autoencoder(tmp_path / "run", load_checkpoint(tmp_path / "run"))
    assert loaded is not None
    assert loaded[0].config.kept == "half"
    assert digest(loaded[1]) == digest(teaching.encoder)


def test_every_way_refines_and_says_what_it_was_before(trained: Path, student: Path) -> None:
    own = Localizer.load(student).locate(image_of(trained))
    assert isinstance(own, Located)
    assert own.unrefined is None
    for way in REFINEMENT_METHODS:
        answer = Localizer.load(student, refine=way).locate(image_of(trained))
        assert isinstance(answer, Located), way
        assert answer.unrefined is not None
        assert torch.equal(answer.unrefined.matrix(), own.world_from_cam.matrix())
        assert torch.equal(answer.world_from_cam.rotation, own.world_from_cam.rotation)
        assert not torch.equal(answer.world_from_cam.translation, own.world_from_cam.translation)
        inner = Localizer.load(student / "checkpoint", refine=way).locate(image_of(trained))
        assert isinstance(inner, Located)
        assert torch.equal(inner.world_from_cam.translation, answer.world_from_cam.translation)


def test_what_is_lost_is_not_refined(student: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (50, 60, 70)).save(tmp_path / "blank.png")
    answer = Localizer.load(student, refine="affine").locate(tmp_path / "blank.png")
    assert answer == Lost("the image is blank")


def test_an_evaluation_has_every_way_in_one_table_beside_the_unrefined_answers(
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


def test_the_command_teaches_and_then_locates(
    trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    monkeypatch.setattr(student_recipes, "find_student", lambda _: short_recipe())
    shutil.copytree(trained / "run", tmp_path / "run")
    ended = camloc(capfd, "autoencode", tmp_path / "run")
    assert ended.status == 0, ended.err
    assert "median error on held-out frames" in ended.out
    assert "--refine auto" in ended.err
    located = camloc(capfd, "locate", tmp_path / "run", image_of(trained), "--refine", "anchored")
    assert located.status == 0, located.err
    assert "refined from" in located.out
    told = camloc(
        capfd, "locate", tmp_path / "run", image_of(trained), "--refine", "anchored", "--format", "json"
    )
    (answer,) = json.loads(told.out)
    assert answer["unrefined_position"] != answer["position"]


def test_without_an_auto_encoder_the_neighbours_are_all_there_is(
    trained: Path, exported: object, capfd: Capture
) -> None:
    told = refused(capfd, "locate", trained / "run", image_of(trained), "--refine", "affine")
    assert "camloc autoencode" in told
    for run in (trained / "run", exported.path):  # type: ignore[attr-defined]
        ended = camloc(capfd, "locate", run, image_of(trained), "--refine", "neighbours")
        assert ended.status == 0, ended.err
        assert "refined from" in ended.out


def test_an_auto_encoder_of_other_weights_is_none(student: Path, tmp_path: Path) -> None:
    shutil.copytree(student, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run")
    assert refiners_of(tmp_path / "run", checkpoint)
    with torch.no_grad():
        next(checkpoint.model.parameters()).add_(1.0)
    assert refiners_of(tmp_path / "run", checkpoint) == {}


@pytest.mark.parametrize("damage", ["weights.safetensors", "autoencoder.json"])
def test_a_damaged_auto_encoder_is_told_in_a_sentence(damage: str, student: Path, tmp_path: Path) -> None:
    shutil.copytree(student, tmp_path / "run")
    path = tmp_path / "run" / AUTOENCODER / damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="teach it anew") as told:
        Localizer.load(tmp_path / "run", refine="affine")
    assert damage in str(told.value)
    assert isinstance(Localizer.load(tmp_path / "run"), Localizer)


def test_models_that_regress_nothing_cannot_teach(trained: Path, tmp_path: Path, capfd: Capture) -> None:
    told = refused(capfd, "autoencode", tmp_path)
    assert "not a run" in told
    told = refused(capfd, "autoencode", trained / "run", "--recipe", "students/slow")
    assert "students/quick" in told


def short_virtual(sees: Sees) -> student_recipes.StudentRecipe:
    """Everything that stands beside a checkpoint, learned for a moment."""
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


@pytest.mark.parametrize("sees", ["images", "encoding", "latents"])
def test_the_command_teaches_virtual_views_and_their_images(
    sees: Sees, trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    monkeypatch.setattr(student_recipes, "find_student", lambda _: short_virtual(sees))
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    told = refused(capfd, "locate", run, image_of(trained), "--refine", "virtual")
    assert "camloc autoencode" in told
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


def test_a_decoder_leaves_a_image_of_true_and_decoded_images(
    trained: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(trained / "cache"))
    monkeypatch.setattr(student_recipes, "find_student", lambda _: short_virtual("latents"))
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    ended = camloc(capfd, "autoencode", run, "--decoder")
    assert ended.status == 0, ended.err
    assert str(run / "decoder" / "images.png") in ended.err.replace("\n", "")
    with Image.open(run / "decoder" / "images.png") as sheet:
        size = sheet.size
    assert size == (2 * (16 * 3 + 6) + 6, 2 * (16 * 3 + 6) + 6)  # two frames are held out
    found = load_autoencoder(run, load_checkpoint(run))
    assert found is not None
    decoder = load_decoder(run, found[1])
    assert decoder is not None
    assert set(decoder[0].differences) == {"decoded", "nearest image", "mean image"}
    # TeacherOutputs anew, the auto-encoder is another one, and the decoder no longer belongs to it.
    assert camloc(capfd, "autoencode", run, "--seed", "5").status == 0
    again = load_autoencoder(run, load_checkpoint(run))
    assert again is not None
    assert load_decoder(run, again[1]) is None


def test_what_needs_a_companion_that_is_not_there_says_which(trained: Path, student: Path) -> None:
    with pytest.raises(RecipeError, match="no pose auto-encoder"):
        encoder_of(Teacher.load(trained / "run"))
    teacher = Teacher.load(student)
    with pytest.raises(RecipeError, match="no image decoder"):
        next(iter(teach_relative(teacher, short_virtual("images"))))
    with pytest.raises(RecipeError, match="no relative pose regressor"):
        next(iter(teach_relative(teacher, replace(short_recipe(), relative=None))))


def test_a_teacher_of_several_scenes_has_an_auto_encoder_of_all(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(student_recipes, "find_student", lambda _: short_virtual("latents"))
    sources, run = write_scenes(tmp_path / "data"), tmp_path / "run"
    train_scenes(sources, run)
    ended = camloc(capfd, "autoencode", run, "--decoder", "--virtual")
    assert ended.status == 0, ended.err
    metadata = autoencoder_metadata(run)
    assert metadata is not None
    assert metadata.scenes == NAMES
    for refine in ("neighbours", "anchored", "virtual"):
        localizer = Localizer.load(run, refine=refine)
        for source, name, middle in zip(sources, NAMES, (0.0, AWAY), strict=True):
            for answer in localizer.locate_all(source.load().test):
                assert isinstance(answer, Located)
                assert answer.unrefined is not None
                assert answer.scene == name
                assert float((answer.world_from_cam.translation - middle).abs().max()) < 10
