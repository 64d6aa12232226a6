"""Compares estimates of the same frames: runs, their seeds, and trajectories of other programs.

A method is one or several runs with the same recipe and budget, which differ by their seeds, or one TUM
trajectory. Methods are compared frame by frame. The interval of a difference comes from a bootstrap that
draws blocks of consecutive frames, because neighbouring frames have similar errors, and adds the error of a
mean over few trainings (Student's t), because another seed gives other errors. An interval that holds zero is
noise.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from jaxtyping import Float

from camloc.core.files import csv_text, read_regular
from camloc.core.sealed import SealError, check_listed
from camloc.data.formats.tum import Trajectory, read_trajectory
from camloc.errors import CheckpointError, DatasetError
from camloc.evaluation.errors import error_statistics, mean_of_all
from camloc.evaluation.files import CHECKED_NAMES, CHECKSUMS_NAME
from camloc.evaluation.plain_table import PlainTable
from camloc.evaluation.report.wording import angle, distance, percent
from camloc.geometry.pose import Pose, PoseError, pose_error

# Consecutive frames that are drawn together, draws, and the share that an interval covers.
BLOCK = 20
DRAWS = 2000
COVERAGE = 0.95

# Largest difference in seconds between the times of a pose of a trajectory and of a frame.
SECONDS = 0.02

_POSE = ("tx", "ty", "tz", "qw_world_from_cam", "qx_world_from_cam", "qy_world_from_cam", "qz_world_from_cam")

# The numbers of seeds differ between methods, those of frames do not.
Errors = Float[np.ndarray, "_ frames"]


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates of the frames of one test set.

    Attributes:
        name: of the method.
        seed: of the run, in words, or "".
        frames: names of the frames, in order.
        sequences: their sequences.
        times: of the frames, or their numbers.
        truth: (n,) true poses.
        poses: (n,) estimated poses; those of lost frames are the true ones and are not read.
        located: (n,) which frames have an estimate.
    """

    name: str
    seed: str
    frames: tuple[str, ...]
    sequences: tuple[str, ...]
    times: tuple[float, ...]
    truth: Pose
    poses: Pose
    located: np.ndarray

    def errors(self) -> PoseError:
        """(n,) errors; infinite for lost frames."""
        found = pose_error(self.poses, self.truth)
        return PoseError(
            np.where(self.located, found.meters, np.inf), np.where(self.located, found.degrees, np.inf)
        )

    def rows(self, rows: Sequence[int]) -> "Estimates":
        """The estimates of some of the frames, by their rows."""
        index = np.array(rows)
        return Estimates(
            self.name,
            self.seed,
            tuple(self.frames[row] for row in rows),
            tuple(self.sequences[row] for row in rows),
            tuple(self.times[row] for row in rows),
            self.truth[index],
            self.poses[index],
            self.located[index],
        )


def _check_written(path: Path) -> None:
    """Check a file of an evaluation, by its name, against the checksums beside it.

    Raises:
        CheckpointError: it has another checksum.
    """
    if path.name in CHECKED_NAMES and path.is_file():
        try:
            check_listed(path, path.with_name(CHECKSUMS_NAME))
        except SealError as problem:
            raise CheckpointError(f"{path} {problem}") from None


def read_estimates(path: Path, *, name: str, seed: str = "") -> Estimates:
    """Read the `estimates.csv` of an evaluation, its first test set.

    Raises:
        CheckpointError: no such file, or not one of an evaluation.
    """
    try:
        _check_written(path)
        rows = list(csv.DictReader(StringIO(read_regular(path).decode())))
        first = [row for row in rows if row["set"] == rows[0]["set"]]
        truth = np.array([[float(row[f"truth_{column}"]) for column in _POSE] for row in first])
        located = np.array([row["tx"] != "" for row in first])
        estimates = truth.copy()
        for number, row in enumerate(first):
            if located[number]:
                estimates[number] = [float(row[column]) for column in _POSE]
        times = [float(row["time"]) if row["time"] else float(number) for number, row in enumerate(first)]
    except OSError as problem:
        raise CheckpointError(
            f"{path} cannot be read: {problem.strerror or problem}; run `camloc evaluate` first"
        ) from None
    except (KeyError, ValueError, IndexError, csv.Error):
        raise CheckpointError(f"{path} is not a file of `camloc evaluate`; evaluate the run again") from None
    return Estimates(
        name,
        seed,
        tuple(row["image"] for row in first),
        tuple(row["sequence"] for row in first),
        tuple(times),
        _poses(truth),
        _poses(estimates),
        located,
    )


