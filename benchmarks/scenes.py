"""One model of four scenes beside a model for each, and a scene more from a part of its images.

    uv run python -m benchmarks.scenes --redkitchen FOLDER --hololens FOLDER --backbone-weights FILE \\
        --device cuda --jobs 4

trains MS-Transformer and MS-HyperPose on a room of 7Scenes, an office floor seen by a HoloLens and corners
of two rendered squares, together and one by one, each at the same budget to a scene; and without one of them,
which `camloc extend` then adds: the room from 5 to 100 % of its frames, also where nothing moves but
what belongs to the room, and the office from 25 and 100 %. Writes `docs/results/scenes.json`, `.md` and a
figure. What is there is not trained again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from benchmarks.scenes_page import Extensions, Measured, Together, extension_figure, page
from benchmarks.trainings import Trained, train_all
from camloc.cli.options import seconds
from camloc.core.config import to_json
from camloc.data.formats.demo import rendered
from camloc.evaluation.multi_scene import ScenesResults
from camloc.evaluation.results import Results
from camloc.runs.evaluate import scene_results
from camloc.runs.extend import COMPARISON, ExtensionResults, Moves
from market_square import SquareSettings

MODELS = (("MS-Transformer", "room/ms-transformer"), ("MS-HyperPose", "room/ms-hyperpose"))
ROOM, OFFICE = "redkitchen", "office"
OPTIONS = {OFFICE: "rotation=world_from_cam"}

# What joins a model of the others, what moves then, and from which parts of the new scene's frames.
JOINING: tuple[tuple[str, Moves, tuple[float, ...]], ...] = (
    (ROOM, "all", (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)),
    (ROOM, "scene", (0.25, 1.0)),
    (OFFICE, "all", (0.25, 1.0)),
)
PAGE = Path("docs/results/scenes.md")


@dataclass(frozen=True)
class Settings:
    """Where the data are and how to train.

    Attributes:
        redkitchen, hololens: folders of real frames.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        budget: wall-clock time of training to a scene.
        epochs: of an extension.
        out: folder of the runs.
        device: where to train.
        jobs: trainings at a time.
        seed: of all randomness.
    """

    redkitchen: Path
    hololens: Path
    backbone_weights: str = "none"
    budget: str = "30s"
    epochs: int = 5
    out: Path = Path("runs/scenes")
    device: str = "cpu"
    jobs: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Extended(Trained):
    """A run that adds a place to another.

    Attributes:
        run: the other.
    """

    run: Path = Path()

    def command(self, device: str) -> list[str]:
        """The command that extends, and measures before and after."""
        words = ["extend", str(self.run), "--data", str(self.data), "--out", str(self.folder)]
        return [*words, "--seed", str(self.seed), "--device", device, *self.options]


def main(settings: Settings) -> None:
    """Train what is not trained yet, and write the page."""
    scenes = {
        ROOM: settings.redkitchen,
        OFFICE: settings.hololens,
        **{f"corner-{seed}": rendered(_corner(seed)) for seed in (0, 1)},
    }
    together: list[Trained] = []
    base: list[Trained] = []
    alone: list[Trained] = []
    extensions: list[Extended] = []
    for _, recipe in MODELS:
        folder = settings.out / recipe
        together.append(_training(recipe, scenes, settings, folder / "all"))
        alone += [_training(recipe, {name: root}, settings, folder / name) for name, root in scenes.items()]
        known = {}
        for new in (ROOM, OFFICE):
            others = {name: root for name, root in scenes.items() if name != new}
            known[new] = _training(recipe, others, settings, folder / f"without-{new}")
        base += known.values()
        extensions += [
            _extension(known[new], new, scenes[new], moves, fraction, settings)
            for new, moves, fractions in JOINING
            for fraction in fractions
        ]
    # The longest first, so that no job is left alone with it.
    train_all((*together, *base, *alone), device=settings.device, jobs=settings.jobs)
    for each in extensions:
        if not (each.folder / COMPARISON).exists():  # stopped between the two files
            (each.folder / "results.json").unlink(missing_ok=True)
    train_all(extensions, device=settings.device, jobs=settings.jobs)
    measured = measured_in(settings.out, tuple(scenes), machine=together[0].machine())
    PAGE.with_suffix(".json").write_bytes(to_json(measured))
    PAGE.write_text(page(measured))
    PAGE.with_suffix(".svg").write_bytes(extension_figure(measured))


def measured_in(out: Path, scenes: Sequence[str], *, machine: str) -> Measured:
    """What the runs in a folder reached."""
    together, curves = [], []
    for label, recipe in MODELS:
        folder = out / recipe
        together.append(
            Together(
                label=label,
                all=ScenesResults.load(folder / "all" / "results.json"),
                here=tuple(scene_results(folder / "all", name) for name in scenes),
                alone=tuple(Results.load(folder / name / "results.json") for name in scenes),
            )
        )
        for new, moves, fractions in JOINING:
            names = [_name(new, moves, fraction) for fraction in fractions]
            # Which run they went on from is told by its name: where it lay is nobody's business.
            found = [replace(ExtensionResults.load(folder / name), run=f"without-{new}") for name in names]
            curves.append(Extensions(label, tuple(found)))
    return Measured(machine, tuple(together), tuple(curves))


def _corner(seed: int) -> SquareSettings:
    return SquareSettings(
        area="corner",
        width=224,
        height=168,
        train_frames=600,
        test_frames=80,
        variants=("day",),
        depth_every=0,
        seed=seed,
    )


def _training(recipe: str, scenes: dict[str, Path], settings: Settings, folder: Path) -> Trained:
    (_, first), *others = scenes.items()
    words = [word for _, root in others for word in ("--data", str(root))]
    words += [word for name in scenes for word in ("--scene", name)]
    words += [
        word
        for name, option in OPTIONS.items()
        if name in scenes
        for word in ("--option", f"{name}:{option}")
    ]
    words += ["--backbone-weights", settings.backbone_weights]
    words += ["--budget", f"{seconds(settings.budget) * len(scenes):g}s"]
    return Trained(recipe, first, folder, settings.seed, tuple(words))


def _extension(
    base: Trained, new: str, root: Path, moves: Moves, fraction: float, settings: Settings
) -> Extended:
    words = ["--scene", new, "--fraction", f"{fraction:g}", "--epochs", str(settings.epochs)]
    words += ["--moves", moves]
    if new in OPTIONS:
        words += ["--option", OPTIONS[new]]
    folder = base.folder.parent / _name(new, moves, fraction)
    return Extended(base.recipe, root, folder, settings.seed, tuple(words), run=base.folder)


def _name(new: str, moves: Moves, fraction: float) -> str:
    part = f"without-{new}+{round(100 * fraction):03d}"
    return part if moves == "all" else f"{part}-{moves}"


if __name__ == "__main__":
    main(tyro.cli(Settings))
