"""The page of several scenes: tables from the results of runs."""

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.tables import median_words, versions
from camloc.evaluation.errors import ErrorStatistics, SceneDecision
from camloc.evaluation.multi_scene import ScenesResults
from camloc.evaluation.report.figures import BLUE, ORANGE, legend_below, styled, svg
from camloc.evaluation.report.wording import change
from camloc.evaluation.results import Results
from camloc.runs.extend import ExtensionResults


@dataclass(frozen=True)
class Together:
    """One model of all scenes, and a model of the same kind for each.

    Attributes:
        label: of the kind.
        all: what the one model reached.
        here: the same, scene by scene.
        alone: what the models of one scene reached.
    """

    label: str
    all: ScenesResults
    here: tuple[Results, ...]
    alone: tuple[Results, ...]


@dataclass(frozen=True)
class Extensions:
    """A scene that was added in one way from different parts of its frames.

    Attributes:
        label: of the kind of model.
        results: of each part, the whole last.
    """

    label: str
    results: tuple[ExtensionResults, ...]


@dataclass(frozen=True)
class Measured:
    """Everything on the page.

    Attributes:
        machine: what each training had, in words.
        together: models of all scenes.
        extensions: models that got a scene more; of each new scene those that are drawn as a curve first.
    """

    machine: str
    together: tuple[Together, ...]
    extensions: tuple[Extensions, ...]


def page(measured: Measured) -> str:
    """The page."""
    first = measured.together[0]
    training = first.alone[0].training
    frames = ", ".join(f"{each.scene} ({each.train_frames} and {each.test_frames})" for each in first.here)
    lines = [
        "# Several scenes, one model",
        "",
        "<!-- Written by benchmarks/scenes.py; do not edit. -->",
        "",
        f"Four scenes, with images for training and for testing: {frames}. ImageNet features of "
        f"MobileNetV2 in front; {training.budget if training else ''} on "
        f"{training.device if training else ''} for every model of one scene, and as many times that for a "
        "model of several as it has scenes, of which each has an equal part. The splits are not official "
        "ones, so the numbers compare with each other and not with published ones. An image that is put "
        "into another scene counts as infinitely wrong.",
        "",
        "| | scene | one model of all | a model for each | ratio | right scene |",
        "| --- | --- | --: | --: | --: | --: |",
        *(line for kind in measured.together for line in _together(kind)),
        "",
        *_extension_words(measured.extensions[0].results[0]),
        *(line for name in _new_scenes(measured) for line in _joined(name, measured)),
        "",
        f"![Errors in {_new_scenes(measured)[0]} over the part of its frames](scenes.svg)",
    ]
    lines += [
        "",
        f"{measured.machine}; {versions(first.all.software)}.",
        "",
        "    uv run python -m benchmarks.scenes --redkitchen DIR --hololens DIR --backbone-weights FILE",
        "",
    ]
    return "\n".join(lines)


def _together(kind: Together) -> list[str]:
    lines = []
    for here, alone in zip(kind.here, kind.alone, strict=True):
        ours, theirs = here.headline.estimates, alone.headline.estimates
        cells = (kind.label, here.scene, median_words(ours), median_words(theirs), _ratios(ours, theirs))
        lines.append(f"| {' | '.join(cells)} | {_share(here.headline.decision)} |")
    return [*lines, f"| **{kind.label}** | all | | | | **{_share(kind.all.decision)}** |"]


def _extension_words(first: ExtensionResults) -> list[str]:
    return [
        "## A scene more",
        "",
        f"A model of the others learns one of the scenes from a part of its training frames, as `camloc "
        f"extend` does it: {first.epochs} passes over as many frames as all scenes have, of which the new "
        f"scene has an equal part however few of its frames are known. *Nearest* is the error of an oracle "
        f"that copies the nearest pose of that part: how dense it is. For the scenes that were known before "
        f"the tables have the largest change of a median, and how many of their images are put into the "
        f"right scene, before and after, and how many into the new one. With `--moves scene` what belongs to "
        f"the new scene alone is trained, and an image that is put into a known scene gets the pose that "
        f"it had.",
    ]


def _new_scenes(measured: Measured) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.results[0].new.name for each in measured.extensions))


def _joined(name: str, measured: Measured) -> list[str]:
    kinds = [each for each in measured.extensions if each.results[0].new.name == name]
    known = ", ".join(each.scene for each in kinds[0].results[0].known)
    return [
        "",
        f"### {name} joins {known}",
        "",
        "| | moves | part | new scene | nearest | ratio to all frames | right scene | known scenes, position "
        "| orientation | right scene | taken for the new one |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
        *(line for kind in kinds for line in _extended(kind)),
    ]


def extension_figure(measured: Measured) -> bytes:
    """The errors in the new scene over the part of its frames that was learned, as SVG.

    As the paper's Figure 6; of the first new scene, and of the first way in which each kind of model learned
    it. Where most images are put into another scene there is no error to draw.
    """
    name = _new_scenes(measured)[0]
    curves: dict[str, Extensions] = {}
    for each in measured.extensions:
        if each.results[0].new.name == name:
            curves.setdefault(each.label, each)
    with styled():
        figure = Figure(figsize=(8.4, 3.5), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, half, title in zip(panels, (0, 1), ("position (m)", "orientation (°)"), strict=True):
            for kind, (color, dashes) in zip(curves.values(), _LINES, strict=True):
                errors = [_errors(each, half) for each in kind.results]
                parts = [each.fraction for each in kind.results]
                axes.plot(parts, errors, dashes, color=color, marker="o", linewidth=1.8, label=kind.label)
            axes.set_title(f"{name}, {title}")
            axes.set_xlabel("part of its frames that was learned")
            axes.set_xlim(0.0, 1.02)
            axes.set_ylim(bottom=0.0)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        legend_below(figure, panels[0])
        return svg(figure)


# Colours and dashes of the kinds of model.
_LINES = ((BLUE, "-"), (ORANGE, "--"))


def _errors(results: ExtensionResults, half: int) -> float:
    errors = results.new.headline.estimates
    median = (errors.meters, errors.degrees)[half].median
    return float("nan") if median is None else median


def _extended(kind: Extensions) -> list[str]:
    whole = kind.results[-1].new.headline.estimates
    lines = []
    for each in kind.results:
        new = each.new.headline
        cells = (
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
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _largest_change(results: ExtensionResults, half: int) -> str:
    """Of the medians of the known scenes: of positions (0) or of orientations (1)."""
    worst = max(results.known, key=lambda known: known.change[half])
    return change(worst.before[half], worst.after[half])


def _ratios(ours: ErrorStatistics, theirs: ErrorStatistics) -> str:
    pairs = ((ours.meters.median, theirs.meters.median), (ours.degrees.median, theirs.degrees.median))
    return ", ".join("∞" if one is None or not other else f"{one / other:.2f}" for one, other in pairs)


def _share(decision: SceneDecision | None) -> str:
    return "" if decision is None else f"{decision.share:.1%}"
