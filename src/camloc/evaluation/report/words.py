"""What a report says in words: the metadata of the run, what the terms mean, how to go on."""

import json

import torch

from camloc.evaluation.baselines import BaselineErrors
from camloc.evaluation.report.frames import ranking
from camloc.evaluation.report.wording import angle, distance
from camloc.evaluation.results import Results
from camloc.geometry.pose import PoseError

WORDS = (
    (
        "Position error",
        "The distance between where the camera was (the centre of its lens) and where the estimate says.",
    ),
    (
        "Orientation error",
        "The angle of the one turn that would bring the estimated camera into the true direction, from 0° to "
        "180°. It counts looking elsewhere as much as a tilted horizon.",
    ),
    (
        "Median and 90 %",
        "Half of the images have an error of at most the median, nine of ten of at most the 90 % value. "
        "Both are errors of actual images, taken for position and for orientation apart.",
    ),
    (
        "Lost",
        "An image that got no pose. It counts as infinitely wrong in every number, so giving up never "
        "looks better than being wrong. The mean is infinite (∞) as soon as one image is lost.",
    ),
    (
        "Right scene",
        "Of models of several scenes: the share of images that were put into the scene that they show. "
        "One that was put into another scene is lost, since its pose is in another world.",
    ),
    ("Recall", "The share of all images for which both errors are within the two bounds."),
    (
        "Nearest training pose",
        "The pose of the training image that was taken nearest to the test image, in position and "
        "orientation together. It is looked up with the true pose, so no method can do this in use. A "
        "result that is not better has not gone beyond remembering images.",
    ),
    (
        "Nearest training position",
        "The same, but nearest in position alone, with whatever orientation that image has.",
    ),
    (
        "Mean training pose",
        "The average of all training poses as the answer to every image: what a model gives that does "
        "not look at the image.",
    ),
)


def training_record(results: Results) -> list[tuple[str, str]]:
    """What was run, on what, with what, for how long."""
    metadata = [("PosedScene", results.scene), ("Model", results.model), ("Recipe", results.recipe)]
    if results.parameters is not None:
        metadata.append(("Learned values", f"{results.parameters:,}"))
    if results.runtime:
        metadata.append(("Ran in", results.runtime))
    metadata.append(("Images", f"{results.train_frames:,} for training, {results.test_frames:,} for testing"))
    if results.outlier_filter:
        metadata.append(("Wrong points left out by", results.outlier_filter))
    if training := results.training:
        counts = ((training.epochs, "epochs"), (training.updates, "updates"))
        spent = ", ".join(
            [f"{count:,} {what}" for count, what in counts if count] + [_duration(training.seconds)]
        )
        arithmetic = " in bfloat16" if training.is_bfloat16 else ""
        metadata.append(("Training", f"{spent} on {training.device}{arithmetic}"))
        if training.feature_seconds:
            metadata.append(("Features before that", _duration(training.feature_seconds)))
        if training.budget:
            metadata.append(("Budget", training.budget))
        if training.schedule_share != 1.0:
            metadata.append(
                ("Schedule", f"the recipe's epochs times {training.schedule_share:.3g}, to fit the budget")
            )
        metadata.append(("Seed", str(training.seed)))
    if timing := results.timing:
        metadata.append(
            (
                "Time an image",
                f"median {timing.median:.1f} ms, 90 % {timing.quantile_90:.1f} ms, 99 % "
                f"{timing.quantile_99:.1f} ms on {timing.device} ({timing.frames:,} images)",
            )
        )
    if last := results.final_epoch:
        medians = f"{distance(last.meters.median, results.unit)}, {angle(last.degrees.median)}"
        where = f" on {results.sets[0].name}" if len(results.sets) > 1 else ""
        metadata.append(("Last epoch instead", f"median {medians}{where}"))
    versions = ", ".join(f"{name} {number}" for name, number in results.software.items())
    if versions:
        metadata.append(("Software", versions))
    return metadata


def settings_text(results: Results) -> str:
    """The recipe's settings as indented JSON, or an empty text where there are none."""
    return json.dumps(results.settings, indent=2, ensure_ascii=False) if results.settings else ""


def advice(
    results: Results, errors: PoseError, baselines: BaselineErrors, *, meters_per_degree: float
) -> list[str]:
    """What is worth doing next, told from the numbers."""
    told = []
    lost = results.headline.lost_reasons
    if lost:
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in lost.items())
        told.append(f"See why images were lost: {reasons}.")
    wrong = ranking(errors, meters_per_degree=meters_per_degree)
    away = ranking(baselines.nearest_pose, meters_per_degree=meters_per_degree)
    if _wrong_where_sparse(wrong.tolist(), away.tolist()):
        told.append(
            "The worst images lie farther from the training images than the others do. Record more "
            "of the scene there and train again."
        )
    elif len(wrong) >= 8:
        told.append(
            "The worst images are not farther from the training images than the others. Look at "
            "them above: blur, people in view, changed light or a repeated look call for more varied "
            "training images rather than for denser ones."
        )
    told += [
        f"Every image's estimate, truth and error is a row of {_CSV}; its camera path opens in evo and "
        f"other tools that read TUM files ({_TUM}).",
        "To compare with another recipe or seed, look at the same test set and at both baselines: numbers "
        "from other splits or other true poses do not compare.",
    ]
    return told


_CSV, _TUM = "estimates.csv", "estimates.tum and truth.tum"


def _wrong_where_sparse(wrong: list[float], away: list[float]) -> bool:
    """Whether the worst quarter of the frames is half as far again from training as the typical frame."""
    if len(wrong) < 8:
        return False
    worst = sorted(range(len(wrong)), key=lambda row: wrong[row])[-(len(wrong) // 4) :]
    distances = torch.tensor(away)
    return bool(distances[worst].median() > 1.5 * distances.median())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
