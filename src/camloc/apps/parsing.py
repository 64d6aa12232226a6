"""A command's arguments, by its function's signature, and one sentence where they make no sense."""

import functools
import importlib
import io
import re
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import tyro

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
    function = getattr(importlib.import_module(f"camloc.apps.commands.{command}"), command)

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
