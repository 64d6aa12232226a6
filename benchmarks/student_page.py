"""The page of the pose auto-encoders, from what was measured."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.student_records import (
    NEIGHBOURS,
    WITH_FOURIER,
    WITHOUT_FOURIER,
    Form,
    Measured,
    Medians,
    Seen,
    Setting,
)
from benchmarks.tables import versions
from camloc.evaluation.report.wording import method_name
from camloc.refinement.refiner import PositionErrors

REFINEMENT_METHODS = ("none", "neighbours", "affine", "adamw", "anchored")

INTRODUCTION = """# Pose auto-encoders, and what they are for

<!-- Written by benchmarks/pose_autoencoders.py; do not edit. -->

Every teacher is a regressor as its recipe trains it, in the time that the first table has. Its
auto-encoder learns from the training frames. Whatever had to be chosen (epochs, neighbours, metric, ridge,
share) was chosen on frames held out of them; the test frames only measure. All errors are medians,
positions in metres."""

TEACHERS = """## Teachers

Errors on held-out and on test frames."""

STUDENTS = """## Students and their teachers

Test frames but for the last ratio. The student is the teacher's heads on encodings: of the true poses, as
in the paper's text, where the answer is put in and should come out; and of the teacher's own answers, as in
its code. The ratios are of the second to the teacher, position and orientation, on test and on held-out
frames."""

REFINED = """## Positions refined

Held-out frames / test frames. The mean of the neighbours looks at no latents: what it gains, knowing the
training cameras gains. Neighbours are three, as published, but for `anchored`; the weight of orientations in
the search was chosen for each way. `auto` takes the way whose gain on held-out frames is surest, or none."""

SETTINGS = """## Neighbours, metric, latents

