"""What `camloc extend` prints: errors before and after, in words where there is no percentage."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.support.estimates import line_of_poses, small_set

from camloc.cli.commands.extend import extension_table
from camloc.core.config import from_json, to_json
from camloc.evaluation.errors import SceneDecision, score_sets
from camloc.evaluation.multi_scene import OneScene
from camloc.evaluation.report.wording import change
from camloc.evaluation.results import results_of
from camloc.runs.extend import Comparison, ExtensionResults


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (0.1, 0.11, "+10 %"),
        (0.1, 0.05, "-50 %"),
        (0.1, 0.1, "same"),
        (0.0, 0.0, "same"),
        (0.0, 0.1, "was 0"),
        (0.1, None, "lost"),
        (0.0, None, "lost"),
        (None, 0.1, "was lost"),
        (None, None, "still lost"),
    ],
)
def test_a_change_is_a_percentage_or_a_word(before: float | None, after: float | None, words: str) -> None:
    assert change(before, after) == words


def results(folder: Path, known: tuple[Comparison, ...]) -> ExtensionResults:
    frames = small_set(folder)
    scored = score_sets([frames], line_of_poses(3))
    headline = results_of(scored, train_frames=3, model="m", recipe="r", scene="attic").headline
    return ExtensionResults("run", 0.5, 3, "all", OneScene("attic", "m", headline), known, 1.0, 0.9)


KNOWN = (
    Comparison(
        "garden",
        (0.1, 2.0),
        (0.11, 2.0),
        SceneDecision(80, 80),
        SceneDecision(80, 76, {"attic": 3, "cellar": 1}),
    ),
    Comparison("cellar", (0.0, 1.0), (None, None), None, SceneDecision(40, 5, {"attic": 35})),
    Comparison("hall", (None, None), (0.2, 3.0), None, None),
)


def test_the_table_says_what_became_of_known_scenes_and_who_is_taken_for_the_new_one(tmp_path: Path) -> None:
    found = results(tmp_path, KNOWN)
    console = Console(width=120, record=True, file=StringIO())
    console.print(extension_table(found))
    message = console.export_text()
    lines = {line.split()[0]: line for line in message.splitlines() if line.split()}
    assert "+10 %, same" in lines["garden"]
    assert "95.0 %" in lines["garden"]
    assert "3 of 80" in lines["garden"]
    assert "∞" in lines["cellar"]
    assert "lost" in lines["cellar"]
    assert "35 of 40" in lines["cellar"]
    assert "was lost" in lines["hall"]
    assert "38 of their images are now taken for attic" in " ".join(message.split())
    assert "inf" not in message


def test_the_largest_change_is_that_of_the_scene_that_suffers_most() -> None:
    assert [known.change for known in KNOWN] == [
        (pytest.approx(0.1), 0.0),
        (float("inf"), float("inf")),
        (-1.0, -1.0),
    ]
    assert from_json(to_json(KNOWN[0]), Comparison) == KNOWN[0]
