"""`camloc reproduce` on small scenes in the layout of a data set, with a network that trains in a second."""

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console
from tests.support.stand_in import write_data_set
from tests.support.trained import tiny_recipe

from camloc import recipes
from camloc.cli.main import main
from camloc.errors import DatasetError, RecipeError
from camloc.evaluation.published import CAMBRIDGE, find_table
from camloc.evaluation.reproduction import Reproduction, Result, Row, mean_of, our_label, reproduction
from camloc.evaluation.results import RESULTS_NAME, Results
from camloc.runs import reproduce as module
from camloc.runs.commands import CommandFailed
from camloc.runs.evaluate import SCENES
from camloc.runs.manifest import DataSource, RunManifest
from camloc.runs.reproduce import Settings, reproduce
from camloc.training.recipe import Recipe

Commands = list[list[str]]

OPTIONS = {"width": "32", "height": "24"}


def tiny(name: str) -> Recipe:
    """The recipe that all names have here."""
    del name
    return tiny_recipe(epochs=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that `camloc train` has made, as a process of `camloc reproduce` would."""
    folder = tmp_path_factory.mktemp("trained")
    write_data_set(folder / "data", "cambridge", ("ShopFacade",), frames=16)
    words = ["train", "any/recipe", "--data", str(folder / "data"), "--scene", "ShopFacade"]
    words += [word for name, value in OPTIONS.items() for word in ("--option", f"{name}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMLOC_CACHE", str(folder / "cache"))
        patch.setattr(recipes, "find_recipe", tiny)
        main([*words, "--layout", "cambridge", "--out", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Path) -> Commands:
    """The words of all commands; each training gives a copy of `trained` that says what was requested."""
    seen: Commands = []

    def run(words: Sequence[str], log: Path) -> None:
        del log
        seen.append(list(words))
        given = {word: value for word, value in pairwise(words) if word.startswith("--")}
        if words[0] == "autoencode":
            return
        if words[0] == "evaluate":
            for path in list(Path(words[1]).rglob(RESULTS_NAME)):
                kept = Path(given["--out"]) / path.relative_to(words[1])
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept)
            return
        assert words[0] == "train"
        folder, seed = Path(given["--out"]), int(given["--seed"])
        scenes = tuple(words[place + 1] for place, word in enumerate(words) if word == "--scene")
        shutil.copytree(trained, folder)
        sources = tuple(DataSource(given["--data"], "cambridge", scene, OPTIONS) for scene in scenes)
        manifest = RunManifest.load(folder)
        replace(manifest, recipe=words[1], scenes=scenes, seed=seed, data=sources).save(folder)
        results = Results.load(folder / RESULTS_NAME)
        assert results.training is not None
        meters = replace(results.headline.estimates.meters, median=1.0 + seed)
        part = replace(results.headline, estimates=replace(results.headline.estimates, meters=meters))
        training = replace(results.training, seed=seed)
        results = replace(results, headline=part, sets=(part,), training=training)
        for scene in scenes:
            of_scene = folder if len(scenes) == 1 else folder / SCENES / scene
            of_scene.mkdir(parents=True, exist_ok=True)
            results.save(of_scene / RESULTS_NAME)

    monkeypatch.setenv("CAMLOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "run_camloc", run)
    return seen


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def made(**changes: object) -> Settings:
        base: dict[str, object] = {"data": tmp_path / "data", "runs": tmp_path / "runs", "options": OPTIONS}
        return Settings(**{**base, "baselines": ("retrieval",), **changes})  # type: ignore[arg-type]

    return made


def test_a_table_of_averages_has_every_row_ours_with_its_rank_and_the_baselines(
    commands: Commands, settings: Callable[..., Settings], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_data_set(tmp_path / "data", "cambridge", CAMBRIDGE, frames=16)
    table = find_table("transposenet_2021/2")
    found = reproduce(table, settings(), print)
    assert [words[0] for words in commands] == ["train"] * 4
    printed = [row for row in found.rows if row.kind == "printed"]
    assert [row.label for row in printed] == [row.method for row in table.rows]
    (ours,) = (row for row in found.rows if row.kind == "ours")
    assert set(ours.scenes) == set(CAMBRIDGE)
    assert not ours.problem
    (mean,) = ours.cells
    assert mean is not None
    assert mean.meters == pytest.approx(1.0)
    assert ours.ranks is not None
    assert ours.ranks[0] == 1  # 1.00 m is less than any other average of the table
    assert found.headings == ("mean", "ranks", "final rank")
    baselines = {row.label for row in found.rows if row.kind == "baseline"}
    assert {module.ORACLE, module.MEAN_POSE, module.VLAD_INTERPOLATED, module.POOLED} <= baselines
    text = found.markdown()
    assert "| PoseNet | 2.09/6.84 | 10/10 | 10 |" in text
    assert "0.92/3.50" in text  # the misprint
    # Again: nothing is trained, and the files are the same.
    paths = found.save(tmp_path / "table")
    assert (
        reproduce(table, settings(data=None), print).rows[: len(table.rows)] == found.rows[: len(table.rows)]
    )
    assert len(commands) == 4
    assert [path.suffix for path in paths] == [".md", ".csv", ".tex", ".json"]
    assert Reproduction.load(paths[-1]) == found
    rows = list(csv.DictReader(StringIO(paths[1].read_text())))
    assert {row["kind"] for row in rows} == {"printed", "ours", "baseline"}
    assert "taken" in capfd.readouterr().out


def test_a_row_that_fails_says_why_and_the_others_go_on(
    commands: Commands,
    settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_data_set(tmp_path / "data", "cambridge", ("ShopFacade",), frames=16)
    run: Callable[..., None] = vars(module)["run_camloc"]

    def failing(words: Sequence[str], log: Path) -> None:
        if any("shop-6d" in word for word in words):
            raise CommandFailed("the disk is full")
        run(words, log)

    monkeypatch.setattr(module, "run_camloc", failing)
    found = reproduce(find_table("hyperpose_2023/7"), settings(baselines=(), seeds=2), lambda _: None)
    ours = {row.label: row for row in found.rows if row.kind == "ours"}
    assert len(ours) == 3
    failed = ours["ours: 6D"]
    assert failed.cells == (None,)
    assert "the disk is full" in failed.problem
    (good,) = ours["ours: Quaternions"].cells
    assert good is not None
    assert good.meters == 1.5
    assert good.deviation is not None
    assert good.deviation[0] == pytest.approx(0.5**0.5)
    assert str(good).startswith("1.50±0.71/")
    assert "2 seeds, 1 epoch" in ours["ours: Quaternions"].record
    assert len([words for words in commands if words[0] == "train"]) == 4


@pytest.mark.parametrize(
    "name",
    [
        "transposenet_2021/1",
        "hyperpose_2023/3",
        "hyperpose_2025/4",
        "pose_autoencoders_2022/8-cambridge",
        "implicit_geometry_2023/III",
    ],
)
def test_a_table_of_every_paper_has_all_printed_rows_and_columns_and_ours(
    name: str, commands: Commands, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    write_data_set(tmp_path / "data", "cambridge", CAMBRIDGE, frames=16)
    table = find_table(name)
    found = reproduce(table, settings(baselines=()), lambda _: None)
    assert [row.label for row in found.rows if row.kind == "printed"] == [row.method for row in table.rows]
    assert found.headings[: len(table.columns)] == table.columns
    ours = {row.label: row for row in found.rows if row.kind == "ours"}
    assert list(ours) == [our_label(row.method) for row in table.rows if row.recipes]
    masked = {our_label(row.method) for row in table.rows if row.use.startswith("masks")}
    for label, row in ours.items():
        numbers = [cell is not None and cell.meters is not None for cell in row.cells]
        assert all(numbers) != (label in masked)
        assert ("camloc masks" in row.problem) == (label in masked)
    lines = list(csv.DictReader(StringIO(found.csv())))
    for each in table.rows:
        printed = [line for line in lines if (line["method"], line["kind"]) == (each.method, "printed")]
        wanted = [
            float(f"{cell.meters:g}") for cell in each.cells if cell is not None and cell.meters is not None
        ]
        assert [float(line["meters"]) for line in printed[: len(each.cells)]] == wanted
    trainings = [words for words in commands if words[0] == "train"]
    joint = [words for words in trainings if words.count("--scene") > 1]
    # A network of several scenes learns all of them, also for a table of one.
    is_joint = name in ("hyperpose_2025/4", "pose_autoencoders_2022/8-cambridge")
    assert len(joint) == (len(trainings) if is_joint else 0)
    assert all(words.count("--scene") == len(CAMBRIDGE) for words in joint)
    if name.endswith("III"):
        filters = {tuple(words[2:-2]) for words in commands if words[0] == "evaluate"}
        assert ("--filter", "pnp-ransac", "--inliers-within", "10") in filters
        assert ("--filter", "rigid-ransac", "--inliers-within", "0.1") in filters


def test_the_figure_of_the_retrieval_bar_is_written_beside_a_table_with_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", "transposenet_2021/1", "--runs", str(tmp_path), "--out", str(tmp_path / "table")]
    main(words)
    assert "no finished run" in " ".join(capfd.readouterr().out.split())
    drawn = (tmp_path / "table.svg").read_text()
    assert "IR Baseline" in drawn
    assert "AttLoc" not in drawn
    main(["reproduce", "transposenet_2021/5", "--runs", str(tmp_path), "--out", str(tmp_path / "other")])
    assert not (tmp_path / "other.svg").exists()


def test_data_without_a_scene_of_the_table_and_unknown_rows_are_refused(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    write_data_set(tmp_path / "data", "cambridge", ("ShopFacade",), frames=16)
    with pytest.raises(DatasetError, match="none of the scenes"):
        reproduce(find_table("pose_autoencoders_2022/3"), settings(), print)
    with pytest.raises(DatasetError, match="has no scene chess"):
        reproduce(find_table("hyperpose_2023/7"), settings(scenes=("chess",)), print)
    with pytest.raises(RecipeError, match="Quaternions"):
        reproduce(find_table("hyperpose_2023/7"), settings(rows=("9D",)), print)


def test_our_label_leaves_out_the_ours_of_the_paper_and_means_are_rounded_as_in_papers() -> None:
    labels = [our_label(each) for each in ("TransPoseNet (Ours)", "Ours, ResNet34", "Rigid + Weights [ours]")]
    assert labels == ["ours: TransPoseNet", "ours: ResNet34", "ours: Rigid + Weights"]
    # TransPoseNet, Table 2: 2.09/6.84 for PoseNet's row of Table 1, whose means are 2.085 and 6.835.
    halves = [Result(1.92, 5.40), Result(2.31, 5.38), Result(1.46, 8.08), Result(2.65, 8.48)]
    assert str(mean_of(halves)) == "2.09/6.84"


def test_the_best_of_each_half_is_bold_and_retrieval_does_not_count() -> None:
    table = find_table("hyperpose_2023/1")
    number = len(table.rows) - 1
    better = tuple(Result(0.01, 90.0) for _ in CAMBRIDGE)
    found = reproduction(table, {number: Row("ours: HyperPose (Ours)", "ours", better)}, ())
    lines = {line.split("|")[1].strip(): line for line in found.markdown().splitlines() if "|" in line}
    assert lines["ours: HyperPose (Ours)"].count("**0.01**") == 4
    assert "**1.04**" in lines["GeoPoseNet"]
    assert "**" not in lines["DSAC (Seq.)"]
    assert "\\textbf{1.04}" in found.latex()
    assert "**0.87**/3.43" in lines["HyperPose (Ours)"]


def test_test_sets_are_shown_in_blocks_by_scene() -> None:
    table = find_table("hyperpose_2025/1")
    baseline = Row("mean training pose", "baseline", tuple(Result(1.0, 2.0) for _ in table.columns))
    found = reproduction(table, {}, [baseline])
    assert [len(numbers) for numbers in found.blocks().values()] == [4, 4, 4, 4]
    assert found.width < 110
    assert "| scene | method | original | winter | summer | evening |" in found.markdown()
    assert (
        "| OldHospital | Baseline APR | 1.49/3.30 | 1.84/3.72 | 1.53/3.77 | 2.03/3.43 |" in found.markdown()
    )
    # A rule below the headings, above the baselines of each scene, and between two scenes.
    assert found.latex().count(r"\midrule") == 1 + 4 + 3
    text = StringIO()
    Console(file=text, width=found.width).print(found.rich())
    assert "…" not in text.getvalue()
    assert text.getvalue().count("1.63/5.55") == 1
    assert list(reproduction(find_table("hyperpose_2023/1"), {}, ()).blocks()) == [""]
