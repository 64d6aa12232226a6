"""Pose auto-encoders of several regressors in several scenes: fidelity, refined positions, decoded images.

    uv run python -m benchmarks.pose_autoencoders --redkitchen FOLDER --hololens FOLDER \\
        --backbone-weights FILE

trains the teachers, trains and measures their auxiliary networks (`benchmarks.student_measurements`), and
writes `docs/results/pose_autoencoders.json`, `.md` and a figure of decoded images. The embedded scene is
rendered; the folders are 7Scenes' Red Kitchen, sequence 01, and a HoloLens walk as a table of poses, each
with `train.txt` and `test.txt`. Existing runs and measurements are kept. On a machine with an accelerator:
`--device cuda --jobs 8`.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from benchmarks.page import RESULTS, capital, result_page, table, versions, write
from benchmarks.student_measurements import (
    NAME,
    NEIGHBOURS,
    WITH_FOURIER,
    WITHOUT_FOURIER,
    Form,
    Measured,
    Medians,
    Seen,
    Setting,
)
from benchmarks.trainings import Trained, run_logged, train_all
from camloc.cli.commands.demo import settings_of
from camloc.data.formats.demo import rendered
from camloc.evaluation.report.wording import method_name
from camloc.refinement.image_decoder import DecoderMetadata
from camloc.refinement.refiner import PositionErrors
from camloc.refinement.train import IMAGES

METHODS = ("none", "neighbours", "affine", "adamw", "anchored")

DEMO = ("demo/posenet", "demo/hyperpose", "demo/transposenet")
ROOM = ("room/posenet", "room/hyperpose", "room/transposenet")

# The teacher with an image decoder and with relative poses regressed from images, whose training takes
# most of an hour of one core: on the rendered scene, which has depth. Relative poses from latents are for all
# teachers.
DRAWN = "demo/posenet"


@dataclass(frozen=True)
class Settings:
    """Where the data are and how to run.

    Attributes:
        redkitchen, hololens: folders of the frames; a scene that is not given is left out.
        backbone_weights: ImageNet weights of MobileNetV2, in timm's names.
        budget: wall-clock time of each teacher's training; that of its recipe where it is empty.
        out: folder of the runs.
        device: where to train.
        jobs: trainings, and then measurements, at a time.
    """

    redkitchen: Path | None = None
    hololens: Path | None = None
    backbone_weights: str = "none"
    budget: str = ""
    out: Path = Path("runs/pose_autoencoders")
    device: str = "cpu"
    jobs: int = 1


@dataclass(frozen=True)
class Students:
    """Everything on the page: the machine of the teachers, and the measurements of each."""

    machine: str
    runs: tuple[Measured, ...]


def main(settings: Settings) -> None:
    """Train and measure what is missing, and write the page."""
    teachers = _trained_teachers(settings)
    train_all(teachers, device=settings.device, jobs=settings.jobs)
    runs = [each.folder for each in teachers]
    missing = [run for run in runs if not (run / NAME).exists()]
    with ThreadPoolExecutor(max(1, settings.jobs)) as pool:
        failed = [each for each in pool.map(lambda run: _measure(run, settings), missing) if each]
    if failed:
        raise SystemExit("these measurements failed:\n" + "\n".join(failed))
    students = Students(teachers[0].machine(), tuple(Measured.load(run) for run in runs))
    write("pose_autoencoders", students, page(students))
    for run, each in zip(runs, students.runs, strict=True):
        if each.recipe == DRAWN:
            image = (run / DecoderMetadata.NAME / IMAGES).read_bytes()
            (RESULTS / "pose_autoencoders.png").write_bytes(image)


def _trained_teachers(settings: Settings) -> list[Trained]:
    """The regressors, scene after scene."""
    budget = ("--budget", settings.budget) if settings.budget else ()
    scene = rendered(replace(settings_of("corner", seed=0), depth_every=1))
    found = [
        Trained(recipe, scene, settings.out / recipe, options=("--layout", "demo", *budget))
        for recipe in DEMO
    ]
    weights = ("--backbone-weights", settings.backbone_weights, *budget)
    table = ("--layout", "table", "--option", "rotation=world_from_cam")
    rooms = ((settings.redkitchen, "redkitchen", ()), (settings.hololens, "hololens", table))
    for data, name, options in rooms:
        if data is not None:
            found += [
                Trained(recipe, data, settings.out / name / recipe, options=(*weights, *options))
                for recipe in ROOM
            ]
    return found


def _measure(run: Path, settings: Settings) -> str:
    """Measure in a process of its own; where to read about a failure, or ""."""
    virtual = ["--virtual"] if f"{run.parent.name}/{run.name}" == DRAWN else []
    words = ["benchmarks.student_measurements", str(run), "--device", settings.device, *virtual]
    return run_logged(words, run / "measured.txt", settings.jobs)


def page(students: Students) -> str:
    """The page without its figure."""
    measured = students.runs
    return result_page(
        "Pose auto-encoders and their uses",
        "pose_autoencoders",
        "Every teacher is a regressor trained by its recipe, in the time that the first table shows. Its "
        "auto-encoder is trained on the training frames. Every choice (epochs, neighbours, metric, ridge, "
        "share) was made on frames held out of them; the test frames only measure. All errors are medians, "
        "positions in metres.",
        "## Teachers",
        "Errors on held-out and on test frames.",
        _teachers(measured),
        "## Students and their teachers",
        "Test frames, except for the last ratio. The student is the teacher's heads on encodings: of the "
        "true poses, as in the paper's text, where the input pose should be the output; and of the teacher's "
        "own estimates, as in its code. The ratios are of the second to the teacher, position and "
        "orientation, on test and on held-out frames.",
        *_students(measured),
        "## Refined positions",
        "Held-out frames / test frames. The mean of the neighbours uses no latents: its gain comes from "
        "knowing the training cameras. Neighbours are three, as published, except for `anchored`; the weight "
        "of orientations in the search was chosen for each method. `auto` takes the method whose gain on "
        "held-out frames is surest, or none.",
        *_refined(measured),
        "## Neighbours, metric, latents",
        "Held-out frames, each number with the best of all other settings: by the number of neighbours; by "
        "the metric of nearness (the weight of orientations, or the metric of the paper's code); by the "
        "latents that are compared.",
        *(_settings(measured, heading, columns) for heading, columns in _columns()),
        "## Starting from noisy poses",
        "As in the paper's verification: a noisy true position starts the search instead of the teacher's "
        "estimate, with the true orientation. Test frames, with the settings of above.",
        _starts(measured),
        "## Decoded images, and virtual views",
        "Mean absolute difference of brightness, from 0 to 1, to the held-out images, 64 x 64.",
        _decoders(measured),
        "![True images above, decoded from the encodings of their poses below](pose_autoencoders.png)",
        "Relative poses, regressed from training poses: with a CNN from the image and a decoded image "
        "(`images`; trained on decoded images, or as published on images), with a CNN and an encoding, or "
        "from the teacher's latents and an encoding. Held-out / test frames: the teacher; with the paper's "
        "settings, the nearest pose and the full step; and with those that were best on held-out frames.",
        _virtual(measured),
        f"{students.machine}; {versions(measured[0].software)}.",
        command="--redkitchen FOLDER --hololens FOLDER \\\n      --backbone-weights FILE",
    )


def _name(each: Measured) -> str:
    return f"{each.scene}, `{each.recipe}`"


def _both(errors: Medians) -> str:
    return f"{errors.meters:.3f} m, {errors.degrees:.2f}°"


def _teachers(measured: Sequence[Measured]) -> str:
    rows = [
        (
            _name(each),
            f"{each.frames[0]:,}",
            each.training.budget,
            str(each.training.epochs),
            f"{each.latent[0]}, {each.latent[1]}",
            _both(each.held),
            _both(each.test),
        )
        for each in measured
    ]
    headings = ("", "frames", "budget", "epochs", "latents", "held-out frames", "test frames")
    return table(headings, rows)


def _students(measured: Sequence[Measured]) -> list[str]:
    rows: list[tuple[str, ...]] = []
    near = Counter[str]()
    for each in measured:
        for form in each.forms:
            ratios = _ratios(form.test_of_answers, each.test)
            near[form.label] += max(ratios) <= 1.15
            rows.append(
                (
                    f"{_name(each)}: {form.label}",
                    f"{form.megabytes:.2f} MB",
                    _both(each.test),
                    _both(form.test),
                    _both(form.test_of_answers),
                    _two(ratios),
                    _two(_ratios(form.held_of_answers, each.held)),
                    f"{form.seconds:.0f} s",
                )
            )
    counts = ", ".join(f"{label} {count}" for label, count in near.items())
    headings = ("", "size", "teacher", "student of true poses", "of estimates", "ratio", "held out")
    return [
        table((*headings, "trained in"), rows),
        f"Of {len(measured)} students of a form are at most 15 % worse than their teacher in both: {counts}.",
    ]


def _ratios(one: Medians, other: Medians) -> tuple[float, float]:
    return one.meters / other.meters, one.degrees / other.degrees


def _two(ratios: tuple[float, float]) -> str:
    return f"{ratios[0]:.2f}, {ratios[1]:.2f}"


def _refined(measured: Sequence[Measured]) -> list[str]:
    parts = []
    for label in (WITH_FOURIER, WITHOUT_FOURIER):
        forms = [each.form(label) for each in measured]
        rows = [_refined_row(_name(each), form) for each, form in zip(measured, forms, strict=True)]
        headings = ("", *(method_name(method) for method in METHODS), "auto", "chosen")
        parts += [f"### {capital(label)}", table(headings, rows), _counted(forms)]
    return parts


def _refined_row(name: str, form: Form) -> tuple[str, ...]:
    held, test = form.refined, form.refined_test
    pairs = [_pair(held[method], test[method]) for method in (*METHODS, form.auto)]
    return (name, *pairs, method_name(form.auto))


def _counted(forms: Sequence[Form]) -> str:
    """How often refining helped, on test frames unless the sentence names held-out ones."""
    test = [form.refined_test for form in forms]
    better = sum(each["affine"].median < each["neighbours"].median for each in test)
    held = sum(form.refined[form.auto].median <= form.refined["none"].median for form in forms)
    auto = sum(form.refined_test[form.auto].median <= form.refined_test["none"].median for form in forms)
    anchored = sum(each["anchored"].median <= each["none"].median for each in test)
    return (
        f"Of {len(forms)} runs the exact affine combination is better than the mean of as many neighbours on "
        f"{better}. The choice of `auto` is no worse than the unrefined answers on {held} on held-out frames "
        f"and on {auto} on test frames; `anchored` on {anchored} on test frames."
    )


def _pair(held: PositionErrors | None, test: PositionErrors) -> str:
    return f"{'' if held is None else f'{held.median:.3f}'} / {test.median:.3f}"


def _metric(setting: Setting) -> str:
    return "paper's code" if setting.metric == "published" else f"{setting.turn_weight:g}"


def _columns() -> list[tuple[str, list[tuple[str, dict[str, object]]]]]:
    """The tables of settings: what varies, and the columns with what they stand for."""
    counts: list[tuple[str, dict[str, object]]] = [
        (f"{method}, {k}", {"method": method, "neighbours": k}) for method in METHODS[1:3] for k in NEIGHBOURS
    ]
    counts += [(f"anchored, {k}", {"method": "anchored", "neighbours": k}) for k in (3, 10, 30)]
    metrics: list[tuple[str, dict[str, object]]] = [
        (f"{method}, {metric}", {"method": method, "metric": metric})
        for method in ("affine", "anchored")
        for metric in ("0.03", "0.1", "0.3", "1", "paper's code")
    ]
    latents: list[tuple[str, dict[str, object]]] = [
        (f"{method}, {half}", {"method": method, "latents": half})
        for method in ("affine", "anchored")
        for half in ("both", "position", "orientation")
    ]
    return [("neighbours", counts), ("metric", metrics), ("latents", latents)]


def _settings(
    measured: Sequence[Measured], heading: str, columns: list[tuple[str, dict[str, object]]]
) -> str:
    rows = []
    for each in measured:
        row = [_name(each)]
        for _, wanted in columns:
            found = [
                setting.median
                for setting in each.settings
                if wanted.items()
                <= {
                    "method": setting.method,
                    "neighbours": setting.neighbours,
                    "metric": _metric(setting),
                    "latents": setting.latents,
                }.items()
            ]
            row.append(f"{min(found):.3f}")
        rows.append(row)
    return table((f"by {heading}", *(label for label, _ in columns)), rows)


def _starts(measured: Sequence[Measured]) -> str:
    rows = [
        (
            f"{_name(each)}: off by {start.off:.3f} m",
            f"{start.before:.3f}",
            *(f"{start.after[method]:.3f}" for method in METHODS[1:]),
        )
        for each in measured
        for start in each.starts
    ]
    return table(("", "guess", *(method_name(method) for method in METHODS[1:])), rows)


def _decoders(measured: Sequence[Measured]) -> str:
    kinds = ("decoded", "nearest image", "mean image")
    rows = [
        (
            f"{_name(each)}: {decoder.label}",
            f"{decoder.parameters:,}",
            *(f"{decoder.metadata.differences[kind]:.4f}" for kind in kinds),
        )
        for each in measured
        for decoder in each.decoders
    ]
    return table(("", "weights", *kinds), rows)


def _virtual(measured: Sequence[Measured]) -> str:
    headings = (
        "",
        "teacher",
        "as published",
        "chosen",
        "reference, neighbours, iterations, share of the step",
    )
    return table(headings, [_virtual_row(each, one) for each in measured for one in each.virtual])


def _virtual_row(each: Measured, seen: Seen) -> tuple[str, ...]:
    view, teacher = seen.metadata.view, each.forms[0]
    learned = ", of images" if seen.references == "images" else ""
    return (
        f"{_name(each)}: {seen.sees}{learned}",
        _pair(teacher.refined["none"], teacher.refined_test["none"]),
        _pair(seen.metadata.published, seen.test_published),
        _pair(seen.metadata.refined, seen.test),
        f"{view.reference}, {view.neighbours}, {view.iterations}, {view.share:g}",
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