def read_trajectory_of(path: Path, like: Estimates, *, name: str) -> Estimates:
    """Read a TUM trajectory as estimates of the frames of `like`, which it is matched to by time.

    Raises:
        DatasetError: the file is not a trajectory, or none of its times is that of a frame.
    """
    _check_written(path)
    trajectory = read_trajectory(path)
    rows = _nearest(trajectory, like.times)
    located = rows >= 0
    if not located.any():
        raise DatasetError(
            f"no pose of {path} is within {SECONDS:g} s of a frame; times are those of the frames, or their "
            f"numbers from 0 on where frames have no times"
        )
    found = trajectory.world_from_cam.numpy()[np.maximum(rows, 0)]
    poses = Pose(
        np.where(located[:, None, None], found.rotation, like.truth.rotation),
        np.where(located[:, None], found.translation, like.truth.translation),
    )
    return Estimates(name, "", like.frames, like.sequences, like.times, like.truth, poses, located)


def truth_of(path: Path) -> Estimates:
    """The true trajectory of a TUM file as estimates without an error, to match other files to.

    Raises:
        DatasetError: the file is not a trajectory.
    """
    _check_written(path)
    trajectory = read_trajectory(path)
    poses = trajectory.world_from_cam.numpy().to(np.float64)
    count = len(trajectory.times)
    names = tuple(f"{time:g}" for time in trajectory.times)
    return Estimates(
        "truth", "", names, ("",) * count, trajectory.times, poses, poses, np.ones(count, dtype=bool)
    )


def common_frames(estimates: Sequence[Estimates]) -> tuple[Estimates, ...]:
    """The estimates of the frames that all of them have, in the order of the first.

    Raises:
        DatasetError: they have no frame in common, or another truth for one.
    """
    shared = set(estimates[0].frames)
    for each in estimates[1:]:
        shared &= set(each.frames)
    names = [name for name in estimates[0].frames if name in shared]
    if not names:
        raise DatasetError(
            f"{estimates[0].name} and {estimates[-1].name} were not evaluated on the same frames; evaluate "
            f"both on one data set"
        )
    found = []
    for each in estimates:
        place = {name: row for row, name in enumerate(each.frames)}
        found.append(each.rows([place[name] for name in names]))
    for each in found[1:]:
        apart = pose_error(each.truth, found[0].truth)
        if float(apart.meters.max()) > 1e-3 or float(apart.degrees.max()) > 0.1:
            raise DatasetError(
                f"{found[0].name} and {each.name} have different true poses for the same frames (up to "
                f"{float(apart.meters.max()):.3g} and {float(apart.degrees.max()):.3g} degrees); errors "
                f"against two truths cannot be compared"
            )
    return tuple(found)


@dataclass(frozen=True)
class Method:
    """The results of one method over its seeds.

    Attributes:
        name: of the method.
        seeds: number of runs.
        frames: number of frames.
        lost: mean number of lost frames.
        meters, degrees: mean over the seeds of the median errors; None if infinite.
        deviation: standard deviations of the medians over the seeds, or None for one run.
        quantile_90: mean over the seeds of the errors that nine of ten frames are within.
        recall: share of frames within 0.25 m and 2 degrees.
    """

    name: str
    seeds: int
    frames: int
    lost: float
    meters: float | None
    degrees: float | None
    deviation: tuple[float, float] | None
    quantile_90: tuple[float | None, float | None]
    recall: float


@dataclass(frozen=True)
class Difference:
    """The difference of two methods: the second's median error minus the first's.

    Attributes:
        first, second: names of the methods.
        meters, degrees: (low, middle, high) of the bootstrap; NaN where too many frames are lost.
        better: share of the frames on which the second's position error is smaller.
        has_seeds: whether both methods have several runs, so that the interval includes their variation.
    """

    first: str
    second: str
    meters: tuple[float, float, float]
    degrees: tuple[float, float, float]
    better: float
    has_seeds: bool

    def verdict(self, half: str) -> str:
        """Whether a half of the difference is more than noise."""
        low, _, high = getattr(self, half)
        if not np.isfinite((low, high)).all():
            return "unknown: too many lost frames"
        if low <= 0.0 <= high:
            return "noise"
        return "larger" if low > 0 else "smaller"


