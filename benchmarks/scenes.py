"""One model of four scenes beside a model for each, and one more scene from a part of its images.

    uv run python -m benchmarks.scenes --redkitchen FOLDER --hololens FOLDER --backbone-weights FILE \\
        --device cuda --jobs 4

trains MS-Transformer and MS-HyperPose on a room of 7Scenes, an office floor recorded with a HoloLens and
corners of two rendered squares, together and one by one, each at the same budget to a scene; and without one
of them, which `camloc extend` then adds: the room from 5 to 100 % of its frames, also with only the weights
of the new scene trained, and the office from 25 and 100 %. Writes `docs/results/scenes.json`, `.md` and a
figure. Existing runs are not trained again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from benchmarks.page import RESULTS, median_words, result_page, table, versions, write
from benchmarks.trainings import Trained, train_all
from camloc.cli.options import seconds
from camloc.data.formats.demo import rendered
from camloc.evaluation.errors import ErrorStatistics, SceneDecision
from camloc.evaluation.multi_scene import ScenesResults
from camloc.evaluation.report.model_figures import transfer_figure
from camloc.evaluation.report.wording import change
from camloc.evaluation.results import Results
from camloc.runs.evaluate import scene_results
from camloc.runs.extend import COMPARISON, ExtensionResults, Moves
from market_square import SquareSettings

MODELS = {"MS-Transformer": "room/ms-transformer", "MS-HyperPose": "room/ms-hyperpose"}
ROOM, OFFICE = "redkitchen", "office"
OPTIONS = {OFFICE: "rotation=world_from_cam"}

# The scene that is added to a model of the others, the trained weights, and the parts of its frames.
JOINING: tuple[tuple[str, Moves, tuple[float, ...]], ...] = (
    (ROOM, "all", (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)),
    (ROOM, "scene", (0.25, 1.0)),
    (OFFICE, "all", (0.25, 1.0)),
)


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
    """A run that adds a scene to another run."""

    run: Path = Path()

    def command(self, device: str) -> list[str]:
        """The command that extends the other run, and measures before and after."""
        words = ["extend", str(self.run), "--data", str(self.data), "--out", str(self.folder)]
        return [*words, "--seed", str(self.seed), "--device", device, *self.options]


@dataclass(frozen=True)
class Together:
    """One model of all scenes, and a model of the same kind for each.

    Attributes:
        label: of the kind.
        all: results of the one model.
        here: the same, scene by scene.
        alone: results of the models of one scene.
    """

    label: str
    all: ScenesResults
    here: tuple[Results, ...]
    alone: tuple[Results, ...]


@dataclass(frozen=True)
class Extensions:
    """A kind of model that a scene was added to, from different parts of its frames, the whole last."""

    label: str
    results: tuple[ExtensionResults, ...]


@dataclass(frozen=True)
class Measured:
    """Everything on the page; the first extensions of each new scene are drawn as a curve."""

    machine: str
    together: tuple[Together, ...]
    extensions: tuple[Extensions, ...]


def main(settings: Settings) -> None:
    """Train what is missing, and write the page."""
    corners = {f"corner-{seed}": rendered(_corner(seed)) for seed in (0, 1)}
    scenes = {ROOM: settings.redkitchen, OFFICE: settings.hololens, **corners}
    together: list[Trained] = []
    others: list[Trained] = []
    extensions: list[Extended] = []
    for recipe in MODELS.values():
        folder = settings.out / recipe
        together.append(_training(recipe, scenes, settings, folder / "all"))
        others += [_training(recipe, {name: root}, settings, folder / name) for name, root in scenes.items()]
        known = {}
        for new in (ROOM, OFFICE):
            rest = {name: root for name, root in scenes.items() if name != new}
            known[new] = _training(recipe, rest, settings, folder / f"without-{new}")
        others += known.values()
        extensions += [
            _extension(known[new], new, scenes[new], moves, fraction, settings)
            for new, moves, fractions in JOINING
            for fraction in fractions
        ]
    # The longest first, so that no job is left alone with it.
    train_all((*together, *others), device=settings.device, jobs=settings.jobs)
    for each in extensions:
        if not (each.folder / COMPARISON).exists():  # stopped between the two files
            (each.folder / "results.json").unlink(missing_ok=True)
    train_all(extensions, device=settings.device, jobs=settings.jobs)
    measured = measured_in(settings.out, tuple(scenes), machine=together[0].machine())
    write("scenes", measured, page(measured))
    (RESULTS / "scenes.svg").write_bytes(extension_figure(measured))


def measured_in(out: Path, scenes: Sequence[str], *, machine: str) -> Measured:
    """The results of the runs in a folder."""
    together, curves = [], []
    for label, recipe in MODELS.items():
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
            # The run that was extended is named without its path, which differs from machine to machine.
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
    for name, option in OPTIONS.items():
        words += ["--option", f"{name}:{option}"] if name in scenes else []
    words += ["--backbone-weights", settings.backbone_weights]
    words += ["--budget", f"{seconds(settings.budget) * len(scenes):g}s"]
    return Trained(recipe, first, folder, settings.seed, tuple(words))


def _extension(
    base: Trained, new: str, root: Path, moves: Moves, fraction: float, settings: Settings
) -> Extended:
    words = ["--scene", new, "--fraction", f"{fraction:g}", "--epochs", str(settings.epochs)]
    words += ["--moves", moves]
    words += ["--option", OPTIONS[new]] if new in OPTIONS else []
    folder = base.folder.parent / _name(new, moves, fraction)
    return Extended(base.recipe, root, folder, settings.seed, tuple(words), run=base.folder)


def _name(new: str, moves: Moves, fraction: float) -> str:
    part = f"without-{new}+{round(100 * fraction):03d}"
    return part if moves == "all" else f"{part}-{moves}"


def page(measured: Measured) -> str:
    """The page without its figure."""
    first = measured.together[0]
    training = first.alone[0].training
    budget = f"{training.budget} on {training.device}" if training else ""
    frames = ", ".join(f"{each.scene} ({each.train_frames} and {each.test_frames})" for each in first.here)
    new_scenes = _new_scenes(measured)
    return result_page(
        "Several scenes, one model",
        "scenes",
        f"Four scenes, with images for training and for testing: {frames}. ImageNet features of "
        f"MobileNetV2 in front; {budget} for every model of one scene, and as many times that for a model of "
        "several as it has scenes, each of which has an equal part. The splits are not official ones, so "
        "the numbers compare with each other and not with published ones. An image that is located in "
        "another scene counts as infinitely wrong.",
        table(
            ("", "scene", "one model of all", "a model for each", "ratio", "right scene"),
            [row for kind in measured.together for row in _together(kind)],
            text_columns=2,
        ),
        "## One more scene",
        f"A model of the other scenes learns one scene from a part of its training frames with `camloc "
        f"extend`: {measured.extensions[0].results[0].epochs} passes over as many frames as all scenes have, "
        "of which the new scene has an equal part however few of its frames are known. *Nearest* is the "
        "error of an oracle that copies the nearest pose of that part: how dense it is. For the known scenes "
        "the tables show the largest change of a median, the share of their images that are located in the "
        "right scene, before and after, and how many are located in the new one. With `--moves scene` only "
        "the weights of the new scene are trained, and an image that is located in a known scene gets the "
        "pose that it had.",
        *(part for name in new_scenes for part in _joined(name, measured)),
        f"![Errors in {new_scenes[0]} over the part of its frames](scenes.svg)",
        f"{measured.machine}; {versions(first.all.software)}.",
        command="--redkitchen DIR --hololens DIR --backbone-weights FILE",
    )


def _together(kind: Together) -> Iterable[tuple[str, ...]]:
    for here, alone in zip(kind.here, kind.alone, strict=True):
        ours, theirs = here.headline.estimates, alone.headline.estimates
        medians = (median_words(ours), median_words(theirs), _ratios(ours, theirs))
        yield kind.label, here.scene, *medians, _share(here.headline.decision)
    yield f"**{kind.label}**", "all", "", "", "", f"**{_share(kind.all.decision)}**"


def _new_scenes(measured: Measured) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.results[0].new.name for each in measured.extensions))


def _joined(name: str, measured: Measured) -> tuple[str, str]:
    kinds = [each for each in measured.extensions if each.results[0].new.name == name]
    known = ", ".join(each.scene for each in kinds[0].results[0].known)
    headings = ["", "moves", "part", "new scene", "nearest", "ratio to all frames", "right scene"]
    headings += ["known scenes, position", "orientation", "right scene", "located in the new one"]
    rows = [row for kind in kinds for row in _extended(kind)]
    return f"### {name} joins {known}", table(headings, rows, text_columns=2)


def _extended(kind: Extensions) -> Iterable[tuple[str, ...]]:
    whole = kind.results[-1].new.headline.estimates
    for each in kind.results:
        new = each.new.headline
        yield (
            kind.label,
            each.moves,
            f"{each.fraction:.0%}",
            median_words(new.estimates),
            median_words(new.nearest_training_pose),
            _ratios(new.estimates, whole),
            _share(new.decision),
            *(_largest_change(each, half) for half in (0, 1)),
            f"{each.right_before:.1%} to {each.right_after:.1%}",
            f"{each.taken_for_new:,}",
        )


def _largest_change(results: ExtensionResults, half: int) -> str:
    """Of the medians of the known scenes: of positions (0) or of orientations (1)."""
    worst = max(results.known, key=lambda known: known.change[half])
    return change(worst.before[half], worst.after[half])


def _ratios(ours: ErrorStatistics, theirs: ErrorStatistics) -> str:
    pairs = ((ours.meters.median, theirs.meters.median), (ours.degrees.median, theirs.degrees.median))
    return ", ".join("∞" if one is None or not other else f"{one / other:.2f}" for one, other in pairs)


def _share(decision: SceneDecision | None) -> str:
    return "" if decision is None else f"{decision.share:.1%}"


def extension_figure(measured: Measured) -> bytes:
    """The errors in the new scene over the learned part of its frames, as SVG; as the paper's Figure 6.

    Of the first new scene, and of the first extensions of each kind of model. Where most images are located
    in another scene there is no error to draw.
    """
    name = _new_scenes(measured)[0]
    curves: dict[str, Extensions] = {}
    for each in measured.extensions:
        if each.results[0].new.name == name:
            curves.setdefault(each.label, each)
    return transfer_figure(
        {
            kind.label: [(each.fraction, _median(each, 0), _median(each, 1)) for each in kind.results]
            for kind in curves.values()
        },
        name,
    )


def _median(results: ExtensionResults, half: int) -> float:
    errors = results.new.headline.estimates
    median = (errors.meters, errors.degrees)[half].median
    return float("nan") if median is None else median


if __name__ == "__main__":
    main(tyro.cli(Settings))
