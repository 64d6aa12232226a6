"""`results.json`: what a run reached, beside its baselines, and everything needed to reach it again.

JSON has no infinity: an infinite error is `null` (see `metrics`). Unknown keys fail on reading.
"""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from camloc.core.config import from_json, to_json
from camloc.core.files import write_atomically
from camloc.data.types import Lost, Unit
from camloc.errors import CheckpointError, DatasetError, RecipeError
from camloc.evaluation.baselines import baseline_errors
from camloc.evaluation.errors import (
    NO_REASON,
    ErrorStatistics,
    EvaluatedSet,
    SceneDecision,
    empirical_quantile,
    error_statistics,
)
from camloc.geometry.pose import Pose, PoseError

_PACKAGES = ("camloc", "torch", "torchvision", "timm", "numpy", "pillow")


@dataclass(frozen=True)
class Timing:
    """How long one image takes from pixels to pose, in milliseconds, after warming up.

    Attributes:
        device: what it was measured on.
        frames: how many were timed.
        warm_up: how many came before and are not counted.
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
    """What training was given and what it used.

    Attributes:
        seed: of every random choice.
        device: what it ran on.
        precision: of its arithmetic, in the words of Lightning Fabric.
        budget: what was allowed, in words: "20 minutes", "200 epochs".
        schedule_share: what the recipe's epochs were multiplied by to fit the budget; 1 where none was given.
        epochs, updates: passes over the training frames, and steps of the optimiser.
        seconds: wall time of the epochs.
        feature_seconds: wall time of computing the features that training started from, or 0.
        budget_covers_features: whether that time was taken off the budget, or came on top of it.
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
        """Whether products were of bfloat16."""
        return self.precision == "bf16-mixed"


