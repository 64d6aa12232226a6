"""Images of other scenes: how many are located in the scene that a model has learned, and how many are lost.

    uv run python -m benchmarks.out_of_distribution RUN [RUN ...] --others NAME=FOLDER [NAME=FOLDER ...]

gives every run its own test images and those in folders of images of other scenes, among them another corner
of the embedded square's kind. Where a run has no novelty detector, one is fitted to the run's frames. Writes
`docs/results/out_of_distribution.json` and `.md`; runs that are not named keep their rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from benchmarks.page import known, result_page, table, write
from camloc.cli.commands.demo import settings_of
from camloc.core.sampling import even_items
from camloc.data import formats as datasets
from camloc.data.formats.demo import rendered
from camloc.data.splits import hold_out
from camloc.data.types import Frame, Lost, Scene
from camloc.inference.localizer import Localizer
from camloc.inference.network import NetworkLocalizer
from camloc.inference.torch_network import TorchNetwork
from camloc.models.base import GeometryModel, Regressor
from camloc.models.checkpoint import Checkpoint, load_checkpoint
from camloc.recipes import find_recipe
from camloc.runs.manifest import RunManifest, load_scenes
from camloc.training.scenes import load_scene_images
from camloc.training.validation import fit_novelty_detector

IMAGES = {".jpg", ".jpeg", ".png"}
ANOTHER = "another square"

# Images of each set, in even steps over it.
MOST = 100


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        runs: folders of trained runs of one scene each.
        others: folders of images of other scenes, as NAME=FOLDER. A run is not given its own.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """Images of one set, and how many of them were lost."""

    images: int
    lost: int

    @property
    def share(self) -> str:
        """The share of lost images."""
        return f"{self.lost / self.images:.0%}"


@dataclass(frozen=True)
class Row:
    """One run: its recipe, its scene, its own test sets, and those of other scenes."""

    recipe: str
    scene: str
    own: dict[str, Count]
    others: dict[str, Count]


@dataclass(frozen=True)
class Measured:
    """All rows of the page, by recipe."""

    rows: dict[str, Row]


def main(settings: Settings) -> None:
    """Locate the images of all sets with every run, and write the page."""
    named = (each.partition("=") for each in settings.others)
    others = {name: images_in(Path(folder)) for name, _, folder in named}
    another = datasets.load(rendered(settings_of("corner", seed=1)), layout="demo")
    others[ANOTHER] = [replace(each, camera=None) for each in another.train]
    rows = known("out_of_distribution", Measured({})).rows
    for run in settings.runs:
        row = measured(run, others)
        rows[row.recipe] = row
    everything = Measured(rows)
    write("out_of_distribution", everything, page(everything))


def images_in(folder: Path) -> list[Frame]:
    """All images in a folder and those below it, of unknown cameras."""
    files = sorted(each for each in folder.rglob("*") if each.suffix.lower() in IMAGES)
    return [Frame(each.name, each, None) for each in files if "depth" not in each.name]


def measured(run: Path, others: Mapping[str, Sequence[Frame]]) -> Row:
    """The lost images of one run in all sets."""
    metadata = RunManifest.load(run)
    (scene,) = load_scenes(metadata.data)
    localizer = Localizer(NetworkLocalizer(TorchNetwork(with_novelty(run, metadata.recipe, scene))))
    own = {scene.test_name: scene.test, **scene.conditions}
    return Row(
        recipe=metadata.recipe,
        scene=scene.name,
        own={name: count(localizer, frames) for name, frames in own.items()},
        others={name: count(localizer, frames) for name, frames in others.items() if name != scene.name},
    )


def with_novelty(run: Path, recipe_name: str, scene: Scene) -> Checkpoint:
    """A run's checkpoint with a novelty detector."""
    checkpoint = load_checkpoint(run)
    if checkpoint.novelty_detector is not None:
        return checkpoint
    recipe = find_recipe(recipe_name)
    learned, held = hold_out(scene.train, recipe.hold_out)
    model = checkpoint.model
    assert isinstance(model, GeometryModel | Regressor), "other models have no novelty detector"
    found = fit_novelty_detector(
        model,
        load_scene_images((learned,), recipe.preprocess),
        load_scene_images((held,), recipe.preprocess),
        recipe.preprocess,
        device=torch.device("cpu"),
    )
    if found is None:
        raise SystemExit(f"{run} has held out too few frames to fit a novelty detector")
    detector, threshold = found
    metadata = replace(checkpoint.metadata, novelty_threshold=threshold)
    return replace(checkpoint, metadata=metadata, novelty_detector=detector)


def count(localizer: Localizer, frames: Sequence[Frame]) -> Count:
    """The lost images among some images of a set."""
    answers = list(localizer.locate_all(even_items(frames, MOST)))
    return Count(len(answers), sum(isinstance(each, Lost) for each in answers))


def page(measured: Measured) -> str:
    """The page."""
    rows = list(measured.rows.values())
    names = list(dict.fromkeys(name for row in rows for name in row.others))
    cells = [
        (
            f"`{row.recipe}`",
            row.scene,
            ", ".join(f"{name} {each.share}" for name, each in row.own.items()),
            *(row.others[name].share if name in row.others else "" for name in names),
        )
        for row in rows
    ]
    return result_page(
        "Images of other scenes",
        "out_of_distribution",
        f"A network predicts some pose for any image. The share of images that were rejected as lost, of at "
        f"most {MOST} of each set: first of the scene's own test images, none of which should be, then of "
        "other scenes, all of which should be. The novelty threshold was learned from held-out frames of the "
        "scene alone.",
        table(("recipe", "scene", "own", *names), cells, text_columns=3),
        command="RUN [RUN ...] --others NAME=FOLDER ...",
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
