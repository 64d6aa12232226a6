"""The transfer curve: a network of several scenes learns one more from a part of its frames.

Source: HyperPose (2025) supplement, section 7, Figure 6: networks of all scenes of 7Scenes but Heads, with
and without a hypernetwork, learn Heads from 5 to 75 % of its frames in 2 to 5 epochs.
"""

from collections.abc import Callable
from statistics import fmean

from camloc.core.files import file_name
from camloc.errors import CamlocError, DatasetError
from camloc.evaluation.errors import mean_of_all
from camloc.evaluation.plain_table import PlainTable
from camloc.evaluation.published import PAPERS, SEVENSCENES, TRANSFER_TITLE
from camloc.evaluation.report.wording import angle, distance, percent
from camloc.runs.commands import CommandFailed, run_camloc
from camloc.runs.extend import COMPARISON, ExtensionResults
from camloc.runs.reproduce import (
    Job,
    Settings,
    is_measured,
    option_words,
    present_scenes,
    run_folder,
    train_job,
)

LAYOUT, NEW = "sevenscenes", "heads"
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 0.75)
EPOCHS = 5
MODELS = {
    "MS-Transformer": "ms_transformer_2021/sevenscenes",
    "with a hypernetwork (MS-HyperPose)": "ms_hyperpose_2025/sevenscenes",
}

# Points of a curve: the share of the frames, and the median errors in metres and degrees.
Curve = list[tuple[float, float | None, float | None]]


class _Untrained(CommandFailed):
    """The network of the known scenes could not be trained, so that nothing can extend it."""


def transfer(settings: Settings, report: Callable[[str], None]) -> tuple[PlainTable, dict[str, Curve]]:
    """Train both networks without the new scene, extend them, and put the errors in the new scene together.

    Finished runs are used; one that fails leaves its reason below the table, and the others continue.

    Args:
        settings: data set, folder of the runs, budget of the first trainings, seeds, and the known scenes.
        report: called with a line for each step.

    Returns:
        The table, and by network the curve of its means over the seeds.

    Raises:
        DatasetError: the data set lacks the new scene, or has no other.
    """
    wanted = settings.scenes or SEVENSCENES
    known = present_scenes(LAYOUT, tuple(each for each in wanted if each != NEW), settings)
    if not known or not present_scenes(LAYOUT, (NEW,), settings):
        raise DatasetError(
            f"the transfer curve needs the scene {NEW} and others of 7Scenes in {settings.data}"
        )
    rows, curves, problems = [], {}, []
    untrained: set[tuple[str, int]] = set()
    for label, recipe in MODELS.items():
        curve: Curve = []
        for fraction in FRACTIONS:
            found = []
            for seed in range(settings.seeds):
                if (recipe, seed) in untrained:
                    continue
                try:
                    found.append(_extended(recipe, known, fraction, seed, settings, report))
                except _Untrained as problem:
                    report(f"failed {recipe}: {problem}")
                    problems.append(f"{label}: {problem}")
                    untrained.add((recipe, seed))
                except (CommandFailed, CamlocError, OSError) as problem:
                    report(f"failed {recipe}, {fraction:.0%}: {problem}")
                    problems.append(f"{label}, {fraction:.0%}: {problem}")
            rows.append((label, f"{fraction:.0%}", *_cells(found)))
            if found:
                curve.append((fraction, *_means(found)))
        curves[label] = curve
    seeds = f"{settings.seeds} seed{'s' * (settings.seeds != 1)}"
    remarks = (
        f"Medians on the test frames of {NEW}, mean of {seeds}, after {EPOCHS} epochs over all scenes; the "
        f"networks had learned {', '.join(known)} before"
        + (f" in {settings.budget} each." if settings.budget else "."),
        "The paper prints a curve without numbers.",
        *problems,
    )
    headings = ("network", "frames", "position", "orientation", "in the right scene", "known scenes")
    return PlainTable(f"{PAPERS['hyperpose_2025']}: {TRANSFER_TITLE}", headings, tuple(rows), remarks), curves


def _extended(
    recipe: str, known: tuple[str, ...], fraction: float, seed: int, settings: Settings,
    report: Callable[[str], None],
) -> ExtensionResults:  # fmt: skip
    """The results of one extension, made where they are missing."""
    scenes = "without-heads" if len(known) == len(SEVENSCENES) - 1 else "+".join(map(file_name, known))
    base = run_folder(settings, recipe, scenes, seed)
    folder = base.with_name(f"{base.name}+{NEW}-{fraction:g}")
    if (folder / COMPARISON).is_file():
        report(f"taken  {folder}")
        return ExtensionResults.load(folder)
    if settings.data is None:
        raise CommandFailed(f"{folder} is missing; name the data set with --data to train it")
    if not is_measured(base, known):
        try:
            train_job(Job(recipe, known, seed, base), LAYOUT, settings, report)
        except CommandFailed as problem:
            raise _Untrained(str(problem)) from None
    report(f"extend {folder}")
    command = ["extend", str(base), "--data", str(settings.data), "--scene", NEW, "--layout", LAYOUT]
    command += ["--out", str(folder), "--seed", str(seed), "--device", settings.device]
    command += ["--fraction", f"{fraction:g}", "--epochs", str(EPOCHS), *option_words(settings)]
    run_camloc(command, folder.with_suffix(".log"))
    return ExtensionResults.load(folder)


def _means(found: list[ExtensionResults]) -> tuple[float | None, float | None]:
    meters = [each.new.headline.estimates.meters.median for each in found]
    degrees = [each.new.headline.estimates.degrees.median for each in found]
    return mean_of_all(meters), mean_of_all(degrees)


def _cells(found: list[ExtensionResults]) -> tuple[str, str, str, str]:
    if not found:
        return "-", "-", "-", "-"
    meters, degrees = _means(found)
    right = fmean(1.0 if each.new.headline.decision is None else each.new.headline.decision.share
                  for each in found)  # fmt: skip
    before = fmean(each.right_before for each in found)
    after = fmean(each.right_after for each in found)
    kept = f"{percent(before)} -> {percent(after)} right"
    return distance(meters, "m"), angle(degrees), percent(right), kept
