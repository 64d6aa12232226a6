"""The command line: one file a command under `commands`; only the command that runs is imported."""

import functools
import importlib
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from types import FrameType
from typing import Any

from camloc import __version__
from camloc.errors import CamlocError, UsageError

# In the order in which a newcomer needs them; each is the file and the function of that name.
COMMANDS = {
    "demo": "render a scene, learn it and locate test images: the tour",
    "start": "poses, map and report of photographs or a video, in one command",
    "poses": "compute the camera poses of photographs or a video",
    "check": "look for faults of a data set before training",
    "map": "build a map of a scene from images with known poses",
    "train": "train a network on images with known poses",
    "evaluate": "measure a run on its test images and write a report",
    "figure": "draw attention, clusters, trajectories or errors of a run",
    "compare": "compare runs, seeds and trajectories frame by frame",
    "reproduce": "train and measure a table of a paper, beside the printed numbers",
    "locate": "print the camera poses of images",
    "track": "locate a video or a sequence, smooth the path and bridge gaps",
    "view": "show a run or a data set in 3-D, in the browser",
    "serve": "answer photographs over HTTP, with a page to try it",
    "masks": "mask people and vehicles in images",
    "extend": "add a scene to a multi-scene run, from a few images",
    "autoencode": "train a pose auto-encoder, which refines a run's poses",
    "convert": "make a run of weights that a paper's authors published",
    "export": "write a run as one folder that locates without torch",
    "import": "write a data set in another layout",
    "download": "download a data set of the papers",
    "edit": "make winter, summer and evening of the test images",
    "datasets": "list data set layouts, describe a folder",
    "recipes": "list the training recipes",
    "models": "list the networks and their sizes",
    "completion": "print the completion of camloc for a shell",
}

_HELP = """usage: camloc COMMAND [OPTIONS]

Find where a camera is from one image.

{commands}

options:
  --help     show this message, or the options of a command
  --version  show the version

Start with `camloc demo`. Poses are world_from_cam, in metres: camera axes right, down, forward."""

_WRONG_ARGUMENTS = 2
_INTERRUPTED = 130

# Letters of a message.
_LONGEST_MESSAGE = 1500
_STOPPED = "stopped; give the same command again to continue"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    An error is printed as one sentence on standard error. The exit status is then 1, or 2 for wrong
    arguments.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # so that printing a file name that is not UTF-8 cannot fail
            stream.reconfigure(errors="backslashreplace")
    try:
        with _interrupts_in_a_sentence():
            try:
                _dispatch(arguments)
            finally:
                sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _interrupts_in_a_sentence() -> Iterator[None]:
    """Report an interrupt in one sentence, also where it became another error.

    While modules are imported, Python and libraries turn `KeyboardInterrupt` into errors of other kinds or
    abort; the process then ends at once, which every file withstands.
    """
    is_interrupted = False

    def note(_number: int, frame: FrameType | None) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                os._exit(_print_error(_STOPPED, status=_INTERRUPTED))
            frame = frame.f_back
        raise KeyboardInterrupt

    # Python's own handler, or none: see `camloc.__main__`. Otherwise somebody else decides.
    is_free = signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL)
    is_ours = is_free and threading.current_thread() is threading.main_thread()
    try:
        if is_ours:
            signal.signal(signal.SIGINT, note)
        yield
    except (KeyboardInterrupt, Exception) as problem:
        if not is_interrupted and not isinstance(problem, KeyboardInterrupt):
            raise
        sys.exit(_print_error(_STOPPED, status=_INTERRUPTED))
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _dispatch(arguments: list[str]) -> None:
    match arguments:
        case [] | ["-h" | "--help", *_]:
            print(_help())
        case ["--version", *_]:
            print(f"camloc {__version__}")
        case [command, *_] if command not in COMMANDS:
            sys.exit(_print_error(_unknown(command), status=_WRONG_ARGUMENTS))
        case [command, *rest]:
            _run(command, rest)


def _run(command: str, arguments: list[str]) -> None:
    # Idle OpenMP threads must sleep, not spin: spinning makes training ten times slower on a busy machine.
    # OpenMP reads this when torch is imported, which happens later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import warnings

    warnings.simplefilter("ignore")
    try:
        parsed(command, arguments)()
    except WrongArguments as problem:
        sys.exit(_print_error(str(problem), status=_WRONG_ARGUMENTS))
    except UsageError as problem:
        sys.exit(_print_error(str(problem), status=_WRONG_ARGUMENTS))
    except CamlocError as problem:
        sys.exit(_print_error(str(problem)))
    except ModuleNotFoundError as problem:
        sys.exit(_print_error(_missing_library(command, problem)))
    except BrokenPipeError:
        raise
    except OSError as problem:
        where = f" ({problem.filename})" if problem.filename else ""
        sys.exit(_print_error(f"{(problem.strerror or str(problem)).lower()}{where}"))


