"""Images of other scenes: how many are taken for the scene that was learned, and how many are lost.

    uv run python -m benchmarks.strangers RUN [RUN ...] --strangers NAME=FOLDER [NAME=FOLDER ...]

shows every run its own test images and those in folders of images of other scenes, among them another
corner of the embedded square's kind. Where a run did not learn to tell its scene from others, it is learned
now, from the run's frames. Writes `docs/results/strangers.json` and `.md`; runs that are not named keep their
rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from camloc.cli.commands.demo import settings_of
from camloc.core.config import from_json, to_json
from camloc.core.device import even_indices
from camloc.data import formats as datasets
from camloc.data.formats.demo import rendered
from camloc.data.splits import hold_out
from camloc.data.types import Frame, Lost, Scene
from camloc.inference.localizer import Localizer
from camloc.models.base import GeometryModel, Regressor
from camloc.models.checkpoint import Checkpoint, load_checkpoint
from camloc.recipes import find_recipe
from camloc.runs.manifest import RunManifest, load_scenes
from camloc.training.scenes import load_scene_images
from camloc.training.validation import fit_novelty_detector

PAGE = Path("docs/results/strangers.md")
IMAGES = {".jpg", ".jpeg", ".png"}
ANOTHER = "another square"

# Of each set, spread evenly over it.
MOST = 100


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        runs: folders of trained runs of one scene each.
        strangers: folders of images of other scenes, as NAME=FOLDER. A run is not shown its own.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """What became of the images of one set.

    Attributes:
        images: how many were shown.
        lost: how many of them were answered with "lost".
    """

    images: int
    lost: int


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        recipe: what it was trained by.
        scene: name of its scene.
        own: its test images, set by set.
        strangers: those of other scenes.
    """

    recipe: str
    scene: str
    own: dict[str, Shown]
    strangers: dict[str, Shown]


@dataclass(frozen=True)
class Measured:
    """All rows of the page, by recipe."""

    rows: dict[str, Row]


def main(settings: Settings) -> None:
    """Show every run all sets, and write the page."""
    named = (each.partition("=") for each in settings.strangers)
    strangers = {name: images_in(Path(folder)) for name, _, folder in named}
    other = datasets.load(rendered(settings_of("corner", seed=1)), layout="demo")
    strangers[ANOTHER] = [replace(each, camera=None) for each in other.train]
    path = PAGE.with_suffix(".json")
    rows = from_json(path.read_bytes(), Measured).rows if path.exists() else {}
    for run in settings.runs:
        row = measured(run, strangers)
        rows[row.recipe] = row
        print(_line(row, list(rows.values())))
    measurement = Measured(rows)
    path.write_bytes(to_json(measurement))
    PAGE.write_text(page(measurement))


def images_in(folder: Path) -> list[Frame]:
    """All images in a folder and those below it, of unknown cameras."""
    files = sorted(each for each in folder.rglob("*") if each.suffix.lower() in IMAGES)
    return [Frame(each.name, each, None) for each in files if "depth" not in each.name]


def measured(run: Path, strangers: Mapping[str, Sequence[Frame]]) -> Row:
    """What one run says of all sets."""
    metadata = RunManifest.load(run)
    (scene,) = load_scenes(metadata.data)
    localizer = Localizer(recognising(run, metadata.recipe, scene), torch.device("cpu"))
    own = {scene.test_name: scene.test, **scene.conditions}
    foreign = {name: frames for name, frames in strangers.items() if name != scene.name}
    return Row(
        recipe=metadata.recipe,
        scene=scene.name,
        own={name: shown(localizer, frames) for name, frames in own.items()},
        strangers={name: shown(localizer, frames) for name, frames in foreign.items()},
    )


def recognising(run: Path, recipe_name: str, scene: Scene) -> Checkpoint:
    """A run's checkpoint, which tells its scene from others."""
    checkpoint = load_checkpoint(run)
    if checkpoint.recognition is not None:
        return checkpoint
    recipe = find_recipe(recipe_name)
    learned, held = hold_out(scene.train, recipe.hold_out)
    model = checkpoint.model
    assert isinstance(model, GeometryModel | Regressor), "no other model tells its scene from others"
    found = fit_novelty_detector(
        model,
        load_scene_images((learned,), recipe.preprocess),
        load_scene_images((held,), recipe.preprocess),
        recipe.preprocess,
        device=torch.device("cpu"),
    )
    if found is None:
        raise SystemExit(f"{run} has held out too few frames to tell its scene from others")
    recognition, within = found
    metadata = replace(checkpoint.metadata, novelty_threshold=within)
    return replace(checkpoint, metadata=metadata, recognition=recognition)


def shown(localizer: Localizer, frames: Sequence[Frame]) -> Shown:
    """What becomes of some images of a set."""
    rows = even_indices(len(frames), MOST).tolist()
    answers = list(localizer.locate_all([frames[row] for row in rows]))
    return Shown(len(answers), sum(isinstance(each, Lost) for each in answers))


def page(measured: Measured) -> str:
    """The whole page."""
    rows = list(measured.rows.values())
    names = _names(rows)
    return "\n".join(
        (
            "# Images of other scenes",
            "",
            "<!-- Written by benchmarks/strangers.py; do not edit. -->",
            "",
            "A network answers any image with some pose. This is the share of images that were "
            f'answered with "lost" instead, of at most {MOST} of each set: first of the scene\'s own test '
            "images, of which none should be, then of other scenes, of which all should be. The bound "
            "was learned from held-out frames of the scene alone.",
            "",
            f"| recipe | scene | own | {' | '.join(names)} |",
            f"| --- | --- | --- |{' --: |' * len(names)}",
            *(_line(row, rows) for row in rows),
            "",
            "    uv run python -m benchmarks.strangers RUN [RUN ...] --strangers NAME=FOLDER ...",
            "",
        )
    )


def _names(rows: Sequence[Row]) -> list[str]:
    """Of all strangers, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row.strangers))


def _line(row: Row, rows: Sequence[Row]) -> str:
    own = ", ".join(f"{name} {_share(each)}" for name, each in row.own.items())
    cells = [_share(row.strangers[name]) if name in row.strangers else "" for name in _names(rows)]
    return f"| `{row.recipe}` | {row.scene} | {own} | {' | '.join(cells)} |"


def _share(shown: Shown) -> str:
    return f"{shown.lost / shown.images:.0%}"


if __name__ == "__main__":
    main(tyro.cli(Settings))
