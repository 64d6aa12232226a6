"""Results of a model of several scenes: the scenes side by side, and their means."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from camloc.core.files import read_regular
from camloc.core.sealed import SealError, unsealed_json
from camloc.data.types import Unit
from camloc.errors import CheckpointError, RecipeError
from camloc.evaluation.errors import SceneDecision, all_decisions, mean_of_all
from camloc.evaluation.report.wording import angle, distance, medians, percent
from camloc.evaluation.results import Results, SetResults, TrainingRecord


@dataclass(frozen=True)
class OneScene:
    """One scene in the results of all.

    Attributes:
        name: of the scene.
        unit: of its positions.
        headline: its first test set; all of them are in `scenes/<name>/results.json`.
    """

    name: str
    unit: Unit
    headline: SetResults

    def cells(self) -> tuple[str, ...]:
        """The scene's cells under `ScenesResults.HEADINGS`."""
        part, estimates = self.headline, self.headline.estimates
        most = f"{distance(estimates.meters.quantile_90, self.unit)} {angle(estimates.degrees.quantile_90)}"
        right = percent(part.decision.share) if part.decision else ""
        nearest = medians(part.nearest_training_pose, self.unit, " ")
        return medians(estimates, self.unit, " "), most, nearest, right, f"{estimates.lost:,}"


@dataclass(frozen=True)
class ScenesResults:
    """Results of one model in several scenes.

    Attributes:
        model, recipe: names of the network and of its settings.
        scenes: each scene's first test set.
        meters, degrees: means over the scenes of the medians, as papers average; None where one is
            infinite, and metres also where a scene is not metric.
        decision: how often the right scene was chosen, over all of them.
        parameters: number of learned values.
        training: seed, device and budget.
        settings: the recipe's settings as plain values.
        software: versions of the packages.
        format: of this file.
    """

    HEADINGS: ClassVar = ("median", "90 %", "nearest training pose", "right scene", "lost")

    model: str
    recipe: str
    scenes: tuple[OneScene, ...]
    meters: float | None
    degrees: float | None
    decision: SceneDecision
    parameters: int | None = None
    training: TrainingRecord | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    format: int = 1

    def mean_cells(self) -> tuple[str, ...]:
        """The cells of the mean under `HEADINGS`."""
        lost = sum(scene.headline.estimates.lost for scene in self.scenes)
        position = "" if self.meters is None else f"{distance(self.meters, 'm')} "
        return f"{position}{angle(self.degrees)}", "", "", percent(self.decision.share), f"{lost:,}"

    @classmethod
    def load(cls, path: Path) -> "ScenesResults":
        """Read the `results.json` of a run of several scenes.

        Raises:
            CheckpointError: no such file, not JSON, or keys of another version.
        """
        try:
            return unsealed_json(read_regular(path), cls)
        except SealError as problem:
            raise CheckpointError(f"{path} {problem}; or run `camloc evaluate` again") from None
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{path} is not a results file of several scenes: {problem}") from None


def scenes_results(results: Sequence[Results]) -> ScenesResults:
    """The results of several scenes, from those of each."""
    first = results[0]
    scenes = tuple(OneScene(each.scene, each.unit, each.headline) for each in results)
    decisions = [each.headline.decision for each in results if each.headline.decision is not None]
    estimates = [each.headline.estimates for each in results]
    is_metric = all(each.unit == "m" for each in results)
    return ScenesResults(
        model=first.model,
        recipe=first.recipe,
        scenes=scenes,
        meters=mean_of_all([each.meters.median for each in estimates]) if is_metric else None,
        degrees=mean_of_all([each.degrees.median for each in estimates]),
        decision=all_decisions(decisions),
        parameters=first.parameters,
        training=first.training,
        settings=first.settings,
        software=first.software,
    )
