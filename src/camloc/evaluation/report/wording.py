"""Numbers and results as words, for the report and for tables in the terminal."""

import numpy as np
from rich.markup import escape

from camloc.evaluation.errors import ErrorStatistics, ScoredSet, empirical_quantile
from camloc.evaluation.results import MapRecord, Results, VerificationCounts

INFINITE = "∞"

# Names of refinement methods in tables.
METHOD_NAMES = {
    "none": "not refined",
    "map": "verified by the map, else the network",
    "verified": "map alone",
    "neighbours": "mean of neighbours",
    "adamw": "affine, 3 steps",
    "virtual": "virtual view",
}


def method_name(method: str, *, has_map: bool = False) -> str:
    """The name of a refinement method in tables.

    Args:
        method: the method.
        has_map: whether the estimates stand beside those that a map verified.
    """
    if has_map and method == "none":
        return "network alone"
    return METHOD_NAMES.get(method, method)


def plain(name: str) -> str:
    """A name escaped for a table in the terminal: square brackets in it are not markup."""
    return escape(name)


def distance(value: float | None, unit: str) -> str:
    """A distance with three significant digits or millimetres, and its unit."""
    return INFINITE if value is None else f"{_digits(value, 3)} {unit}"


def angle(value: float | None) -> str:
    """An angle with a degree sign."""
    return INFINITE if value is None else f"{_digits(value, 2)}°"


def change(before: float | None, after: float | None) -> str:
    """How an error changed, as a percentage where there is one; None stands for an infinite error."""
    match before, after:
        case None, None:
            return "still lost"
        case _, None:
            return "lost"
        case None, _:
            return "was lost"
        case then, now if then == now:
            return "same"
        case 0, _:
            return "was 0"
        case then, now:
            return f"{now / then - 1.0:+.0%}".replace("%", " %")


def percent(share: float) -> str:
    """A share as a percentage; only a share of exactly 0 is "0 %", only exactly 1 is "100 %"."""
    if 0.0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1.0:
        return "> 99.9 %"
    return f"{share:.0%}".replace("%", " %") if share in (0.0, 1.0) else f"{share * 100:.1f} %"


def bound(meters: float, degrees: float, unit: str) -> str:
    """The two bounds of a recall as text."""
    return f"{meters:g} {unit}, {degrees:g}°"


def medians(statistics: ErrorStatistics, unit: str, joint: str = ", ") -> str:
    """Both medians with their units."""
    return f"{distance(statistics.meters.median, unit)}{joint}{angle(statistics.degrees.median)}"


def images(count: int) -> str:
    """ "1 test image", "250 test images"."""
    return f"{count:,} test image{'' if count == 1 else 's'}"


def verification(counts: VerificationCounts) -> str:
    """How many answers the map verified, and with how many inliers."""
    words = f"{counts.verified:,} verified"
    if counts.inliers is not None:
        words += f" ({counts.inliers:.0f} inliers in the median)"
    return f"{words}, {counts.unverified:,} unverified, {counts.lost:,} lost"


def size(count: int) -> str:
    """A number of bytes as text, in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def map_sentence(scene_map: MapRecord) -> str:
    """The contents of a map and its calibration, in a sentence."""
    held = (
        f"{scene_map.points:,} points of {scene_map.frames:,} training images in {size(scene_map.size_bytes)}"
    )
    if not scene_map.calibrated_on:
        return f"{held}; not calibrated, because too few images could be held out: thresholds are cautious"
    return (
        f"{held}; calibrated on {scene_map.calibrated_on:,} held-out training images, verified from "
        f"{scene_map.least_inliers} inliers on"
    )


def verdict(results: Results) -> str:
    """The median errors of a run and of its baselines, in a few plain sentences."""
    headline = results.headline
    return (
        f"{_reached(headline.estimates, results.unit)} "
        f"Copying the pose of the nearest training image, which requires the true pose, would give "
        f"{medians(headline.nearest_training_pose, results.unit, ' and ')}; always answering the mean "
        f"training pose {medians(headline.mean_training_pose, results.unit, ' and ')}."
    )


def comparison(estimates: ErrorStatistics, nearest: ErrorStatistics, mean: ErrorStatistics) -> str:
    """One sentence that says which baselines have larger medians than the estimates."""
    if estimates.meters.median is None or estimates.degrees.median is None:
        return "Fewer than half of the images have a pose, so the result is worse than both baselines."
    beats_nearest = _lower(estimates, nearest)
    if all(beats_nearest):
        return "The result is better than the nearest training pose in position and in orientation."
    if not all(_lower(estimates, mean)):
        return (
            "The result is no better than the mean training pose in position or in orientation: the model "
            "has not learned this scene."
        )
    if any(beats_nearest):
        better, worse = ("position", "orientation") if beats_nearest[0] else ("orientation", "position")
        return f"The result is better than the nearest training pose in {better}, but not in {worse}."
    return "The result is better than the mean pose, but not better than the nearest training pose."


def _reached(estimates: ErrorStatistics, unit: str) -> str:
    found = estimates.frames - estimates.lost
    if not found:
        return f"None of the {images(estimates.frames)} could be located."
    if estimates.frames == 1:
        return f"The one test image was located within {medians(estimates, unit, ' and ')}."
    if estimates.meters.median is None:
        return f"Only {found:,} of the {images(estimates.frames)} could be located."
    sentence = (
        f"Half of the {images(estimates.frames)} were located within "
        f"{medians(estimates, unit, ', and half within ')}."
    )
    if estimates.lost:
        were = "was" if estimates.lost == 1 else "were"
        sentence += f" {estimates.lost:,} {were} not located and count as infinitely wrong."
    return sentence


def _lower(first: ErrorStatistics, second: ErrorStatistics) -> tuple[bool, bool]:
    """Whether the medians of position and of orientation are lower; all four are finite."""
    assert first.meters.median is not None
    assert first.degrees.median is not None
    assert second.meters.median is not None
    assert second.degrees.median is not None
    return first.meters.median < second.meters.median, first.degrees.median < second.degrees.median


def _digits(value: float, decimals: int) -> str:
    """A number with fewer decimals the larger it is."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.{2 if value >= 1 else decimals}f}"


