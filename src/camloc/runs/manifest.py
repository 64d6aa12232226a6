"""Where a run is and what it was made from: `run.json`."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camloc.core.config import from_json, to_builtins, to_json
from camloc.core.files import write_atomically
from camloc.data import formats as datasets
from camloc.data.types import Scene, oriented
from camloc.errors import CheckpointError, DatasetError, RecipeError
from camloc.training.recipe import Recipe

MANIFEST_FILE = "run.json"
LAST = "last"
STATE = "state.safetensors"
LOG = "log.jsonl"


@dataclass(frozen=True)
class DataSource:
    """Which frames a run learns from.

    Attributes:
        root: of the data set.
        layout: name of the reader, or "auto".
        scene: which of the data set's scenes, or "" where there is one.
        options: keyword arguments of the reader.
    """

    root: str
    layout: str = "auto"
    scene: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Scene:
        """The frames.

        Raises:
            DatasetError: the folder is not of the layout, or holds something that cannot be used.
        """
        return datasets.load(Path(self.root), layout=self.layout, scene=self.scene or None, **self.options)


@dataclass(frozen=True)
class Extension:
    """That a run goes on from another, with a scene more.

    Attributes:
        run: folder of the other run.
        fraction: how much of the new scene's training frames is learned from, evenly spaced.
    """

    run: str
    fraction: float = 1.0


def load_scenes(sources: tuple[DataSource, ...]) -> tuple[Scene, ...]:
    """The scenes that a run learns from, each with a name of its own.

    Raises:
        DatasetError: a scene has no frames that could be learned from, or two have one name.
    """
    scenes = tuple(source.load() for source in sources)
    for scene, source in zip(scenes, sources, strict=True):
        if not scene.train:
            raise DatasetError(f"{source.root} has no training frames; name a split that has some")
        if not oriented(scene.train):
            raise DatasetError(
                f"{source.root} has no training frame with an orientation; give some of them quaternions, "
                f"for positions alone tell of no direction"
            )
    for name, count in Counter(scene.name for scene in scenes).items():
        if count > 1:
            raise DatasetError(f"{count} scenes are called {name!r}; give each a name with --scene, in order")
    return scenes


@dataclass(frozen=True)
class RunManifest:
    """Everything that decides how a run ends.

    Attributes:
        recipe: its name.
        settings: what the recipe returned, as plain values.
        data: where the frames of each scene are.
        scenes: names of the scenes.
        seed: of all randomness.
        backbone_weights: what the backbone starts from: "none", "hub" or a file.
        budget_seconds: wall-clock time that the schedule was scaled to, or 0.
        device: what it trains on, such as "cpu" or "2 x cuda".
        precision: of its arithmetic, such as "32-true" or "bf16-mixed".
        extension: what the run goes on from, or None for a run of its own.
        schedule_share: what the recipe's epochs were multiplied by to fit the budget.
        feature_seconds: that computing features took, before training or for an earlier run with the same
            ones; 0 where there are none.
        budget_covers_features: whether these seconds were taken off the budget, or came on top of it as in
            runs of earlier versions.
    """

    recipe: str
    settings: dict[str, Any]
    data: tuple[DataSource, ...]
    scenes: tuple[str, ...]
    seed: int
    backbone_weights: str
    budget_seconds: float
    device: str = ""
    precision: str = "32-true"
    extension: Extension | None = None
    schedule_share: float = 1.0
    feature_seconds: float = 0.0
    budget_covers_features: bool = False

    def save(self, folder: Path) -> None:
        """Write `run.json`."""
        write_atomically(folder / MANIFEST_FILE, to_json(self))

    @classmethod
    def load(cls, folder: Path) -> "RunManifest":
        """Read the `run.json` of a run folder.

        Raises:
            CheckpointError: it is missing or of another version.
        """
        path = folder / MANIFEST_FILE
        if not path.exists():
            raise CheckpointError(
                f"{folder} is not a run: {MANIFEST_FILE} is missing; train one with `camloc train`"
            )
        try:
            return from_json(path.read_bytes(), cls)
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{path} cannot be read: {problem}") from None


def training_record(
    recipe: Recipe,
    *,
    name: str,
    data: tuple[DataSource, ...],
    scenes: tuple[Scene, ...],
    seed: int,
    weights: str,
    budget: float,
    device: str,
) -> RunManifest:
    """The metadata of a run that is about to start."""
    return RunManifest(
        recipe=name,
        settings=to_builtins(recipe),
        data=data,
        scenes=tuple(scene.name for scene in scenes),
        seed=seed,
        backbone_weights=weights,
        budget_seconds=budget,
        device=device,
    )
