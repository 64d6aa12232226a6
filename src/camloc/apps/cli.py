"""The command line: one file a command under `commands`, imported light, so that help is instant."""

import os
import sys
import warnings
from collections.abc import Sequence

import tyro

from camloc import __version__
from camloc.apps.commands.datasets import datasets
from camloc.apps.commands.demo import demo
from camloc.apps.commands.evaluate import evaluate
from camloc.apps.commands.export import export
from camloc.apps.commands.locate import locate
from camloc.apps.commands.models import models
from camloc.apps.commands.recipes import recipes
from camloc.apps.commands.train import train
from camloc.errors import CamlocError

_DESCRIPTION = """Find where a camera is from one photograph.

Start with `camloc demo`. Poses are world_from_cam: camera axes right, down, forward."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; print one sentence and exit with status 1 where it cannot be done."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"camloc {__version__}")
        return
    # Waiting threads must not spin: on a machine that is busy with other things, training is ten
    # times slower otherwise. Read by OpenMP when torch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.simplefilter("ignore")
    app = tyro.extras.SubcommandApp()
    for command in (demo, train, evaluate, locate, export, datasets, recipes, models):
        app.command(command)
    try:
        app.cli(prog="camloc", description=_DESCRIPTION, args=arguments or ["--help"], use_underscores=False)
    except CamlocError as problem:
        sys.exit(_told(str(problem)))
    except KeyboardInterrupt:
        sys.exit(_told("stopped; give the same command again to go on", status=130))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as problem:
        where = f" ({problem.filename})" if problem.filename else ""
        sys.exit(_told(f"{(problem.strerror or str(problem)).lower()}{where}"))


def _told(sentence: str, *, status: int = 1) -> int:
    print(f"camloc: {sentence}", file=sys.stderr)
    return status