# Terms of the report and their definitions.
TERMS = (
    (
        "Position error",
        "The distance between the true and the estimated camera centre (the centre of the lens).",
    ),
    (
        "Orientation error",
        "The angle of the rotation between the estimated and the true camera axes, from 0° to 180°. Looking "
        "elsewhere and a tilted horizon count the same.",
    ),
    (
        "Median and 90 %",
        "Half of the images have an error of at most the median, nine of ten of at most the 90 % value. "
        "Both are errors of actual images, taken for position and for orientation apart.",
    ),
    (
        "Lost",
        "An image without an estimated pose. Its errors count as infinite in every number, so rejecting an "
        "image never looks better than a wrong pose. The mean is infinite (∞) as soon as one image is lost.",
    ),
    (
        "No image rejected",
        "The errors if the network's pose of every image were returned, also of images that it rejects. "
        "Papers score their networks so.",
    ),
    (
        "Right scene",
        "For models of several scenes: the share of images that were located in the scene that they show. "
        "An image that was located in another scene is lost, since its pose is in another world.",
    ),
    ("Recall", "The share of all images for which both errors are within the two bounds."),
    (
        "Nearest training pose",
        "The pose of the training image that was taken nearest to the test image, in position and "
        "orientation together. It is looked up with the true pose, so no method can do this in use. A "
        "result that is not better does no more than remember images.",
    ),
    (
        "Nearest training position",
        "The same, but nearest in position alone, with whatever orientation that image has.",
    ),
    (
        "Mean training pose",
        "The average of all training poses as the estimate for every image: the estimate of a model that "
        "ignores the image.",
    ),
)


def run_record(results: Results) -> list[tuple[str, str]]:
    """Model, data, training and software of a run, as terms and texts."""
    record = [("Scene", results.scene), ("Model", results.model), ("Recipe", results.recipe)]
    if results.parameters is not None:
        record.append(("Learned values", f"{results.parameters:,}"))
    if results.scene_map:
        record.append(("Map", map_sentence(results.scene_map)))
    if results.runtime:
        record.append(("Runtime", results.runtime))
    record.append(("Images", f"{results.train_frames:,} for training, {results.test_frames:,} for testing"))
    if results.outlier_filter:
        record.append(("Outlier filter", results.outlier_filter))
    if training := results.training:
        counts = ((training.epochs, "epochs"), (training.updates, "updates"))
        spent = ", ".join(
            [f"{count:,} {what}" for count, what in counts if count] + [_duration(training.seconds)]
        )
        arithmetic = " in bfloat16" if training.is_bfloat16 else ""
        record.append(("Training", f"{spent} on {training.device}{arithmetic}"))
        if training.feature_seconds:
            record.append(("Features, computed before", _duration(training.feature_seconds)))
        if training.budget:
            record.append(("Budget", training.budget))
        if training.schedule_share != 1.0:
            record.append(
                ("Schedule", f"the recipe's epochs times {training.schedule_share:.3g}, to fit the budget")
            )
        record.append(("Seed", str(training.seed)))
    if timing := results.timing:
        record.append(
            (
                "Time an image",
                f"median {timing.median:.1f} ms, 90 % {timing.quantile_90:.1f} ms, 99 % "
                f"{timing.quantile_99:.1f} ms on {timing.device} ({timing.frames:,} images)",
            )
        )
    if last := results.final_epoch:
        where = f" on {results.sets[0].name}" if len(results.sets) > 1 else ""
        record.append(("Last epoch instead of the best", f"median {medians(last, results.unit)}{where}"))
    versions = ", ".join(f"{name} {number}" for name, number in results.software.items())
    if versions:
        record.append(("Software", versions))
    return record


def advice(results: Results, headline: ScoredSet) -> list[str]:
    """Advice on the next step, chosen by the errors of the headline set."""
    sentences = []
    lost = results.headline.lost_reasons
    if lost:
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in lost.items())
        sentences.append(f"See why images were lost: {reasons}.")
    errors = headline.combined(headline.errors).tolist()
    distances = headline.combined(headline.baselines.nearest_pose).tolist()
    if _worst_are_far_from_training(errors, distances):
        sentences.append(
            "The worst images lie farther from the training images than the others do. Record more "
            "of the scene there and train again."
        )
    elif len(errors) >= 8:
        sentences.append(
            "The worst images are not farther from the training images than the others. Look at "
            "them above: against blur, people in view, changed light or repeated structures, more varied "
            "training images help more than denser ones."
        )
    return [
        *sentences,
        "The estimate, the true pose and the error of every image are a row of estimates.csv; evo and other "
        "tools that read TUM files open the camera path (estimates.tum and truth.tum).",
        "To compare with another recipe or seed, use the same test set and both baselines: numbers from "
        "other splits or other true poses do not compare.",
    ]


def _worst_are_far_from_training(errors: list[float], distances: list[float]) -> bool:
    """Whether the worst quarter of the frames is 1.5 times as far from training as the median frame."""
    if len(errors) < 8:
        return False
    worst = sorted(range(len(errors)), key=lambda row: errors[row])[-(len(errors) // 4) :]
    far = empirical_quantile(np.array([distances[row] for row in worst]), 0.5)
    return far > 1.5 * empirical_quantile(np.array(distances), 0.5)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
