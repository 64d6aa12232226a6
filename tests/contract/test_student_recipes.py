"""The contract of every recipe of a pose auto-encoder."""

import importlib
import inspect
import re

import pytest

from camloc.core.config import from_json, to_json
from camloc.evaluation.published import published_of
from camloc.recipes import find_student, recipe_functions, student_functions, summary
from camloc.refinement.image_decoder import ImageDecoder
from camloc.refinement.pose_autoencoder import PoseAutoencoder, Student
from camloc.refinement.recipe import StudentRecipe
from camloc.training.optim import start_stage

STUDENTS = tuple(student_functions())


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_found_by_its_name_and_survives_json(name: str) -> None:
    recipe = find_student(name)
    assert re.fullmatch(r"[a-z0-9_]+/[a-z0-9-]+", name)
    assert recipe == find_student(name)
    assert from_json(to_json(recipe), StudentRecipe) == recipe
    assert not inspect.signature(student_functions()[name]).parameters


@pytest.mark.parametrize("name", STUDENTS)
def test_its_first_line_says_what_it_is_and_which_table_it_is_of(name: str) -> None:
    first = summary(student_functions()[name])
    assert first.endswith(".")
    assert len(first) <= 110
    if name.startswith("pose_autoencoders_2022/"):
        assert ("Table" in first) == bool(published_of(name)), first
        assert published_of(name) or "no row" in first or "in no table" in first
    for published in published_of(name):
        assert re.search(r"Table \d", published.source)
        layout = "cambridge" if published.scene[0].isupper() else "sevenscenes"
        scenes = importlib.import_module(f"camloc.data.formats.{layout}").SCENES
        assert published.scene in (*scenes, "mean")


@pytest.mark.parametrize("name", STUDENTS)
def test_its_networks_can_be_built_and_its_stages_train_them(name: str) -> None:
    recipe = find_student(name)
    encoder = PoseAutoencoder(recipe.config, latents=(16, 16), scenes=2)
    optimizer = start_stage(recipe.stage, Student(encoder, recipe.distillation))
    assert len(optimizer.param_groups) == 2  # the encoder, and the weights of the loss
    if recipe.decoder is not None:
        start_stage(recipe.decoder.stage, ImageDecoder(recipe.decoder.config, latents=(16, 16)))
    assert recipe.variants >= 1
    assert recipe.batch_size >= 1


def test_students_are_not_recipes_of_runs_nor_the_other_way_round() -> None:
    assert not set(STUDENTS) & set(recipe_functions())
    assert {"students/quick", "pose_autoencoders_2022/mobilenet", "demo/virtual"} <= set(STUDENTS)
    assert "pose_autoencoders_2022/teacher-mobilenet" in recipe_functions()
