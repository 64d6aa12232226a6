"""`camloc demo`: the complete tour on a rendered scene, without a download."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from camloc.cli.options import Folder, Seed, checked_seed
from camloc.core.extras import require_extra

if TYPE_CHECKING:
    from market_square import SquareSettings

Area = Literal["corner", "square"]


def demo(
    *, out: Folder = Path("runs/demo"), area: Area = "corner", no_map: bool = False, seed: Seed = 0
) -> None:
    """Render a scene, train a network, build a map, and locate test images.

    Images of a market square are rendered once into the cache folder. HyperPose learns a corner of the square
    from scratch, and a map is built of it, from images by day. Both are tested on other walks: by day and,
    without further training, in the evening, at night, in winter and with people in view.

    Args:
        out: Folder of the run.
        area: The corner, which takes minutes, or the whole square, which takes much longer.
        no_map: Build no map. The network is alone and trains twice as long.
        seed: Seed of the scene, the walks and the training.
    """
    require_extra("train", "camloc demo")
    from camloc.cli.commands.train import train_and_report
    from camloc.cli.progress import console, counted
    from camloc.data.formats.demo import load, rendered
    from camloc.recipes import find_recipe
    from camloc.runs.manifest import DataSource

    seed = checked_seed(seed)
    with counted("rendering") as progress:
        root = rendered(settings_of(area, seed=seed), progress=progress)
    console.print(f"the scene is in {root}")
    map_root = root
    if not no_map:
        with counted("rendering") as progress:
            map_root = rendered(map_settings_of(area, seed=seed), progress=progress)
    name = "demo/hyperpose" if area == "corner" else "demo/hyperpose-square"
    train_and_report(
        find_recipe(name) if no_map else find_recipe(name).scaled(SCHEDULE_SHARE),
        name=name,
        sources=(DataSource(str(root), "demo", area),),
        out=out,
        seed=seed,
        map_sources=() if no_map else (DataSource(str(map_root), "demo", area),),
    )
    image = load(map_root, area).test[0].image
    console.print(f"try    camloc locate {out} {image}")


# The share of the recipe's epochs: the map makes the poses exact, so that a coarse network is enough.
SCHEDULE_SHARE = 0.5


def map_settings_of(area: Area, *, seed: int) -> "SquareSettings":
    """Settings of the images that the map is built from, and of the test images."""
    from market_square import SquareSettings

    train_frames, test_frames = {"corner": (300, 40), "square": (1500, 100)}[area]
    return SquareSettings(
        area=area,
        width=384,
        height=288,
        train_frames=train_frames,
        test_frames=test_frames,
        depth_every=0,
        seed=seed,
    )


def settings_of(area: Area, *, seed: int) -> "SquareSettings":
    """Settings of the images that the network learns from."""
    from market_square import SquareSettings

    train_frames, test_frames = {"corner": (2400, 60), "square": (4000, 200)}[area]
    return SquareSettings(area=area, train_frames=train_frames, test_frames=test_frames, seed=seed)
