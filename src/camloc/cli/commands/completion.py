"""`camloc completion`: the script that completes commands and options in a shell."""

from typing import Literal

import tyro


def completion(shell: tyro.conf.Positional[Literal["bash", "zsh", "tcsh"]]) -> None:
    """Print the script that completes camloc's commands and options in a shell.

    For bash: camloc completion bash > ~/.local/share/bash-completion/completions/camloc
    For zsh: camloc completion zsh > DIRECTORY/_camloc, with a DIRECTORY of $fpath

    Args:
        shell: The shell.
    """
    from camloc.cli.main import COMMANDS, function_of

    tyro.extras.subcommand_cli_from_dict(
        {command: function_of(command) for command in COMMANDS},
        prog="camloc",
        args=["--tyro-print-completion", shell],
        use_underscores=False,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )
