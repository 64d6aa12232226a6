"""When a hypernetwork helps: by light, occlusion, training data, view, kind of head, size of its generator.

    uv run python -m benchmarks.hypernetworks

trains the baseline regressor and the same with a hypernetwork on every fourth training frame of the embedded
square's corner, and reads the other answers from the files of `robustness`, `scenes`, `regressors` and
`compact_generators`. Writes `docs/results/hypernetworks.json`, `.md` and a figure, and the summary on the
page of HyperPose. Existing runs are not trained again.
"""

import csv
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import tyro
from matplotlib.figure import Figure

from benchmarks import compact_generators, regressors, robustness, scenes
from benchmarks.page import RESULTS, known, replace_block, result_page, table, write
from benchmarks.trainings import MODEL_PAGE, Ratios, Table, ratios_of, verdict_of
from camloc import api
from camloc.cli.commands.demo import settings_of
from camloc.data.formats import load
from camloc.data.formats.demo import rendered
from camloc.data.types import poses_of
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.report.figures import BLUE, GREY, INK, ORANGE, log_scale, styled, svg
from camloc.evaluation.results import Results
from camloc.evaluation.trajectory import CSV_NAME

NAME = "hypernetworks"
FIGURE = RESULTS / f"{NAME}.svg"

# The block of the model's page.
BLOCK = "when hypernetworks help"

# The regressor without and with its hypernetwork.
WITHOUT, WITH = "demo/baseline", "demo/hyperpose"

# Every so many training frames are left; the schedule is that of all frames.
EVERY, SEEDS = 4, 2

# Test sets of the corner in words.
_SETS = {
    "day": "the light of training",
    "evening": "evening",
    "night": "night",
    "winter": "winter",
    "occluded": "people in front",
}


@dataclass(frozen=True)
class Half:
    """Median errors of one half of a test set: of the views that are near to, or far from, training views."""

    meters: float
    degrees: float


@dataclass(frozen=True)
class Subsampled:
    """One training on a part of the frames.

    Attributes:
        results: of all test sets.
        near, far: of each test set the halves of the frames, by the error of the nearest training pose.
    """

    results: Results
    near: dict[str, Half]
    far: dict[str, Half]


def subsampled_scene(root: Path, folder: Path) -> Path:
    """The scene with every fourth training frame, beside links to its images."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / "scene.json", folder / "scene.json")
    with (root / "frames.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    split = header.index("split")
    training = [row for row in rows if row[split] == "train"]
    kept = training[::EVERY] + [row for row in rows if row[split] != "train"]
    with (folder / "frames.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *kept])
    for name in ("train", "test"):
        if not (folder / name).exists():
            (folder / name).symlink_to(root / name)
    return folder


def trained(recipe: str, scene: Path, folder: Path, seed: int) -> Subsampled:
    """A training on the subsampled scene, or that of an earlier call."""
    if not (folder / CSV_NAME).exists():
        api.train(recipe, scene, folder, layout="demo", seed=seed)
        api.evaluate(folder)
    return measured_run(folder, scene)


def measured_run(folder: Path, scene: Path) -> Subsampled:
    """The results of an evaluated run, and the errors of near and of far views."""
    loaded = load(scene, layout="demo")
    truth, training = poses_of(loaded.test).numpy(), poses_of(loaded.train).numpy()
    nearest = baseline_errors(truth, training).nearest_pose
    order = np.argsort(
        nearest.meters / np.median(nearest.meters) + nearest.degrees / np.median(nearest.degrees)
    )
    near = np.zeros(len(order), dtype=bool)
    near[order[: len(order) // 2]] = True
    with (folder / CSV_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    halves: tuple[dict[str, Half], dict[str, Half]] = ({}, {})
    for name in dict.fromkeys(row["set"] for row in rows):
        errors = np.array([[float(row["meters"] or "inf"), float(row["degrees"] or "inf")]
                           for row in rows if row["set"] == name])  # fmt: skip
        for half, chosen in zip(halves, (near, ~near), strict=True):
            meters, degrees = np.median(errors[chosen], axis=0).tolist()
            half[name] = Half(meters, degrees)
    return Subsampled(Results.load(folder / "results.json"), *halves)


@dataclass(frozen=True)
class Measured:
    """The trainings on a part of the frames, one for each seed.

    Attributes:
        machine: that trained them.
        without, with_it: trainings without and with a hypernetwork.
    """

    machine: str
    without: list[Subsampled]
    with_it: list[Subsampled]


@dataclass(frozen=True)
class Row:
    """The errors with a hypernetwork over those without, for each seed, in one condition.

    Attributes:
        group: what is varied.
        label: the condition.
        meters, degrees: a factor for each seed.
    """

    group: str
    label: str
    meters: list[float]
    degrees: list[float]


def rows_of(measured: Measured) -> list[Row]:
    """All conditions; those that are not measured here are read from the other files of results."""
    seen, rooms = known("robustness", Table({})), known("regressors", regressors.Measured({}))
    sizes = known("compact_generators", compact_generators.Measured({}, {}))

    def corner(label: str, without: str, test_set: int) -> Ratios:
        return ratios_of(seen.results(label), seen.results(without), test_set=test_set)

    rows = [
        Row("light and occlusion", _SETS[part.name], *corner("HyperPose 2025", "baseline APR", number))
        for number, part in enumerate(seen.first.sets)
    ]
    if measured.without:
        few = ratios_of(
            [each.results for each in measured.with_it], [each.results for each in measured.without]
        )
        rows += [
            Row(
                "frames, corner", f"{seen.first.train_frames:,}", *corner("HyperPose 2025", "baseline APR", 0)
            ),
            Row("frames, corner", f"{measured.without[0].results.train_frames:,}", *few),
        ]
    joined = known("scenes", scenes.Measured("", (), ()))
    infused, plain = (
        next(each.results for each in joined.extensions if each.label == label)
        for label in ("MS-HyperPose", "MS-Transformer")
    )
    for one, other in zip(infused, plain, strict=True):
        a, b = one.new.headline.estimates, other.new.headline.estimates
        medians = (a.meters.median, b.meters.median, a.degrees.median, b.degrees.median)
        if None not in medians:
            meters, other_meters, degrees, other_degrees = map(float, medians)  # type: ignore[arg-type]
            label = f"{one.fraction:.0%} of the room"
            rows.append(Row("frames, new room", label, [meters / other_meters], [degrees / other_degrees]))
    halves = ("near", "far") if measured.without else ()
    rows += [Row("view", f"{half} training views", *_half_ratios(measured, half)) for half in halves]
    for label, without in robustness.PAIRS:
        rows.append(Row("head, corner", label, *corner(label, without, 0)))
    for name, trained in rooms.tables.items():
        rows += [
            Row(f"head, kitchen, {name.split(',')[0]}", each.label,
                *ratios_of(trained.results(each.label), trained.results(each.without)))
            for each in regressors.ROWS if each.without
        ]  # fmt: skip
    for scene, trained in sizes.results.items():
        place = "corner" if scene == compact_generators.CORNER else "kitchen"
        for label, size in zip(compact_generators.ROWS, sizes.sizes[scene], strict=True):
            if size.generators:
                ratios = ratios_of(trained.results(label), trained.results("without hypernetwork"))
                rows.append(Row(f"generator, {place}", f"{size.generators / 1e6:.1f} M weights", *ratios))
    return rows


def _half_ratios(measured: Measured, half: str) -> Ratios:
    pairs = [
        (getattr(one, half)["day"], getattr(other, half)["day"])
        for one, other in zip(measured.with_it, measured.without, strict=True)
    ]
    return [a.meters / b.meters for a, b in pairs], [a.degrees / b.degrees for a, b in pairs]


def figure(rows: Sequence[Row]) -> bytes:
    """The factors of all conditions, a dot for each seed and a line for their mean; SVG."""
    with styled():
        drawn = Figure(figsize=(9.0, 0.7 + 0.26 * (len(rows) + len({row.group for row in rows}))),
                       layout="constrained")  # fmt: skip
        panels = drawn.subplots(1, 2, sharey=True)
        heights, labels, groups = _places(rows)
        for axes, half, title, color in zip(
            panels,
            ("meters", "degrees"),
            ("position error", "orientation error"),
            (BLUE, ORANGE),
            strict=True,
        ):
            axes.axvline(1.0, color=INK, linewidth=1.0)
            for row, height in zip(rows, heights, strict=True):
                factors = getattr(row, half)
                axes.scatter(factors, [height] * len(factors), s=20, color=color, alpha=0.6, linewidths=0)
                axes.plot(
                    [geometric_mean(factors)] * 2, [height - 0.32, height + 0.32], color=color, linewidth=2.4
                )
            log_scale(axes, "x")
            axes.set_xticks([0.6, 0.8, 1.0, 1.25, 1.6])
            axes.set_title(title)
            axes.set_xlabel("with a hypernetwork, over without it")
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(heights, labels, fontsize=8.5)
        panels[0].set_ylim(max(heights) + 0.7, -0.9)
        for group, height in groups.items():
            panels[0].text(-0.02, height, group, transform=panels[0].get_yaxis_transform(), ha="right",
                           va="center", fontsize=8.5, fontweight="bold", color=GREY)  # fmt: skip
        return svg(drawn)


def _places(rows: Sequence[Row]) -> tuple[list[float], list[str], dict[str, float]]:
    """Heights of the rows, their labels, and heights of the headings."""
    heights: list[float] = []
    groups: dict[str, float] = {}
    height = 0.0
    for row in rows:
        if row.group not in groups:
            height += 0.3 * bool(groups)
            groups[row.group] = height
            height += 1.0
        heights.append(height)
        height += 1.0
    return heights, [row.label for row in rows], groups


def page(measured: Measured) -> str:
    """The page without its figure."""
    rows = rows_of(measured)
    cells = [
        (row.group, row.label, *(_factors(each) for each in (row.meters, row.degrees)), str(len(row.meters)))
        for row in rows
    ]
    what = "*Light and occlusion* is" if not measured.without else "*Light*, *frames, corner* and *view* are"
    own = (
        "Fewer frames of the corner, and views near to and far from the training views, were not measured."
        if not measured.without
        else f"{measured.without[0].results.train_frames:,} training frames were measured for this page "
        f"({measured.machine}), as often as all; near and far are the halves of the views by the error of "
        "the nearest of these training poses."
    )
    return result_page(
        "When a hypernetwork helps",
        NAME,
        "Errors with a hypernetwork over those without it, at equal schedules: the geometric mean over the "
        "seeds, and in brackets the least and the largest. Below 1 it helps.",
        f"![Factors of all conditions]({FIGURE.name})",
        table(("varied", "condition", "position", "orientation", "seeds"), cells, text_columns=2),
        summary(measured),
        f"{what} of HyperPose 2025 on the embedded square's corner, from random weights. {own} *Frames, new "
        "room* are shares of Red Kitchen that networks of several scenes "
        "learned as a further one, MS-HyperPose over MS-Transformer. *Head* "
        "compares each regressor with the same without its hypernetwork; *kitchen*: Red Kitchen, behind "
        "ImageNet features. *Generator* is the size of the generators of HyperPose 2023. The other pages say "
        "how those were trained: "
        "[light](robustness.md), [several scenes](scenes.md), [heads](regressors.md), "
        "[generators](compact_generators.md).",
    )


def _factors(values: Sequence[float]) -> str:
    return f"{geometric_mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def summary(measured: Measured) -> str:
    """Whether a hypernetwork helps, over all conditions and seeds of each group."""
    groups: dict[str, list[Ratios]] = {}
    for row in rows_of(measured):
        groups.setdefault(row.group, []).append((row.meters, row.degrees))
    return "\n".join(f"- {name}: {verdict_of(pairs)}." for name, pairs in groups.items())


def main(*, out: Path = Path("runs/hypernetworks"), seeds: int = SEEDS) -> None:
    """Train what is missing, and write the page.

    Args:
        out: Folder of the runs.
        seeds: Trainings of each network; 0 for a page of the other files alone.
    """
    scene = subsampled_scene(rendered(settings_of("corner", seed=0)), out / "scene") if seeds else out
    pairs = [
        [trained(recipe, scene, out / recipe / f"seed-{seed}", seed) for seed in range(seeds)]
        for recipe in (WITHOUT, WITH)
    ]
    measured = Measured(f"1 of {os.cpu_count()} cores ({platform.machine()})", *pairs)
    write(NAME, measured, page(measured))
    FIGURE.write_bytes(figure(rows_of(measured)))
    replace_block(MODEL_PAGE, BLOCK, model_block(measured))


def model_block(measured: Measured) -> str:
    """What the page of the model shows."""
    return f"![When a hypernetwork helps](../results/{FIGURE.name})\n\n{summary(measured)}"


if __name__ == "__main__":
    tyro.cli(main)
