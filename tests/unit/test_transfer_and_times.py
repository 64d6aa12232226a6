"""The transfer curve and the tables of times: what is trained, taken and printed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.estimates import line_of_poses, small_set
from tests.support.stand_in import write_data_set

from camloc.core.config import to_json
from camloc.errors import DatasetError, RecipeError
from camloc.evaluation.errors import SceneDecision, score_sets
from camloc.evaluation.multi_scene import OneScene
from camloc.evaluation.report.model_figures import transfer_figure
from camloc.evaluation.results import results_of
from camloc.runs import run_times as times
from camloc.runs import transfer as module
from camloc.runs.commands import CommandFailed, run_camloc
from camloc.runs.extend import COMPARISON, ExtensionResults
from camloc.runs.reproduce import Settings


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The words of all commands; an extension from a share of the frames errs by one metre over the share."""
    seen: list[list[str]] = []
    scored = score_sets([small_set(tmp_path / "set")], line_of_poses(3))
    part = results_of(scored, train_frames=3, model="m", recipe="r", scene="heads").headline

    def run(words: Sequence[str], log: Path) -> None:
        del log
        seen.append(list(words))
        if words[0] != "extend":
            return
        options = {word: words[place + 1] for place, word in enumerate(words) if word.startswith("--")}
        share = float(options["--fraction"])
        if share == 0.25 and "ms_hyperpose" in words[1]:
            raise CommandFailed("the disk is full")
        meters = replace(part.estimates.meters, median=0.1 / share)
        estimates = replace(part.estimates, meters=meters)
        new = OneScene("heads", "m", replace(part, estimates=estimates, decision=SceneDecision(6, 3)))
        folder = Path(options["--out"])
        folder.mkdir(parents=True)
        found = ExtensionResults("run", share, 5, "all", new, (), 1.0, 0.5)
        (folder / COMPARISON).write_bytes(to_json(found))

    monkeypatch.setattr(module, "run_camloc", run)
    return seen


def test_the_transfer_curve_trains_without_the_new_scene_and_extends_by_its_parts(
    commands: list[list[str]], tmp_path: Path
) -> None:
    write_data_set(tmp_path / "data", "sevenscenes", ("chess", "heads"), frames=8)
    settings = Settings(data=tmp_path / "data", runs=tmp_path / "runs", budget="3s")
    table, curves = module.transfer(settings, lambda _: None)
    trained = [words for words in commands if words[0] == "train"]
    assert all("chess" in words and "heads" not in words for words in trained)
    without, with_it = curves.values()
    assert [point[0] for point in without] == [*module.FRACTIONS]
    assert [point[1] for point in without] == pytest.approx([0.1 / share for share in module.FRACTIONS])
    assert [point[0] for point in with_it] == [0.05, 0.1, 0.5, 0.75]
    assert len(table.rows) == 2 * len(module.FRACTIONS)
    assert table.rows[0][:4] == ("MS-Transformer", "5%", "2.00 m", "2.00°")
    assert table.rows[0][4:] == ("50.0 %", "100 % -> 50.0 % right")
    assert table.rows[7][2:] == ("-", "-", "-", "-")
    assert any("the disk is full" in remark for remark in table.remarks)
    assert transfer_figure(curves, "heads").startswith(b"<?xml")
    # Again, without data: what exists is taken.
    count = len(commands)
    again, _ = module.transfer(replace(settings, data=None, scenes=("chess",)), lambda _: None)
    assert again.rows == table.rows
    assert len(commands) == count
    with pytest.raises(DatasetError, match="heads"):
        module.transfer(replace(settings, scenes=("stairs",)), lambda _: None)


@pytest.mark.parametrize(
    ("name", "rows", "printed"),
    [
        ("implicit_geometry_2023/II-run-time", 4, ("256 ms", "45 ms", "90 ms", "14 ms")),
        ("pose_autoencoders_2022/5", 2, ("1.22 ms", "0.16 ms")),
    ],
)
def test_a_table_of_times_has_ours_beside_the_printed_ones(
    name: str, rows: int, printed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(times, "_milliseconds", lambda *_: 50.0)
    table = times.run_times(name)
    assert len(table.rows) == rows
    assert all(len(row) == len(table.headings) for row in table.rows)
    assert all(any(value in row for row in table.rows) for value in printed)
    assert all("50 ms" in row for row in table.rows)
    for path in table.save(tmp_path / "table"):
        assert "50 ms" in path.read_text()
    with pytest.raises(RecipeError, match="no table of times"):
        times.run_times("implicit_geometry_2023/VI")


def test_the_reason_of_a_failed_command_is_its_own_last_sentence_and_not_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crash = "print('camloc: the budget is short'); raise OSError('the disk is full')"
    refusal = "print('camloc: there is no data set'); print('next'); raise SystemExit(1)"
    for program, reason in ((crash, "OSError: the disk is full"), (refusal, "there is no data set")):
        name = tmp_path / "camloc.py"
        name.write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(CommandFailed, match=reason):
            run_camloc([], tmp_path / "log")
