"""`results.json`: errors of a run and of its baselines, and the settings that reproduce them.

JSON has no infinity: an infinite error is `null` (see `errors`). Unknown keys fail on reading.
"""

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from camloc.core.files import read_regular, write_atomically
from camloc.core.sealed import SealError, sealed_json, unsealed_json
from camloc.data.types import NO_REASON, Estimate, Located, Lost, Unit
from camloc.errors import CheckpointError, RecipeError
from camloc.evaluation.errors import (
    ErrorStatistics,
    SceneDecision,
    ScoredSet,
    empirical_quantile,
    error_statistics,
)
from camloc.evaluation.reliability import Reliability, reliability_of

RESULTS_NAME = "results.json"

_PACKAGES = ("camloc", "torch", "torchvision", "timm", "numpy", "pillow")


@dataclass(frozen=True)
class Timing:
    """The time from one image file to its pose, in milliseconds.

    Attributes:
        device: device of the measurement.
        frames: number of timed images.
        warm_up: number of images before them, which are not counted.
        median, quantile_90, quantile_99, maximum: milliseconds an image.
    """

    device: str
    frames: int
    warm_up: int
    median: float
    quantile_90: float
    quantile_99: float
    maximum: float


@dataclass(frozen=True)
class TrainingRecord:
    """The budget of a training, and how much of it was used.

    Attributes:
        seed: of every random choice.
        device: device that trained.
        precision: of the arithmetic, as Lightning Fabric names it.
        budget: the allowed time or passes: "20 minutes", "200 epochs".
        schedule_share: factor on the recipe's epochs that fits them into the budget; 1 without a budget.
        epochs, updates: passes over the training frames, and steps of the optimiser.
        seconds: wall time of the epochs.
        feature_seconds: wall time of computing the cached features, or 0.
        budget_covers_features: whether the budget includes that time.
    """

    seed: int
    device: str
    precision: str = "32-true"
    budget: str = ""
    schedule_share: float = 1.0
    epochs: int = 0
    updates: int = 0
    seconds: float = 0.0
    feature_seconds: float = 0.0
    budget_covers_features: bool = False

    @property
    def is_bfloat16(self) -> bool:
        """Whether matrix products were computed in bfloat16."""
        return self.precision == "bf16-mixed"


# Images that are located before the times count.
_WARM_UP = 3


def timing_of(seconds: Sequence[float], *, device: str) -> Timing | None:
    """Quantiles of the seconds of each image; None if there are no images after the warm-up."""
    counted = np.array(seconds[_WARM_UP:], dtype=np.float64) * 1000.0
    if not len(counted):
        return None
    return Timing(
        device=device,
        frames=len(counted),
        warm_up=_WARM_UP,
        median=empirical_quantile(counted, 0.5),
        quantile_90=empirical_quantile(counted, 0.9),
        quantile_99=empirical_quantile(counted, 0.99),
        maximum=float(counted.max()),
    )


def software_versions() -> dict[str, str]:
    """Versions of Python, of camloc and of the packages that decide the numbers."""
    versions = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


@dataclass(frozen=True)
class MapRecord:
    """The map of local features that verified the answers of a run.

    Attributes:
        points: of the map.
        frames: training images that it was built from.
        size_bytes: of its files.
        calibrated_on: held-out training images that its thresholds and covariances were learned from; 0 for
            a map that is not calibrated.
        least_inliers: of a verified pose, or None for a map that is not calibrated.
    """

    points: int
    frames: int
    size_bytes: int
    calibrated_on: int
    least_inliers: int | None


@dataclass(frozen=True)
class VerificationCounts:
    """How many answers to one test set the map verified.

    Attributes:
        verified: number of images whose pose the map confirms.
        unverified: number of images that keep the network's pose, which the map does not confirm.
        lost: number of images without a pose.
        inliers: median of the verified poses, or None where there are none.
        milliseconds: median time of each step of the verified poses, by its name.
    """

    verified: int
    unverified: int
    lost: int
    inliers: float | None
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SetResults:
    """Error statistics of one test set, and of the baselines on the same frames.

    Attributes:
        name: of the set.
        estimates: errors of the model.
        nearest_training_pose: errors of the training pose that is nearest to the truth, jointly.
        nearest_training_position: errors of the training pose whose centre is nearest to the truth.
        mean_training_pose: errors of the mean of the training poses.
        lost_reasons: number of lost frames by reason.
        decision: how often the right scene was chosen; None for a model of one scene.
        every_method: errors by the name of the refinement method, and by "none" those of the network's own
            estimates; empty where nothing refines.
        unrejected: errors of the network if no image were rejected, as papers score theirs; None where it
            rejects none, or where no network was evaluated.
        verification: how many answers the map verified; None for a run without a map.
        reliability: how honest their covariances are; None where no answer has one.
        retrieval: errors of the poses of similar training images, by the name of the baseline; empty
            without `--retrieval`.
    """

    name: str
    estimates: ErrorStatistics
    nearest_training_pose: ErrorStatistics
    nearest_training_position: ErrorStatistics
    mean_training_pose: ErrorStatistics
    lost_reasons: dict[str, int] = field(default_factory=dict)
    decision: SceneDecision | None = None
    every_method: dict[str, ErrorStatistics] = field(default_factory=dict)
    unrejected: ErrorStatistics | None = None
    verification: VerificationCounts | None = None
    reliability: Reliability | None = None
    retrieval: dict[str, ErrorStatistics] = field(default_factory=dict)

    def rows(self) -> tuple[tuple[str, ErrorStatistics], ...]:
        """The result and its baselines, each with its label in tables and figures."""
        return (
            ("Estimate", self.estimates),
            ("Nearest training pose", self.nearest_training_pose),
            ("Nearest training position", self.nearest_training_position),
            ("Mean training pose", self.mean_training_pose),
            *self.retrieval.items(),
        )


