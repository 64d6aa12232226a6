"""`camloc demo`: the whole way once, on a place that needs no download."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from camloc.cli.options import Folder, Seed, checked_seed

if TYPE_CHECKING:
    from market_square import DemoPlace

Area = Literal["corner", "square"]


def demo(*, out: Folder = Path("runs/demo"), area: Area = "corner", seed: Seed = 0) -> None:
    """Render a place, learn it, and locate photographs of it that were not learned from.

    Photographs of a market square are rendered once into the cache folder. HyperPose learns a corner of
    it by day, from scratch, and is tested on other walks: by day and, without learning again, in the
    evening, at night, in winter and with people in the way.

    Args:
        out: Folder of the run.
        area: The corner, learned in minutes, or the whole square, which takes much longer.
        seed: Of the place, the walks and the training.
    """
    from camloc.cli.commands.train import train_and_report
    from camloc.cli.progress import console, counted
    from camloc.data.formats.demo import load, rendered
    from camloc.runs.manifest import DataSource
    from camloc.training.recipe import find_recipe

    seed = checked_seed(seed)
    with counted("rendering") as progress:
        root = rendered(place_of(area, seed=seed), progress=progress)
    console.print(f"the place is in {root}")
    name = "demo/hyperpose" if area == "corner" else "demo/hyperpose-square"
    train_and_report(
        find_recipe(name), name=name, sources=(DataSource(str(root), "demo", area),), out=out, seed=seed
    )
    photo = load(root, area).test[0].image
    console.print(f"such as  camloc locate {out} {photo}")


def place_of(area: Area, *, seed: int) -> "DemoPlace":
    """The place that the demo learns."""
    from market_square import DemoPlace

    train_frames, test_frames = {"corner": (2400, 60), "square": (4000, 200)}[area]
    return DemoPlace(area=area, train_frames=train_frames, test_frames=test_frames, seed=seed)