def _missing_library(command: str, problem: ModuleNotFoundError) -> str:
    """The sentence for a library that is not installed; the error itself if no extra installs it."""
    from camloc.core.extras import extra_of, missing_library

    library = (problem.name or "").partition(".")[0]
    extra = extra_of(library)
    if extra is None:
        raise problem
    return missing_library(f"camloc {command}", library, extra)


def _help() -> str:
    width = max(map(len, COMMANDS))
    return _HELP.format(commands="\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()))


def _unknown(command: str) -> str:
    from difflib import get_close_matches

    if command.startswith("-"):
        return f"there is no option {command} before the command; see camloc --help"
    near = get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else "camloc --help lists the commands"
    return f"there is no command '{command}'; {hint}"


def _print_error(sentence: str, *, status: int = 1) -> int:
    line = " ".join(sentence.splitlines())
    if len(line) > _LONGEST_MESSAGE:  # a screen; what to do is at the end
        line = f"{line[: _LONGEST_MESSAGE * 2 // 3]} ... {line[-_LONGEST_MESSAGE // 3 :]}"
    print(f"camloc: {line}", file=sys.stderr, flush=True)
    return status


def function_name(command: str) -> str:
    """The name of a command's file and function; `import` is a keyword of Python and cannot be one."""
    return {"import": "import_scene"}.get(command, command)


def function_of(command: str) -> Callable[..., None]:
    """The function that runs a command; its file is imported."""
    name = function_name(command)
    function: Callable[..., None] = getattr(importlib.import_module(f"camloc.cli.commands.{name}"), name)
    return function


def _without_line_breaks(docstring: str) -> str:
    """A docstring with every paragraph and every argument on one line, for tyro to break them again."""
    lines: list[str] = []
    is_open = False
    for line in docstring.splitlines():
        starts = not line.strip() or re.match(r"Args:$|    \w+(, \w+)*: ", line)
        if is_open and not starts:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
        is_open = bool(line.strip()) and line != "Args:"
    return "\n".join(lines)


# tyro draws a box around its messages; these are its sides, and the lines that are dropped.
_SIDES = "│\n"
_NO_TYPE = re.compile(r"no type matching (.+?) could be instantiated from \[(.*?)\]\. Got errors:.*")
_DROPPED_LINES = ("For full helptext", "Argument helptext")


class WrongArguments(Exception):  # noqa: N818 - printed as a sentence, never as a traceback
    """A command was given an unknown option or an invalid value."""


def parsed(command: str, arguments: list[str]) -> Callable[[], None]:
    """A call of the command with its parsed arguments.

    The command runs only when the call is made, so that its own errors are not reported as wrong arguments.

    Raises:
        WrongArguments: an option is unknown or a value invalid.
        SystemExit: the arguments request help, which has been printed.
    """
    import inspect  # here, so that `camloc --help` and `--version` print at once

    import tyro

    function = function_of(command)
    function.__doc__ = _without_line_breaks(inspect.cleandoc(function.__doc__ or ""))

    @functools.wraps(function)
    def deferred(*values: Any, **named: Any) -> Callable[[], None]:
        return functools.partial(function, *values, **named)

    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
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
        raise WrongArguments(f"{_sentence(printed.getvalue())}; see camloc {command} --help") from None
    return call


def _sentence(message: str) -> str:
    """tyro's message as one sentence, without its box and without the help of single options.

    tyro prints the problem on a line of its own, the names of the options below it indented by four spaces,
    and their help indented further.
    """
    lines = message.splitlines()
    if "╭" not in message:  # where the output is not UTF-8, the box has a heading and lines of hyphens
        rules = [number for number, line in enumerate(lines) if re.fullmatch(r" *-{5,} *", line)]
        lines = ["─" if number in rules else line[1:] for number, line in enumerate(lines)]
        lines = lines[rules[0] :] if rules else lines
    rows = [row.strip(_SIDES).removeprefix(" ").rstrip() for row in lines]
    sentence = ""
    for block in re.split(r"^[─╭╮╰╯].*$", "\n".join(rows), flags=re.MULTILINE):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines or lines[0].startswith(_DROPPED_LINES):
            continue
        problem = " ".join(line for line in lines if not line.startswith(" "))
        names = ", ".join(line.strip() for line in lines if re.match(r" {4}\S", line))
        part = f"{problem} {names}".strip().removesuffix(" Expected 1 values.").rstrip(".")
        part = _NO_TYPE.sub(r"\2 is no \1", part)
        sentence += f"{'; ' if sentence else ''}{part[:1].lower()}{part[1:]}"
    return sentence or "the arguments are not valid"