def lower_median(errors: Float[np.ndarray, "n"]) -> float:
    """The lower median; infinite where half of the frames are lost."""
    middle = (len(errors) - 1) // 2
    return float(np.partition(errors, middle)[middle])


def method_results(name: str, meters: Errors, degrees: Errors) -> Method:
    """The results of a method from its errors."""
    runs = [error_statistics(PoseError(*each)) for each in zip(meters, degrees, strict=True)]
    medians = [[each.meters.median for each in runs], [each.degrees.median for each in runs]]
    known = [[median for median in half if median is not None] for half in medians]
    is_known = len(runs) > 1 and all(len(half) == len(runs) for half in known)
    return Method(
        name,
        seeds=len(runs),
        frames=runs[0].frames,
        lost=fmean(each.lost for each in runs),
        meters=mean_of_all(medians[0]),
        degrees=mean_of_all(medians[1]),
        deviation=(stdev(known[0]), stdev(known[1])) if is_known else None,
        quantile_90=(
            mean_of_all([each.meters.quantile_90 for each in runs]),
            mean_of_all([each.degrees.quantile_90 for each in runs]),
        ),
        recall=fmean(each.recall(0.25, 2.0) for each in runs),
    )


def difference(
    names: tuple[str, str],
    first: tuple[Errors, Errors],
    second: tuple[Errors, Errors],
    *,
    draws: int = DRAWS,
) -> Difference:
    """The bootstrap of the difference of two methods on the same frames.

    Args:
        names: of both methods.
        first, second: metres and degrees of each.
        draws: number of draws.
    """
    rng, frames = np.random.default_rng(0), first[0].shape[1]
    block = min(BLOCK, max(1, frames // 10))
    starts = np.arange(frames)
    found: list[list[float]] = [[], []]
    for _ in range(draws):
        chosen = rng.choice(starts, -(-frames // block))
        rows = ((chosen[:, None] + np.arange(block)) % frames).ravel()[:frames]
        for half in (0, 1):
            medians = [[lower_median(row[rows]) for row in method[half]] for method in (first, second)]
            if not np.isfinite([*medians[0], *medians[1]]).all():
                found[half].append(float("nan"))
                continue
            of_seeds = [_other_trainings(each, rng) for each in medians]
            found[half].append(fmean(medians[1]) - fmean(medians[0]) + of_seeds[1] - of_seeds[0])
    outer = (1.0 - COVERAGE) / 2.0
    intervals = []
    for half, draws_of in enumerate(found):
        observed = [fmean(lower_median(row) for row in method[half]) for method in (first, second)]
        middle = observed[1] - observed[0] if np.isfinite(observed).all() else float("nan")
        low, high = np.quantile(draws_of, (outer, 1.0 - outer))
        intervals.append((float(low), float(middle), float(high)))
    mean_meters = [half[0].mean(axis=0) for half in (first, second)]
    has_seeds = min(len(first[0]), len(second[0])) > 1
    better = float((mean_meters[1] < mean_meters[0]).mean())
    return Difference(*names, intervals[0], intervals[1], better, has_seeds)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that `camloc compare` shows.

    Attributes:
        scene: words for the frames.
        unit: of positions.
        estimates: of each method its runs, on the same frames.
        methods: results, in the same order.
        differences: of all pairs of methods.
    """

    scene: str
    unit: str
    estimates: Mapping[str, tuple[Estimates, ...]]
    methods: tuple[Method, ...]
    differences: tuple[Difference, ...]

    def table(self) -> PlainTable:
        """The methods and their differences."""
        rows = tuple((each.name, str(each.seeds), *self.cells(each)) for each in self.methods)
        headings = ("method", "runs", "median", "90 %", "0.25 m, 2°", "lost")
        return PlainTable("", headings, rows, tuple(self.sentences()))

    def cells(self, method: Method) -> tuple[str, ...]:
        """Median, 90 %, recall and lost frames."""
        deviation = (
            ("", "") if method.deviation is None else tuple(f" ± {value:.2g}" for value in method.deviation)
        )
        return (
            f"{distance(method.meters, self.unit)}{deviation[0]}  {angle(method.degrees)}{deviation[1]}",
            f"{distance(method.quantile_90[0], self.unit)}  {angle(method.quantile_90[1])}",
            percent(method.recall),
            f"{method.lost:g} of {method.frames}",
        )

    def sentences(self) -> list[str]:
        """Each difference in a sentence, and whether it is more than noise."""
        found = [f"{self.scene}: {self.methods[0].frames} frames; medians are means over the runs."]
        for each in self.differences:
            halves = ", ".join(
                f"{middle:+.3g}{unit} [{low:+.3g}, {high:+.3g}] ({each.verdict(half)})"
                for half, unit in (("meters", f" {self.unit}"), ("degrees", "°"))
                for low, middle, high in [getattr(each, half)]
            )
            seeds = (
                "" if each.has_seeds else "; the variation between trainings is not known from single runs"
            )
            found.append(
                f"{each.second} minus {each.first}: {halves}; nearer on {percent(each.better)} of the "
                f"frames{seeds}"
            )
        return found

    def csv(self) -> str:
        """One line for each frame and run."""
        rows: list[Sequence[object]] = [("method", "seed", "image", "sequence", "meters", "degrees")]
        for name, runs in self.estimates.items():
            for run in runs:
                errors = run.errors()
                for row, frame in enumerate(run.frames):
                    values = (float(errors.meters[row]), float(errors.degrees[row]))
                    numbers = ("" if np.isinf(value) else f"{value:.6f}" for value in values)
                    rows.append((name, run.seed, frame, run.sequences[row], *numbers))
        return csv_text(rows)


def compare(estimates: Sequence[Estimates], *, unit: str = "m") -> Comparison:
    """Compare estimates; those with the same name are the runs of one method.

    Raises:
        DatasetError: they have no frame in common.
    """
    by_name: dict[str, tuple[Estimates, ...]] = {}
    for each in common_frames(estimates):
        by_name[each.name] = (*by_name.get(each.name, ()), each)
    errors: dict[str, tuple[Errors, Errors]] = {}
    for name, runs in by_name.items():
        found = [run.errors() for run in runs]
        errors[name] = (
            np.stack([each.meters for each in found]),
            np.stack([each.degrees for each in found]),
        )
    methods = tuple(method_results(name, *both) for name, both in errors.items())
    pairs = tuple(
        difference((first, second), errors[first], errors[second])
        for first, second in combinations(errors, 2)
    )
    first = next(iter(by_name.values()))[0]
    sequences = len(set(first.sequences))
    scene = f"{sequences} sequences" if sequences > 1 else (first.sequences[0] or "test frames")
    return Comparison(scene, unit, by_name, methods, pairs)


def _other_trainings(medians: Sequence[float], rng: np.random.Generator) -> float:
    """A random deviation of the mean over trainings, by Student's t; 0 for a single training.

    Resampling two or three trainings would make their variation look a third smaller than it is.
    """
    count = len(medians)
    return float(rng.standard_t(count - 1)) * stdev(medians) / count**0.5 if count > 1 else 0.0


def _poses(rows: Float[np.ndarray, "n 7"]) -> Pose:
    quaternions = rows[:, 3:] / np.linalg.norm(rows[:, 3:], axis=1, keepdims=True)
    return Pose.from_quaternion_wxyz(quaternions, rows[:, :3])


def _nearest(trajectory: Trajectory, times: Sequence[float]) -> np.ndarray:
    """For each time the row of the pose that is nearest in time, or -1."""
    known = np.array(trajectory.times)
    order = np.argsort(known)
    place = np.clip(np.searchsorted(known[order], times), 1, len(known) - 1) if len(known) > 1 else None
    if place is None:
        rows = np.zeros(len(times), dtype=int)
    else:
        before, after = order[place - 1], order[place]
        wanted = np.array(times)
        rows = np.where(np.abs(known[before] - wanted) <= np.abs(known[after] - wanted), before, after)
    return np.where(np.abs(known[rows] - np.array(times)) <= SECONDS, rows, -1)
