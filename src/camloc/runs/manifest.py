"""The manifest of a run (`run.json`): its data, its settings, and the names of the files of a run folder."""

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from camloc.core.files import read_regular, write_atomically
from camloc.core.sealed import SealError, sealed_json, unsealed_json
from camloc.data import formats as datasets
from camloc.data.types import Scene, oriented
from camloc.errors import CheckpointError, DatasetError, RecipeError

MANIFEST_FILE = "run.json"
LAST = "last"
STATE = "state.safetensors"
LOG = "log.jsonl"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataSource:
    """The data of one scene of a run.

    Attributes:
        root: folder or file of the data set.
        layout: name of the reader, or "auto".
        scene: one of the data set's scenes, or "" where it has only one.
        options: keyword arguments of the reader.
    """

    root: str
    layout: str = "auto"
    scene: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Scene:
        """Read the frames. Assumptions and frames that were left out are reported once, as a warning.

        Raises:
            DatasetError: the data set is not of the layout, or has content that cannot be used.
        """
        for name in ("root", "layout", "scene"):
            if name in self.options:
                raise DatasetError(
                    f"{self.root}: '{name}' is not an option of a reader; correct {MANIFEST_FILE}"
                )
        scene = datasets.load(Path(self.root), layout=self.layout, scene=self.scene or None, **self.options)
        for note in scene.notes:
            _say(f"{scene.name}: {note}")
        return scene


@cache
def _say(note: str) -> None:
    """Warn once, though training and evaluation read the same data."""
    _LOG.warning("camloc: %s", note)


@dataclass(frozen=True)
class Extension:
    """Start of a run from the weights of another run with one scene less.

    Attributes:
        run: folder of the other run.
        fraction: share of the new scene's training frames that are used, evenly spaced.
    """

    run: str
    fraction: float = 1.0


def load_scenes(sources: tuple[DataSource, ...]) -> tuple[Scene, ...]:
    """Read the scenes of a run.

    Raises:
        DatasetError: a scene has no training frame with an orientation, or two scenes have the same name.
    """
    scenes = tuple(source.load() for source in sources)
    for scene, source in zip(scenes, sources, strict=True):
        if not scene.train:
            raise DatasetError(f"{source.root} has no training frames; name a split that has some")
        if not oriented(scene.train):
            raise DatasetError(
                f"{source.root} has no training frame with an orientation; give some frames quaternions, "
                f"since orientations cannot be learned from positions alone"
            )
    for name, count in Counter(scene.name for scene in scenes).items():
        if count > 1:
            raise DatasetError(f"{count} scenes are called {name!r}; give each a name with --scene, in order")
    return scenes


def budget_words(seconds: float) -> str:
    """A budget as text: "20 minutes", "10 seconds"."""
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"


@dataclass(frozen=True)
class RunManifest:
    """Everything that decides the result of a run.

    Attributes:
        recipe: name of the recipe, or "" for a run that holds maps alone.
        settings: the recipe as plain values.
        data: of each scene.
        scenes: names of the scenes.
        seed: of all randomness.
        backbone_weights: source of the backbone's initial weights: "none", "hub" or a file.
        budget_seconds: wall-clock time that the schedule was scaled to, or 0 for none.
        device: such as "cpu" or "2 x cuda".
        precision: of the arithmetic, such as "32-true" or "bf16-mixed".
        extension: the run whose weights it starts from, or None.
        schedule_share: factor of the recipe's epochs that fits the budget.
        feature_seconds: time that the cached features took, in this run or an earlier one; 0 for none.
        budget_covers_features: whether these seconds are part of the budget, or came on top of it as in runs
            of earlier versions.
    """

    recipe: str
    settings: dict[str, Any]
    data: tuple[DataSource, ...]
    scenes: tuple[str, ...]
    seed: int = 0
    backbone_weights: str = "none"
    budget_seconds: float = 0.0
    device: str = ""
    precision: str = "32-true"
    extension: Extension | None = None
    schedule_share: float = 1.0
    feature_seconds: float = 0.0
    budget_covers_features: bool = False

    def save(self, folder: Path) -> None:
        """Write `run.json`, with its checksum."""
        write_atomically(folder / MANIFEST_FILE, sealed_json(self))

    @classmethod
    def load(cls, folder: Path) -> "RunManifest":
        """Read the `run.json` of a run folder.

        Raises:
            CheckpointError: the file is missing, damaged or of another version.
        """
        path = folder / MANIFEST_FILE
        if not path.exists():
            raise CheckpointError(
                f"{folder} is not a run: {MANIFEST_FILE} is missing; make one with `camloc train` "
                f"or `camloc map`"
            )
        try:
            manifest = unsealed_json(read_regular(path), cls)
        except SealError as problem:
            raise CheckpointError(f"{path} {problem}") from None
        except (OSError, RecipeError) as problem:
            raise CheckpointError(f"{path} cannot be read: {problem}") from None
        # Runs of earlier versions also recorded the paper's numbers for their recipe.
        settings = {name: value for name, value in manifest.settings.items() if name != "published"}
        return replace(manifest, settings=settings)
