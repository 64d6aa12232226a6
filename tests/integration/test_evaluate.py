"""What an evaluation says about names, scenes and units."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.support.command_line import camloc
from tests.support.estimates import frames_with_images, line_of_poses
from tests.support.networks import checkpoint_of, network_of

from camloc.data import formats as datasets
from camloc.data.formats import nerfstudio
from camloc.data.types import Scene
from camloc.errors import DatasetError
from camloc.evaluation.results import Results
from camloc.evaluation.table import format_table
from camloc.geometry.arrays import Array
from camloc.inference.localizer import Localizer
from camloc.inference.network import Output
from camloc.inference.torch_network import TorchNetwork
from camloc.models.decoding import Decoded, PoseDecoding
from camloc.runs import evaluate
from camloc.runs.evaluate import evaluate_run
from camloc.runs.evaluate import test_sets as sets_of
from camloc.runs.manifest import DataSource, RunManifest

Capture = pytest.CaptureFixture[str]


def test_the_first_set_has_the_name_that_the_data_set_gives_it(tmp_path: Path) -> None:
    day, night = (frames_with_images(tmp_path / name, line_of_poses(2)) for name in ("day", "night"))
    named = Scene("square", day, day, conditions={"night": night, "winter": ()}, test_name="day")
    assert list(sets_of(named)) == ["day", "night"]
    assert sets_of(named)["day"] == day
    assert list(sets_of(Scene("square", day, day))) == ["test"]
    assert list(sets_of(Scene("square", day, (), conditions={"night": night}))) == ["night"]


@pytest.mark.usefixtures("no_report")
def test_a_named_test_set_is_the_headline_of_the_results(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = datasets.load(trained / "scene")
    named = replace(scene, test_name="day", conditions={"night": scene.test[:2]})
    monkeypatch.setattr(DataSource, "load", lambda _: named)
    results = evaluate_run(trained / "run", out=tmp_path).results
    assert [part.name for part in results.sets] == ["day", "night"]
    assert results.headline == results.sets[0]
    assert ",day," in (tmp_path / "estimates.csv").read_text()


def test_a_schedule_that_was_scaled_to_a_budget_is_reported(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    metadata = RunManifest.load(tmp_path / "run")
    replace(metadata, budget_seconds=90.0, schedule_share=0.3751).save(tmp_path / "run")
    training = evaluate_run(tmp_path / "run").results.training
    assert training is not None
    assert (training.budget, training.schedule_share) == ("1.5 minutes", 0.3751)
    assert "the recipe&#39;s epochs times 0.375" in (tmp_path / "run" / "report.html").read_text()
    metadata.save(tmp_path / "run")
    evaluate_run(tmp_path / "run")
    assert "epochs times" not in (tmp_path / "run" / "report.html").read_text()


def test_metres_are_not_claimed_for_a_scene_of_unknown_scale(
    trained: Path, tmp_path: Path, capfd: Capture
) -> None:
    scene = datasets.load(trained / "scene")
    frames = tuple(replace(frame, camera=None) for frame in scene.test)
    nerfstudio.write(Scene("scene", frames), tmp_path / "transforms.json")
    (tmp_path / "test.txt").write_text("".join(f"{frame.name}\n" for frame in frames[1:]))
    (tmp_path / "train.txt").write_text(f"{frames[0].name}\n")
    images = f"images={trained / 'scene'}"
    for option, unit in (((), "units"), (("--option", "unit=m"), "m")):
        out = tmp_path / unit
        data = ("--data", tmp_path, "--layout", "nerfstudio", "--option", images, *option)
        ended = camloc(capfd, "evaluate", trained / "run", *data, "--out", out)
        assert ended.status == 0, ended.err
        assert f"0.25 {unit[0]}, 2°" in ended.out
        assert ("units of a world whose scale is not known" in ended.out) == (unit == "units")
        assert Results.load(out / "results.json").unit == unit
        assert (" units" in (out / "report.html").read_text()) == (unit == "units")


def localizer_of_two_scenes(run: Path) -> Localizer:
    """The run as if it also knew a cellar, which it takes every other image for."""
    localizer = Localizer.load(run)
    whole = checkpoint_of(localizer)

    class Misplaced(PoseDecoding):
        def decode(self, output: Any, *, intrinsics: Array | None = None) -> Decoded:
            decoded = super().decode(output, intrinsics=intrinsics)
            return decoded._replace(scene=np.arange(len(decoded.scene)) % 2)

    class Network(TorchNetwork):
        @property
        def decoding(self) -> PoseDecoding:
            decoding = super().decoding
            assert isinstance(decoding, PoseDecoding)
            return Misplaced(decoding.centers, decoding.orientation)

    metadata = replace(whole.metadata, scenes=(*whole.metadata.scenes, "cellar"))
    checkpoint = replace(whole, metadata=metadata, training_poses=whole.training_poses * 2)
    return replace(localizer, network=replace(network_of(localizer), network=Network(checkpoint)))


@pytest.mark.usefixtures("no_report")
def test_an_answer_in_another_scene_is_lost(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TwoScenes:
        load = staticmethod(lambda run, **_: localizer_of_two_scenes(run))

    alone = evaluate_run(trained / "run", out=tmp_path / "alone").results
    assert alone.headline.estimates.lost == 0
    monkeypatch.setattr(evaluate, "Localizer", TwoScenes)
    results = evaluate_run(trained / "run", out=tmp_path / "both").results
    assert results.headline.lost_reasons == {"located in cellar": 3}
    assert results.final_epoch is not None
    assert results.final_epoch.lost == 3
    elsewhere = DataSource(str(trained / "scene"), scene="attic")
    with pytest.raises(
        DatasetError, match=r"has not learned 'attic', only scene, cellar; name one of them with --scene"
    ):
        evaluate_run(trained / "run", data=elsewhere, out=tmp_path / "attic")


@pytest.mark.parametrize(
    "thresholds",
    [
        {"novelty_threshold": 1e-9},
        {"expected_error": (1.0, 1.0), "mean_pose_errors": {"scene": (1e-3, 1e-3)}},
    ],
)
def test_rejected_images_are_also_scored_as_papers_score_theirs(
    thresholds: dict[str, Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = evaluate_run(trained / "run", out=tmp_path / "alone").results.headline
    assert (alone.estimates.lost, alone.unrejected) == (0, None)
    localizer = Localizer.load(trained / "run")
    whole = checkpoint_of(localizer)
    checkpoint = replace(whole, metadata=replace(whole.metadata, **thresholds))

    class Novel(TorchNetwork):
        def predict(self, images: Any) -> Output:
            return super().predict(images)._replace(novelty=np.ones(len(images), np.float32))

    strict = replace(localizer, network=replace(network_of(localizer), network=Novel(checkpoint)))
    monkeypatch.setattr(evaluate, "Localizer", SimpleNamespace(load=lambda _, **__: strict))
    results = evaluate_run(trained / "run", out=tmp_path / "strict").results
    assert results.headline.estimates.lost == alone.estimates.frames
    assert results.headline.unrejected == alone.estimates
    assert "no image rejected" in format_table(results)
    assert "No image rejected" in (tmp_path / "strict" / "report.html").read_text()


@pytest.mark.usefixtures("no_report")
def test_a_model_of_one_scene_may_know_it_by_another_name(trained: Path, tmp_path: Path) -> None:
    data = DataSource(str(trained / "scene"), scene="attic")
    results = evaluate_run(trained / "run", data=data, out=tmp_path).results
    assert results.scene == "attic"
    assert results.headline.estimates.lost == 0
