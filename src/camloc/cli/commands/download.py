"""`camloc download`: data sets of the papers from their official addresses."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from camloc.cli.options import OptionalFolder, Scenes
from camloc.errors import UsageError

if TYPE_CHECKING:
    from camloc.data.download import Archive


def download(
    name: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(metavar="NAME", help_behavior_hint="(nothing: list what there is)")]
    ] = "",
    *,
    scene: Scenes = (),
    out: OptionalFolder = None,
    yes: bool = False,
) -> None:
    """Download a data set of the papers from its official address, and unpack it.

    The command shows terms and size first, and waits for your consent. The same command continues an
    interrupted download. Without a name, the data sets are listed.

    Args:
        name: Data set, such as 7scenes.
        scene: Scenes (archives) to download; all by default.
        out: Folder of the data set; data/NAME by default.
        yes: Agree to the terms and the size without a question.
    """
    from camloc.cli.progress import counted, show
    from camloc.data.download import SOURCES, archive_size, choose_archives, find_source
    from camloc.data.download import download as fetch

    if not name:
        rows = [(key, each.title, ", ".join(each.archives) or each.instead) for key, each in SOURCES.items()]
        show(("name", "data set", "scenes"), rows)
        return
    source = find_source(name)
    folder = out or Path("data") / name.lower()
    chosen = choose_archives(source, scene)
    wanted = {key: each for key, each in chosen.items() if not (folder / key).exists()}
    for key in chosen.keys() - wanted.keys():
        print(f"{folder / key} exists and is left as it is")
    if not wanted:
        return
    sizes = {key: archive_size(each) for key, each in wanted.items()}
    print(f"{source.title}\n  terms   {source.terms}: {source.page}")
    for key, each in wanted.items():
        print(f"  {key:<14} {_size_words(sizes[key], each)}  {each.url}")
    total = sum(sizes.values())
    print(f"  into    {folder}, {total / 1e9:.1f} GB to download and about twice as much of the disk")
    if not yes and not _is_agreed():
        print("nothing was downloaded")
        return
    for key, each in wanted.items():
        with counted(f"downloading {key}") as update:
            fetch(
                key,
                each,
                folder,
                progress=lambda step, done, of, show=update: show(done, of, label=step),  # type: ignore[misc]
            )
        print(f"{folder / key}")
    print(f"next   camloc datasets {folder}")


def _size_words(size: int, archive: "Archive") -> str:
    if not size:
        return "of unknown size"
    words = f"{size / 1e9:.2f} GB"
    return words if archive.size in (0, size) else f"{words} (it was {archive.size / 1e9:.2f} GB before)"


def _is_agreed() -> bool:
    """Whether the user agrees.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on; agree to the terms and the size with --yes")
    return input("Download? [y/N] ").strip().lower() in ("y", "yes")
