"""Help, lists and arguments that make no sense: short, in words, and at once."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.command_line import camloc, refused

import camloc as package
from camloc import models
from camloc.cli import main as parsing
from camloc.cli import progress as listing
from camloc.cli.main import COMMANDS, function_name
from camloc.data import formats
from camloc.models.base import PoseModel
from camloc.recipes import recipe_functions, student_functions

Capture = pytest.CaptureFixture[str]


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_help_lists_every_command_in_one_line(capfd: Capture) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        ended = camloc(capfd, *arguments)
        assert ended.status == 0
        lines = ended.out.splitlines()
        assert len(lines) < 40
        assert max(map(len, lines)) <= 100
        for command in COMMANDS:
            assert sum(line.split()[:1] == [command] for line in lines) == 1


def test_every_command_is_a_file_and_every_file_a_command() -> None:
    import camloc.cli.commands

    (folder,) = camloc.cli.commands.__path__
    files = {path.stem for path in Path(folder).glob("*.py")} - {"__init__"}
    assert files == set(map(function_name, COMMANDS))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_what_goes_where(command: str, capfd: Capture) -> None:
    ended = camloc(capfd, command, "--help")
    assert ended.status == 0
    assert ended.err == ""
    assert f"usage: camloc {command}" in ended.out
    for type_name in ("STR", "PATH [", "{None}", "None", "[PATH", " INT"):
        assert type_name not in ended.out, type_name


def test_the_version_is_that_of_the_package(capfd: Capture) -> None:
    assert camloc(capfd, "--version").out == f"camloc {package.__version__}\n"


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "rich", "tyro", "PIL", "scipy", "msgspec", "matplotlib")
    ended = python(
        "import sys, camloc.cli.main as cli; cli.main(['--help']); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


def test_parsing_arguments_imports_no_torch() -> None:
    program = (
        "import sys\nfrom camloc.cli.main import parsed\n"
        "parsed('train', ['room/hyperpose', '--data', '.'])\n"
        "print([m for m in ('torch', 'numpy', 'rich') if m in sys.modules])"
    )
    ended = python(program)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], ("no command 'trian'", "did you mean train?")),
        (["conjure"], ("no command 'conjure'", "camloc --help")),
        (["--verbose"], ("no option --verbose", "camloc --help")),
        (["train"], ("RECIPE", "camloc train --help")),
        (["train", "room/hyperpose", "--dat", "x"], ("--data FOLDER", "--dat")),
        (["train", "r", "--data", "x", "--seed", "lucky"], ("--seed", "'lucky'")),
        (["train", "r", "--data", "x", "--device", "tpu"], ("'tpu'", "--device", "'cuda'")),
        (["train", "r", "--data"], ("--data", "value")),
        (["train", "r", "--data", "x", "--no-such"], ("--no-such",)),
        (["demo", "--area", "moon"], ("'moon'", "'corner'")),
        (["locate"], ("RUN", "camloc locate --help")),
        (["locate", "run", "a.jpg", "--format", "xml"], ("'xml'", "'colmap'")),
        (["export"], ("RUN",)),
        (["export", "a", "b"], ("unrecognized", "b")),
        (["evaluate", "--run", "x"], ("value", "run")),
        (["import", "x", "y", "--to", "pdf"], ("'pdf'", "'table'")),
        (["recipes", "--jsn"], ("--jsn", "--json")),
        (["models", "extra"], ("extra",)),
    ],
)
def test_arguments_that_make_no_sense_end_with_status_2_and_a_sentence(
    arguments: list[str], message: tuple[str, ...], capfd: Capture
) -> None:
    ended = camloc(capfd, *arguments)
    assert ended.status == 2
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert line.startswith("camloc: ")
    assert len(line) < 200
    for part in message:
        assert part in line
    assert not set("│╭╰─") & set(line)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--focal", "x"], "error parsing --focal: 'x' is no FLOAT"),
        (["-x.jpg"], "unrecognized options: -x.jpg"),
        (["a.jpg", "--format", "xml"], "invalid choice 'xml'"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_wrong_arguments_are_told_in_any_encoding(
    encoding: str, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the output is not UTF-8, the box around tyro's messages is another one."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    with pytest.raises(parsing.WrongArguments) as caught:
        parsing.parsed("locate", ["run", *arguments])
    assert str(caught.value).startswith(message)
    assert "---" not in str(caught.value)


def test_a_long_message_is_cut_to_a_screen(capfd: Capture) -> None:
    message = refused(capfd, "datasets", f"{'x' * 3000}/data")
    assert len(message) < 1600
    assert "..." in message


def test_the_lists_name_everything_in_full(capfd: Capture) -> None:
    recipes = camloc(capfd, "recipes").out
    for name in json.loads(camloc(capfd, "recipes", "--json").out):
        assert name in recipes.split()
    layouts = camloc(capfd, "datasets").out
    assert all(name in layouts.split() for name in formats.LAYOUTS)
    models = camloc(capfd, "models").out.split()
    for row in json.loads(camloc(capfd, "models", "--json").out):
        assert row["model"] in models
        assert row["preset"] in models
        assert f"{row['parameters']:,}" in models


def test_recipes_stand_under_the_heading_of_their_file(capfd: Capture) -> None:
    lines = camloc(capfd, "recipes").out.splitlines()
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert any(line.startswith("MapNet (Brahmbhatt et al., CVPR 2018)") for line in headings)
    row = lines.index(next(line for line in lines if line.startswith("  mapnet_2018/sevenscenes ")))
    assert lines[row - 1].startswith("MapNet")
    assert "published: " not in "".join(lines)


@pytest.mark.parametrize("word", ["mapnet", "MapNet", "2018"])
def test_a_word_chooses_recipes_and_shows_their_numbers(word: str, capfd: Capture) -> None:
    message = camloc(capfd, "recipes", word)
    assert "mapnet_2018/sevenscenes" in message.out.split()
    assert "heads 0.18 m 13.3°" in message.out
    assert "demo/hyperpose" not in message.out.split()
    chosen = json.loads(camloc(capfd, "recipes", word, "--json").out)
    assert {"mapnet_2018/sevenscenes", "mapnet_2018/cambridge-third"} <= set(chosen)
    assert chosen["mapnet_2018/sevenscenes"]["window"] == {"frames": 3, "apart": 10}


def test_what_is_trained_beside_a_run_stands_in_a_group_of_its_own(capfd: Capture) -> None:
    lines = camloc(capfd, "recipes").out.splitlines()
    heading = next(row for row, line in enumerate(lines) if "camloc autoencode RUN --recipe NAME" in line)
    named = [
        {word for line in part for word in line.split()[:1]} for part in (lines[:heading], lines[heading:])
    ]
    assert set(student_functions()) <= named[1]
    assert not set(student_functions()) & named[0]
    assert not set(recipe_functions()) & named[1]
    whole = json.loads(camloc(capfd, "recipes", "--json").out)
    assert {name for name, row in whole.items() if row["command"] == "autoencode"} == set(student_functions())
    assert {name for name, row in whole.items() if row["command"] == "train"} == set(recipe_functions())
    assert whole["students/quick"]["variants"] == 4


def test_a_word_chooses_among_them_too_and_shows_their_numbers(capfd: Capture) -> None:
    message = camloc(capfd, "recipes", "Virtual Relative Pose").out
    assert "heads 0.10 m" in message
    assert "students/quick" not in message.split()
    assert "3 recipes; camloc autoencode RUN --recipe NAME" in message
    both = json.loads(camloc(capfd, "recipes", "PoseNet+MobileNet", "--json").out)
    assert both["pose_autoencoders_2022/teacher-mobilenet"]["command"] == "train"
    assert both["pose_autoencoders_2022/mobilenet"]["published"][0]["meters"] == 1.15


def test_a_word_that_no_recipe_has_is_reported(capfd: Capture) -> None:
    assert "no recipe has 'nonsense'" in refused(capfd, "recipes", "nonsense", status=1)


@pytest.mark.parametrize("width", [72, 80, 120])
def test_recipes_fit_a_terminal(width: int, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_FILE_WIDTH", width)
    for words in ((), ("2023",)):
        lines = camloc(capfd, "recipes", *words).out.splitlines()
        assert max(map(len, lines)) <= width


def test_counting_weights_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks are as large as they like: only their shapes are made."""
    made: list[torch.device] = []
    build = models.build_model

    def watched(name: str, config: object) -> PoseModel[Any]:
        model = build(name, config)
        made.extend({parameter.device for parameter in model.parameters()})
        return model

    monkeypatch.setattr(models, "build_model", watched)
    for name in models.model_names():
        for config in models.presets(name).values():
            assert models.parameter_count(name, config) > 0
    assert set(made) == {torch.device("meta")}


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_a_reader_that_stops_early_is_no_error(arguments: list[str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "camloc", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    with child.stderr as printed:
        assert printed.read() == b""
    assert child.wait() == 0


def test_an_interruption_says_how_to_go_on(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(parsing, "parsed", interrupted)
    assert "same command again" in refused(capfd, "train", status=130)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command(shell: str, capfd: Capture) -> None:
    ended = camloc(capfd, "completion", shell)
    assert ended.status == 0, ended.err
    for command in COMMANDS:
        assert f"'{command}'" in ended.out or f'"{command}' in ended.out
