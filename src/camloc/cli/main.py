"""The command line: one file a command under `commands`, and only the one that is asked for is imported."""

import functools
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from typing import Any

import tyro

from camloc import __version__
from camloc.errors import CamlocError

# In the order in which a newcomer needs them; each is the file and the function of that name.
COMMANDS = {
    "demo": "render a scene, learn it, and locate images of it",
    "train": "learn a scene from images with known poses",
    "evaluate": "measure a run on images it has not learned from",
    "locate": "say where images were taken",
    "masks": "leave people and cars out of images",
    "extend": "add a place to a run of several, from a few images",
    "autoencode": "teach a run's pose auto-encoder, which refines its answers",
    "export": "write a run as one ONNX file",
    "datasets": "list data set layouts, check a folder, convert it",
    "recipes": "list what can be trained",
    "models": "list the networks",
}

_HELP = """usage: camloc COMMAND [OPTIONS]

Find where a camera is from one image.

{commands}

options:
  --help     show this, or with a command what that takes
  --version  show the version

Start with `camloc demo`. Poses are world_from_cam, in metres: camera axes right, down, forward."""

_WRONG_ARGUMENTS = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Where it cannot be done, print one sentence and exit with status 1; where the arguments make no
    sense, with status 2.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name that is not UTF-8 must not stop an answer
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            _answer(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever was reading has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answer(arguments: list[str]) -> None:
    match arguments:
        case [] | ["-h" | "--help", *_]:
            print(_help())
        case ["--version", *_]:
            print(f"camloc {__version__}")
        case [command, *_] if command not in COMMANDS:
            sys.exit(_told(_unknown(command), status=_WRONG_ARGUMENTS))
        case [command, *rest]:
            _run(command, rest)


def _run(command: str, arguments: list[str]) -> None:
    # Waiting threads must not spin: on a machine that is busy with other things, training is ten
    # times slower otherwise. Read by OpenMP when torch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import warnings

    warnings.simplefilter("ignore")
    try:
        parsed(command, arguments)()
    except WrongArguments as problem:
        sys.exit(_told(str(problem), status=_WRONG_ARGUMENTS))
    except CamlocError as problem:
        sys.exit(_told(str(problem)))
    except KeyboardInterrupt:
        sys.exit(_told("stopped; give the same command again to go on", status=130))
    except BrokenPipeError:
        raise
    except OSError as problem:
        where = f" ({problem.filename})" if problem.filename else ""
        sys.exit(_told(f"{(problem.strerror or str(problem)).lower()}{where}"))


def _help() -> str:
    width = max(map(len, COMMANDS))
    return _HELP.format(commands="\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()))


def _unknown(command: str) -> str:
    from difflib import get_close_matches

    if command.startswith("-"):
        return f"there is no option {command} before the command; see camloc --help"
    near = get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
    return f"there is no command '{command}'; {hint}"


def _told(sentence: str, *, status: int = 1) -> int:
    print(f"camloc: {' '.join(sentence.splitlines())}", file=sys.stderr)
    return status


# The sides of the box that tyro draws around its messages, and the parts that are left out of them.
_SIDES = "│\n"
_NOT_TOLD = ("For full helptext", "Argument helptext")


class WrongArguments(Exception):  # noqa: N818 - it ends up as a sentence, and never as a traceback
    """An option or a value that a command does not take."""


def parsed(command: str, arguments: list[str]) -> Callable[[], None]:
    """The command, ready to run with its arguments.

    Nothing of it has run yet: an error of its own must not be taken for one of the arguments.

    Raises:
        WrongArguments: the command takes no such arguments.
        SystemExit: help was asked for, and is printed.
    """
    function = getattr(importlib.import_module(f"camloc.cli.commands.{command}"), command)

    @functools.wraps(function)
    def deferred(*values: Any, **named: Any) -> Callable[[], None]:
        return functools.partial(function, *values, **named)

    said = io.StringIO()
    try:
        with redirect_stderr(said):
            call: Callable[[], None] = tyro.cli(
                deferred,
                prog=f"camloc {command}",
                args=arguments,
                use_underscores=False,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            )
    except SystemExit as ended:
        if not ended.code:
            raise
        raise WrongArguments(f"{_sentence(said.getvalue())}; see camloc {command} --help") from None
    return call


def _sentence(message: str) -> str:
    """What tyro's boxed message says, without the box and without the help of single options.

    Names of options stand indented by four under a line that says what is the matter with them, and
    their help is indented by more.
    """
    rows = [row.strip(_SIDES).removeprefix(" ").rstrip() for row in message.splitlines()]
    said = ""
    for block in re.split(r"^[─╭╮╰╯].*$", "\n".join(rows), flags=re.MULTILINE):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines or lines[0].startswith(_NOT_TOLD):
            continue
        matter = " ".join(line for line in lines if not line.startswith(" "))
        names = ", ".join(line.strip() for line in lines if re.match(r" {4}\S", line))
        told = f"{matter} {names}".strip().removesuffix(" Expected 1 values.").rstrip(".")
        said += f"{'; ' if said else ''}{told[:1].lower()}{told[1:]}"
    return said or "the arguments make no sense"
