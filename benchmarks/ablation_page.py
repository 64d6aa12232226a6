"""The page of the ablations: made from `docs/results/geometry_ablations.json` alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from benchmarks.ablation_rows import SCENES, Line, PosedScene, Table, tables_of
from camloc.evaluation.errors import ErrorStatistics

TITLES: dict[PosedScene, str] = {"redkitchen": "Red Kitchen", "demo": "The embedded scene"}


@dataclass(frozen=True)
class Measurement:
    """One training, and the errors of its last weights.

    Attributes:
        scene, key, seed: what was trained.
        settings: a digest of all that decides the outcome; a row with another one is trained again.
        recipe: name of the model.
        width, height, batch_size, epochs, frames: the network's image, the size of a batch, passes over all
            stages, and the training frames.
        parameters: learned values of the network.
        minutes: of training.
        device: where it was trained.
        errors: by the way to a pose, and by test set.
    """

    scene: PosedScene
    key: str
    seed: int
    settings: str
    model: str
    width: int
    height: int
    batch_size: int
    epochs: int
    frames: int
    parameters: int
    minutes: float
    device: str
    errors: dict[str, dict[str, ErrorStatistics]]


@dataclass(frozen=True)
class Baselines:
    """What needs no learning, by test set: copying the nearest training pose, and the mean pose."""

    scene: PosedScene
    nearest_pose: dict[str, ErrorStatistics]
    mean_pose: dict[str, ErrorStatistics]


@dataclass(frozen=True)
class Ablations:
    """All that was measured."""

    baselines: tuple[Baselines, ...] = ()
    measurements: tuple[Measurement, ...] = ()

    def has(self, scene: PosedScene, key: str, seed: int, settings: str) -> bool:
        """Whether a row was trained with these settings."""
        return any(
            (each.scene, each.key, each.seed, each.settings) == (scene, key, seed, settings)
            for each in self.measurements
        )

    def with_measurement(self, new: Measurement) -> "Ablations":
        """The same with one row exchanged or added."""
        name = (new.scene, new.key, new.seed)
        others = [each for each in self.measurements if (each.scene, each.key, each.seed) != name]
        rows = sorted((*others, new), key=lambda each: (each.scene, each.key, each.seed))
        return replace(self, measurements=tuple(rows))

    def with_baselines(self, new: Baselines) -> "Ablations":
        """The same with the baselines of one scene exchanged or added."""
        others = [each for each in self.baselines if each.scene != new.scene]
        return replace(self, baselines=tuple(sorted((*others, new), key=lambda each: each.scene)))


def page(ablations: Ablations) -> str:
    """The whole page."""
    lines = [
        "# Ablations of scene geometry",
        "",
        "<!-- Written by benchmarks/geometry_ablations.py; do not edit. -->",
        "",
        "Tables II, III and IV of *Implicit Learning of Scene Geometry* at a budget of minutes: each line is "
        "a recipe of camloc with one setting exchanged. In a table all lines have the same frames, images, "
        "augmentation, batches and steps. The last epoch's weights are tested; no frames are held out, and "
        "nothing is chosen. Poses are found by learned weights, as published, where a line does not say "
        "otherwise. Numbers compare within a table: budgets and splits are not the paper's, whose numbers "
        "stand beside them for the direction of an effect. Differences of a few percent are within what "
        "another seed gives.",
        "",
    ]
    for scene in SCENES:
        measured = [each for each in ablations.measurements if each.scene == scene]
        if measured:
            lines += _scene(scene, measured, [each for each in ablations.baselines if each.scene == scene])
    lines += [
        "    uv run python -m benchmarks.geometry_ablations --data FOLDER --backbone-weights FILE",
        "",
    ]
    return "\n".join(lines)


def _scene(scene: PosedScene, measured: Sequence[Measurement], baselines: Sequence[Baselines]) -> list[str]:
    lines = [f"## {TITLES[scene]}", "", _setting(scene, measured), ""]
    for table in tables_of(scene):
        rows = [(line, _of(measured, line)) for line in table.lines]
        rows = [(line, found) for line, found in rows if found]
        if rows:
            devices = sorted({each.device for _, found in rows for each in found})
            lines += [f"### {table.title}", "", f"Trained on {' and '.join(devices)}.", ""]
            lines += [*_table(table, rows, baselines), ""]
    return lines


def _setting(scene: PosedScene, measured: Sequence[Measurement]) -> str:
    base = next((each for each in measured if each.key == "base"), measured[0])
    seeds = sorted({each.seed for each in measured})
    common = (
        f"{base.frames} training images of {base.width} x {base.height} pixels, batches of "
        f"{base.batch_size}, {base.epochs} epochs unless a line says otherwise; seed"
        f"{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}."
    )
    if scene == "redkitchen":
        return (
            f"Sequence 01 of 7Scenes' Red Kitchen, with a split of its own. {common} A MobileNetV2 with "
            f"ImageNet weights stands still and the heads learn, as in `room/scene-geometry`; the backbones "
            f"are compared end to end at 320 x 224 from random weights, but for the one that says so. The "
            f"regressor of Table IV is `room/baseline`, whose images are 160 x 120 and whose backbone "
            f"learns as well."
        )
    return (
        f"The corner of the embedded square, in light that was learned from (`day`) and with people and a "
        f"van in view that were not there then (`occluded`). {common} All is learned from scratch, as in "
        f"`demo/scene-geometry`; the regressor of Table IV is `demo/baseline`."
    )


def _of(measured: Sequence[Measurement], line: Line) -> list[Measurement]:
    return [each for each in measured if each.key == line.key and line.way in each.errors]


def _table(
    table: Table, rows: Sequence[tuple[Line, list[Measurement]]], baselines: Sequence[Baselines]
) -> list[str]:
    sets = list(rows[0][1][0].errors[rows[0][0].way])
    has_paper = any(line.published for line, _ in rows)
    headings = ["", *(f"{name}, median" for name in sets), f"{sets[0]}, 90 %"]
    headings += ["weights", "epochs", "minutes"]
    if has_paper:
        headings.append(f"paper ({table.source})")
    lines = [_cells(headings), _cells(["---", *["--:"] * (len(headings) - 1)])]
    for line, found in rows:
        errors = [each.errors[line.way] for each in found]
        cells = [line.label, *(_medians([each[name] for each in errors]) for name in sets)]
        cells += [_quantiles([each[sets[0]] for each in errors]), f"{found[0].parameters:,}"]
        cells += [str(found[0].epochs), f"{mean(each.minutes for each in found):.1f}"]
        lines.append(_cells([*cells, line.published] if has_paper else cells))
    for given in baselines:
        named = {"nearest training pose": given.nearest_pose, "mean training pose": given.mean_pose}
        for label, by_set in named.items():
            cells = [
                f"*{label}*",
                *(_medians([by_set[name]]) for name in sets),
                _quantiles([by_set[sets[0]]]),
            ]
            lines.append(_cells([*cells, *[""] * (len(headings) - len(cells))]))
    return lines


def _medians(errors: Sequence[ErrorStatistics]) -> str:
    return _pair([each.meters.median for each in errors], [each.degrees.median for each in errors])


def _quantiles(errors: Sequence[ErrorStatistics]) -> str:
    return _pair([each.meters.quantile_90 for each in errors], [each.degrees.quantile_90 for each in errors])


def _pair(meters: Sequence[float | None], degrees: Sequence[float | None]) -> str:
    return f"{_over_seeds(meters, 3)} m, {_over_seeds(degrees, 2)}°"


def _over_seeds(values: Sequence[float | None], digits: int) -> str:
    """The mean over seeds and half their range; infinite as soon as one is."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "∞"
    text = f"{mean(known):.{digits}f}"
    return f"{text} ± {(max(known) - min(known)) / 2:.{digits}f}" if len(known) > 1 else text


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