Held-out frames, each number with the best of all other settings: by how many neighbours; by the metric of
nearness (the weight of orientations, or the metric of the paper's code); by the latents that are
compared."""

STARTS = """## Starting from guesses

As the paper verifies it: a guess around the truth starts the search instead of the teacher's answer, with
the true orientation. Test frames, with the settings of above."""

IMAGES = """## Decoded images, and virtual views

Mean absolute difference of brightness, from 0 to 1, to the images of the frames held out, 64 x 64."""

VIRTUAL = """![True images above, decoded from the encodings of their poses below](pose_autoencoders.png)

Relative poses, regressed from remembered poses: with a CNN from the image and a decoded image
(`images`; learned from decoded images, or as published from images), with a CNN and an encoding,
or from the teacher's latents and an encoding. Held-out / test frames: the teacher; with the paper's
settings, the nearest pose and all the way; and with those that were best on held-out frames."""


@dataclass(frozen=True)
class Students:
    """Everything on the page.

    Attributes:
        machine: what each teacher had, in words.
        runs: of the teachers.
    """

    machine: str
    runs: tuple[Measured, ...]


def page(students: Students) -> str:
    """All of it."""
    measured = students.runs
    command = "uv run python -m benchmarks.pose_autoencoders --redkitchen FOLDER --hololens FOLDER \\"
    parts = [
        INTRODUCTION,
        TEACHERS,
        _teachers(measured),
        *_students(measured),
        *_refined(measured),
        SETTINGS,
        *(_settings(measured, heading, columns) for heading, columns in _columns()),
        STARTS,
        _starts(measured),
        *_virtual(measured),
        f"{students.machine}; {versions(measured[0].software)}.",
        f"    {command}\n      --backbone-weights FILE\n",
    ]
    return "\n\n".join(parts)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text."""
    lines = [headings, ["---", *["--:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    rows, near = [], Counter[str]()
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
    counted = f"Of {len(measured)} students of a form are at most 15 % worse than their teacher in both: " + (
        ", ".join(f"{label} {count}" for label, count in near.items())
    )
    headings = (
        "",
        "size",
        "teacher",
        "student of true poses",
        "of answers",
        "ratio",
        "held out",
        "taught in",
    )
    return [STUDENTS, table(headings, rows), f"{counted}."]


def _ratios(one: Medians, other: Medians) -> tuple[float, float]:
    return one.meters / other.meters, one.degrees / other.degrees


def _two(ratios: tuple[float, float]) -> str:
    return f"{ratios[0]:.2f}, {ratios[1]:.2f}"


def _refined(measured: Sequence[Measured]) -> list[str]:
    parts = [REFINED]
    for label in (WITH_FOURIER, WITHOUT_FOURIER):
        forms = [each.form(label) for each in measured]
        rows = [_refined_row(_name(each), form) for each, form in zip(measured, forms, strict=True)]
        headings = ("", *(method_name(way) for way in REFINEMENT_METHODS), "auto", "chosen")
        parts += [f"### {label[0].upper()}{label[1:]}", table(headings, rows), _counted(forms)]
    return parts


def _refined_row(name: str, form: Form) -> tuple[str, ...]:
    held, test = form.refined, form.refined_test
    pairs = [_pair(held[way], test[way]) for way in (*REFINEMENT_METHODS, form.auto)]
    return (name, *pairs, method_name(form.auto))


def _counted(forms: Sequence[Form]) -> str:
    """How often refining helped, on the test frames but for what the held-out ones say of themselves."""
    test = [form.refined_test for form in forms]
    better = sum(each["affine"].median < each["neighbours"].median for each in test)
    held = sum(form.refined[form.auto].median <= form.refined["none"].median for form in forms)
    auto = sum(form.refined_test[form.auto].median <= form.refined_test["none"].median for form in forms)
    anchored = sum(each["anchored"].median <= each["none"].median for each in test)
    return (
        f"Of {len(forms)} runs the exact affine combination is better than the mean of as many neighbours on "
        f"{better}. What `auto`\nchooses is no worse than the unrefined answers on {held} on held-out frames "
        f"and on {auto} on test frames; `anchored` on\n{anchored} on test frames."
    )


def _pair(held: PositionErrors | None, test: PositionErrors) -> str:
    return f"{'' if held is None else f'{held.median:.3f}'} / {test.median:.3f}"


def _metric(setting: Setting) -> str:
    return "paper's code" if setting.metric == "published" else f"{setting.turn_weight:g}"


def _columns() -> list[tuple[str, list[tuple[str, dict[str, object]]]]]:
    """The tables of settings: what varies, and the columns with what they stand for."""
    counts: list[tuple[str, dict[str, object]]] = [
        (f"{way}, {k}", {"way": way, "neighbours": k}) for way in REFINEMENT_METHODS[1:3] for k in NEIGHBOURS
    ]
    counts += [(f"anchored, {k}", {"way": "anchored", "neighbours": k}) for k in (3, 10, 30)]
    metrics: list[tuple[str, dict[str, object]]] = [
        (f"{way}, {metric}", {"way": way, "metric": metric})
        for way in ("affine", "anchored")
        for metric in ("0.03", "0.1", "0.3", "1", "paper's code")
    ]
    latents: list[tuple[str, dict[str, object]]] = [
        (f"{way}, {half}", {"way": way, "latents": half})
        for way in ("affine", "anchored")
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
                    "way": setting.way,
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
            *(f"{start.after[way]:.3f}" for way in REFINEMENT_METHODS[1:]),
        )
        for each in measured
        for start in each.starts
    ]
    return table(("", "guess", *(method_name(way) for way in REFINEMENT_METHODS[1:])), rows)


def _virtual(measured: Sequence[Measured]) -> list[str]:
    kinds = ("decoded", "nearest image", "mean image")
    drawn = [
        (
            f"{_name(each)}: {decoder.label}",
            f"{decoder.parameters:,}",
            *(f"{decoder.metadata.differences[kind]:.4f}" for kind in kinds),
        )
        for each in measured
        for decoder in each.decoders
    ]
    seen = [_seen(each, one) for each in measured for one in each.virtual]
    headings = ("", "teacher", "as published", "chosen", "reference, how many, how often, how far")
    return [
        IMAGES,
        table(("", "weights", *kinds), drawn),
        VIRTUAL,
        table(headings, seen),
    ]


def _seen(each: Measured, seen: Seen) -> tuple[str, ...]:
    view, teacher = seen.metadata.view, each.forms[0]
    learned = ", of images" if seen.references == "images" else ""
    return (
        f"{_name(each)}: {seen.sees}{learned}",
        _pair(teacher.refined["none"], teacher.refined_test["none"]),
        _pair(seen.metadata.published, seen.test_published),
        _pair(seen.metadata.refined, seen.test),
        f"{view.reference}, {view.neighbours}, {view.iterations}, {view.share:g}",
    )
