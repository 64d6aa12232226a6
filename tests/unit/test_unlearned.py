"""A network that is no better than the mean training pose: the console says so, and its images are lost."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.models import some_poses
from tests.support.networks import checkpoint_of, localizer_of
from tests.support.trained import tiny_recipe
from tests.unit.test_localizer import image, localizer

from camloc.cli.progress import show_unlearned
from camloc.data.types import ExpectedError, Located, Lost, Unit, common_unit
from camloc.inference.localizer import Localizer
from camloc.models import build_model
from camloc.models.checkpoint import save_checkpoint
from camloc.models.metadata import is_better, metadata_for

MEAN = ExpectedError(2.0, 20.0)


@pytest.mark.parametrize(
    ("found", "baseline", "expected"),
    [
        ((0.4, 6.0), MEAN, True),
        ((2.0, 20.0), MEAN, False),
        ((1.9, 145.0), MEAN, False),
        ((5.0, 19.0), MEAN, False),
        ((0.2, 25.0), MEAN, True),
        # The cameras do not turn: the orientation of the mean pose cannot be beaten.
        ((0.4, 1.5), ExpectedError(2.0, 0.01), True),
        ((2.1, 0.01), ExpectedError(2.0, 0.01), False),
        # The cameras stand in one spot.
        ((0.01, 3.0), ExpectedError(1e-9, 20.0), True),
        ((0.01, 30.0), ExpectedError(1e-9, 20.0), False),
        ((0.01, 0.2), ExpectedError(1e-9, 0.1), True),
    ],
)
def test_both_errors_decide_whether_a_network_has_learned(
    found: tuple[float, float], baseline: ExpectedError, expected: bool
) -> None:
    assert is_better(ExpectedError(*found), baseline) is expected


def with_mean_pose(errors: dict[str, tuple[float, float]], *, is_validated: bool = True) -> Localizer:
    """A localizer with expected errors of 0.12 m and 3.4 degrees, or of unknown ones."""
    checkpoint = checkpoint_of(localizer(is_validated=is_validated))
    metadata = replace(checkpoint.metadata, mean_pose_errors=errors)
    return localizer_of(replace(checkpoint, metadata=metadata))


def test_every_image_of_a_scene_that_was_not_learned_is_lost(tmp_path: Path) -> None:
    lost = with_mean_pose({"kitchen": (0.12, 3.4)}).locate(image(tmp_path))
    assert isinstance(lost, Lost)
    assert "has not learned the scene" in lost.reason
    assert "train it longer, or build a map" in lost.reason


def test_a_learned_or_an_unknown_scene_is_accepted(tmp_path: Path) -> None:
    path = image(tmp_path)
    for errors in ({"kitchen": (1.2, 34.0)}, {"garden": (0.1, 0.1)}, {}):
        assert isinstance(with_mean_pose(errors).locate(path), Located)
    unknown = with_mean_pose({"kitchen": (0.12, 3.4)}, is_validated=False)
    assert isinstance(unknown.locate(path), Located)


@pytest.mark.parametrize("unit", ["m", "units"])
def test_the_console_names_the_scene_and_both_errors(
    unit: Unit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe()
    model = build_model(recipe.model, recipe.config)
    metadata = replace(
        metadata_for("hyperpose", recipe.config, recipe.preprocess, ("[/b]",)),
        expected_error=(2.5, 145.0),
        mean_pose_errors={"[/b]": (2.25, 20.0)},
        units=(unit,),
    )
    save_checkpoint(tmp_path, metadata, model, (some_poses(9),))
    show_unlearned(tmp_path)
    message = capfd.readouterr().err
    assert f"did not learn [/b]: held-out frames 2.500 {unit} 145.00°" in message
    assert f"2.250 {unit} 20.00° of the mean training pose" in message
    assert "camloc map" in message
    save_checkpoint(tmp_path, replace(metadata, expected_error=(0.1, 2.0)), model, (some_poses(9),))
    show_unlearned(tmp_path)
    assert capfd.readouterr().err == ""


def test_the_unit_of_several_scenes_is_metres_if_all_have_metres() -> None:
    assert common_unit(()) == common_unit(("m", "m")) == "m"
    assert common_unit(("m", "units")) == "units"
