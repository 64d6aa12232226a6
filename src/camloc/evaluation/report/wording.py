"""Numbers and results in words that a reader of the report or of the terminal understands."""

from camloc.evaluation.errors import ErrorStatistics
from camloc.evaluation.results import Results

INFINITE = "∞"

# What tables call the ways of refining positions.
REFINEMENT_METHODS = {
    "none": "not refined",
    "neighbours": "mean of neighbours",
    "adamw": "affine, 3 steps",
    "virtual": "virtual view",
}


def method_name(way: str) -> str:
    """What tables call a way of refining positions."""
    return REFINEMENT_METHODS.get(way, way)


def plain(name: str) -> str:
    """A name as it is in a table of the terminal: square brackets in it are not markup."""
    return name.replace("[", r"\[")


def distance(value: float | None, unit: str) -> str:
    """A distance with three significant digits or millimetres, and its unit."""
    return INFINITE if value is None else f"{_digits(value, 3)} {unit}"


def angle(value: float | None) -> str:
    """An angle with a degree sign."""
    return INFINITE if value is None else f"{_digits(value, 2)}°"


def change(before: float | None, after: float | None) -> str:
    """How an error changed, as a percentage where there is one; None is the error of what is lost."""
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
    """A share as a percentage; only none at all is "0 %", only every one is "100 %"."""
    if 0.0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1.0:
        return "> 99.9 %"
    return f"{share:.0%}".replace("%", " %") if share in (0.0, 1.0) else f"{share * 100:.1f} %"


def bound(meters: float, degrees: float, unit: str) -> str:
    """The two bounds of a recall."""
    return f"{meters:g} {unit}, {degrees:g}°"


def images(count: int, kind: str = "test") -> str:
    """ "1 test image", "250 test images"."""
    return f"{count:,} {kind} image{'' if count == 1 else 's'}".replace("  ", " ")


def verdict(results: Results) -> str:
    """What the run reached, and how that compares, in a few plain sentences."""
    headline = results.headline
    sentences = [_reached(headline.estimates, results.unit)]
    nearest = headline.nearest_training_pose
    sentences.append(
        f"Copying the pose of the nearest training image, which takes knowing the answer, would give "
        f"{_middle(nearest, results.unit)}; always answering the mean training pose "
        f"{_middle(headline.mean_training_pose, results.unit)}."
    )
    return " ".join(sentences)


def comparison(estimates: ErrorStatistics, nearest: ErrorStatistics, mean: ErrorStatistics) -> str:
    """Which of the baselines the median beats, as one sentence."""
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
    middle_meters = distance(estimates.meters.median, unit)
    middle_degrees = angle(estimates.degrees.median)
    if estimates.frames == 1:
        return f"The one test image was located within {middle_meters} and {middle_degrees}."
    if estimates.meters.median is None:
        return f"Only {found:,} of the {images(estimates.frames)} could be located."
    sentence = (
        f"Half of the {images(estimates.frames)} were located within {middle_meters}, "
        f"and half within {middle_degrees}."
    )
    if estimates.lost:
        were = "was" if estimates.lost == 1 else "were"
        sentence += f" {estimates.lost:,} {were} not located and count as infinitely wrong."
    return sentence


def _middle(statistics: ErrorStatistics, unit: str) -> str:
    return f"{distance(statistics.meters.median, unit)} and {angle(statistics.degrees.median)}"


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