@dataclass(frozen=True)
class Results:
    """The content of `results.json`.

    Attributes:
        model: name of the network.
        recipe: name of the recipe that trained it.
        scene: name of the scene.
        unit: of positions; see `Scene`.
        outlier_filter: how a model that aligns points excluded outliers, or "".
        refined_by: the refinement method of the estimates, or "none".
        parameters: number of learned values, or None where unknown.
        runtime: name of the inference library, or "" where unknown.
        train_frames, test_frames: numbers of images.
        headline: the first test set, which is the test split itself and the headline of the result.
        sets: all named test sets in the order that they were given, the headline first.
        final_epoch: statistics of the last epoch's weights on the first set, where another epoch's
            were chosen.
        training: seed, device and budget, or None for a model trained elsewhere.
        timing: the time of an image, or None where it was not measured.
        scene_map: the map that verified the answers, or None.
        settings: the recipe's settings as plain values.
        software: versions of the packages.
        format: of this file.
    """

    model: str
    recipe: str
    scene: str
    train_frames: int
    test_frames: int
    headline: SetResults
    sets: tuple[SetResults, ...]
    unit: Unit = "m"
    outlier_filter: str = ""
    refined_by: str = "none"
    parameters: int | None = None
    runtime: str = ""
    final_epoch: ErrorStatistics | None = None
    training: TrainingRecord | None = None
    timing: Timing | None = None
    scene_map: MapRecord | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    format: int = 1

    def save(self, path: Path) -> None:
        """Write `results.json`, with its checksum.

        Raises:
            CamlocError: the file cannot be written.
        """
        write_atomically(path, sealed_json(self))

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read a file of `save`.

        Raises:
            CheckpointError: no such file, damaged, not JSON, or keys of another version.
        """
        try:
            return unsealed_json(read_regular(path), cls)
        except SealError as problem:
            raise CheckpointError(f"{path} {problem}; or run `camloc evaluate` again") from None
        except OSError as problem:
            raise CheckpointError(
                f"{path} cannot be read: {problem.strerror or problem}; run `camloc evaluate` first"
            ) from None
        except RecipeError as problem:
            raise CheckpointError(f"{path} is not a results file of this version: {problem}") from None


def results_of(
    sets: Sequence[ScoredSet], *, train_frames: int, scene_map: MapRecord | None = None, **metadata: Any
) -> Results:
    """Statistics of scored test sets of one scene, together with the metadata of the run.

    Args:
        sets: one or more; the first is the headline.
        train_frames: number of training images.
        scene_map: the map that verified the answers, or None.
        metadata: further fields of `Results`.
    """
    scored = tuple(set_results(each, has_map=scene_map is not None) for each in sets)
    return Results(
        train_frames=train_frames,
        test_frames=len(sets[0].frames),
        headline=scored[0],
        sets=scored,
        scene_map=scene_map,
        software=software_versions(),
        **metadata,
    )


def set_results(scored: ScoredSet, *, has_map: bool = False) -> SetResults:
    """The statistics of one test set and of the baselines on the same frames.

    Args:
        scored: the test set.
        has_map: whether a map had to verify the answers.
    """
    reasons = Counter(answer.reason for answer in scored.answers if isinstance(answer, Lost))
    return SetResults(
        name=scored.name,
        estimates=error_statistics(scored.errors),
        nearest_training_pose=error_statistics(scored.baselines.nearest_pose),
        nearest_training_position=error_statistics(scored.baselines.nearest_position),
        mean_training_pose=error_statistics(scored.baselines.mean_pose),
        lost_reasons={reason or NO_REASON: count for reason, count in reasons.most_common()},
        decision=scored.decision,
        every_method={name: error_statistics(errors) for name, errors in scored.every_method.items()},
        unrejected=None if scored.unrejected is None else error_statistics(scored.unrejected),
        verification=verification_counts(scored.answers) if has_map else None,
        reliability=reliability_of(scored.answers, scored.truth) if has_map else None,
    )


def verification_counts(answers: Sequence[Estimate]) -> VerificationCounts:
    """How many of some answers the map verified, with their inliers and times."""
    located = [answer for answer in answers if isinstance(answer, Located)]
    found = [answer.verification for answer in located if answer.verification is not None]
    steps = dict.fromkeys(step for each in found for step in each.seconds)
    return VerificationCounts(
        verified=len(found),
        unverified=len(located) - len(found),
        lost=len(answers) - len(located),
        inliers=median([each.inliers for each in found]) if found else None,
        milliseconds={step: 1000 * median([each.seconds.get(step, 0.0) for each in found]) for step in steps},
    )