def timing_of(seconds: Sequence[float], *, device: str, warm_up: int = 3) -> Timing | None:
    """Percentiles of the seconds that images took, or None when only warming up was measured."""
    counted = torch.tensor(seconds[warm_up:], dtype=torch.float64) * 1000.0
    if not len(counted):
        return None
    return Timing(
        device=device,
        frames=len(counted),
        warm_up=warm_up,
        median=empirical_quantile(counted, 0.5),
        quantile_90=empirical_quantile(counted, 0.9),
        quantile_99=empirical_quantile(counted, 0.99),
        maximum=counted.max().item(),
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


RESULTS_NAME = "results.json"


@dataclass(frozen=True)
class SetResults:
    """One test set: the estimates, and the baselines on the same frames.

    Attributes:
        name: of the set.
        estimates: of the model.
        nearest_training_pose: of copying the training pose that is nearest to the truth, jointly.
        nearest_training_position: of copying the one whose centre is nearest to the truth.
        mean_training_pose: of always answering the mean of the training poses.
        lost_reasons: how many frames were lost for which reason.
        decision: how often the right scene was named, of models of several scenes; None of others.
        every_method: of the estimates as each refiner leaves them, by its name, and by "none" of the network
            own; empty where nothing refines.
    """

    name: str
    estimates: ErrorStatistics
    nearest_training_pose: ErrorStatistics
    nearest_training_position: ErrorStatistics
    mean_training_pose: ErrorStatistics
    lost_reasons: dict[str, int] = field(default_factory=dict)
    decision: SceneDecision | None = None
    every_method: dict[str, ErrorStatistics] = field(default_factory=dict)

    def rows(self) -> tuple[tuple[str, ErrorStatistics], ...]:
        """The result and its baselines, each with the label that tables and figures give it."""
        return (
            ("Estimate", self.estimates),
            ("Nearest training pose", self.nearest_training_pose),
            ("Nearest training position", self.nearest_training_position),
            ("Mean training pose", self.mean_training_pose),
        )


@dataclass(frozen=True)
class Results:
    """Everything that a run reports about itself.

    Attributes:
        model: name of the network.
        recipe: name of the recipe, that is of the settings it was trained with.
        scene: name of the scene.
        unit: of positions; see `Scene`.
        outlier_filter: how a model that aligns points left wrong ones out, or "".
        refined_by: what refined the positions of the estimates, or "none".
        parameters: number of learned values, or None where unknown.
        runtime: what the network ran in, in words, or "" where that is not known.
        train_frames, test_frames: how many images there were of each.
        headline: the first test set, which is the test split itself; the result is judged by it.
        sets: all named test sets in the order that they were given, the headline first.
        final_epoch: statistics of the last epoch's weights on the first set, where another epoch's
            were chosen.
        training: seed, device and budget, or None for a model trained elsewhere.
        timing: how long an image takes, or None where it was not measured.
        settings: the recipe's settings as plain values.
        software: versions of what it ran on.
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
    settings: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    format: int = 1

    def save(self, path: Path) -> None:
        """Write `results.json`.

        Raises:
            CamlocError: the file cannot be written.
        """
        write_atomically(path, to_json(self))

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` wrote.

        Raises:
            CheckpointError: no such file, not JSON, or keys of another version.
        """
        try:
            return from_json(path.read_bytes(), cls)
        except OSError as problem:
            raise CheckpointError(
                f"{path} cannot be read: {problem.strerror}; evaluate the run first"
            ) from None
        except RecipeError as problem:
            raise CheckpointError(f"{path} is not a results file of this version: {problem}") from None


def results_of(
    sets: Sequence[EvaluatedSet],
    training_poses: Pose,
    *,
    model: str,
    recipe: str,
    scene: str,
    unit: Unit = "m",
    outlier_filter: str = "",
    refined_by: str = "none",
    parameters: int | None = None,
    runtime: str = "",
    final_epoch: ErrorStatistics | None = None,
    training: TrainingRecord | None = None,
    timing: Timing | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Results:
    """Score test sets and their baselines, and put them together with the metadata of the run.

    Args:
        sets: one or more test sets of one scene.
        training_poses: (m,) poses of the training frames, for the baselines.

    The other arguments are the fields of `Results`.

    Raises:
        DatasetError: there are no test frames or no training poses.
        CheckpointError: an estimated pose is not finite.
    """
    filled = [evaluated for evaluated in sets if evaluated.frames]
    if not filled:
        raise DatasetError(f"{scene} has no test frames; name a split or a test set that has some")
    scored = tuple(set_results(evaluated, training_poses) for evaluated in filled)
    return Results(
        model=model,
        recipe=recipe,
        scene=scene,
        unit=unit,
        outlier_filter=outlier_filter,
        refined_by=refined_by,
        parameters=parameters,
        runtime=runtime,
        train_frames=len(training_poses),
        test_frames=len(filled[0].frames),
        headline=scored[0],
        sets=scored,
        final_epoch=final_epoch,
        training=training,
        timing=timing,
        settings=dict(settings or {}),
        software=software_versions(),
    )


def headline_of(sets: Sequence[EvaluatedSet]) -> EvaluatedSet:
    """The test set that a result is judged by: the first that has frames.

    Raises:
        DatasetError: none has.
    """
    for evaluated in sets:
        if evaluated.frames:
            return evaluated
    raise DatasetError("there are no test frames; name a split or a test set that has some")


def set_results(evaluated: EvaluatedSet, training_poses: Pose) -> SetResults:
    """The statistics of one test set and of the baselines on the same frames."""
    errors: PoseError = evaluated.errors()
    baselines = baseline_errors(evaluated.truth(), training_poses)
    reasons = Counter(answer.reason for answer in evaluated.answers() if isinstance(answer, Lost))
    return SetResults(
        name=evaluated.name,
        estimates=error_statistics(errors),
        nearest_training_pose=error_statistics(baselines.nearest_pose),
        nearest_training_position=error_statistics(baselines.nearest_position),
        mean_training_pose=error_statistics(baselines.mean_pose),
        lost_reasons={reason or NO_REASON: count for reason, count in reasons.most_common()},
        decision=evaluated.decision(),
        every_method={
            way: error_statistics(evaluated.refined(way).errors()) for way in evaluated.every_method
        },
    )
