"""A recipe: everything that makes one row of a table. A function that returns one is its file."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from camloc.core.augment import Augment
from camloc.core.images import Preprocess
from camloc.errors import RecipeError
from camloc.training.held_out import HoldOut
from camloc.training.plan import Plan
from camloc.training.stages import Stage
from camloc.training.windows import Window


@dataclass(frozen=True)
class Published:
    """A number that the settings reached in a paper.

    Attributes:
        scene: of the data set, or "mean" of all its scenes.
        meters, degrees: median errors; None for positions of which the paper says nothing.
        source: paper, table and row.
    """

    scene: str
    meters: float | None
    degrees: float
    source: str

    @classmethod
    def of_scenes(
        cls, scenes: Sequence[str], errors: Sequence[tuple[float, float]], source: str
    ) -> "tuple[Published, ...]":
        """A row of a table: the (meters, degrees) of scenes in their order."""
        return tuple(
            cls(scene, meters, degrees, source)
            for scene, (meters, degrees) in zip(scenes, errors, strict=True)
        )


@dataclass(frozen=True)
class Recipe:
    """Settings of one row of a table.

    Attributes:
        model: name of the model.
        config: its settings.
        preprocess: how a picture becomes its input.
        stages: phases of training.
        augment: random changes of training pictures.
        cached_variants: variants of every picture that pass once, before training, through what stands still
            at the beginning of the backbone; 0 passes every picture through the whole network in every step.
        batch_size: pictures to a step.
        window: which frames are learned together. An epoch has one window around every frame.
        balanced: whether every place has an equal part in an epoch, however many pictures it has.
        hold_out: which training frames of each place choose the weights.
        keep_orientation_every: of the frames that are learned from, only one of so many keeps its
            orientation, and the others are positions alone; 0 leaves all as they are.
        validate_every: epochs between validations.
        layout: of the data set that the row is about; "auto" for any.
        published: what the same settings reached in the paper.
    """

    model: str
    config: Any
    preprocess: Preprocess
    stages: tuple[Stage, ...]
    augment: Augment = field(default_factory=Augment)
    cached_variants: int = 0
    batch_size: int = 32
    window: Window = Window()
    balanced: bool = False
    hold_out: HoldOut = field(default_factory=HoldOut)
    keep_orientation_every: int = 0
    validate_every: int = 1
    layout: str = "auto"
    published: tuple[Published, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def plan(self, seed: int) -> Plan:
        """What the training loop is asked to do."""
        return Plan(
            stages=self.stages,
            width=self.preprocess.width,
            height=self.preprocess.height,
            augment=self.augment,
            batch_size=self.batch_size,
            window=self.window,
            seed=seed,
            validate_every=self.validate_every,
            balanced=self.balanced,
        )

    def of_places(self, count: int) -> "Recipe":
        """The same recipe for so many places: models of several have a setting `scenes`.

        Raises:
            RecipeError: the model learns one place only.
        """
        if hasattr(self.config, "scenes"):
            return replace(self, config=replace(self.config, scenes=count))
        if count > 1:
            raise RecipeError(
                f"{self.model} learns one place, not {count}; take a recipe of a model for several places, "
                f"such as room/ms-transformer"
            )
        return self

    def cached(self, variants: int, *, holds: tuple[str, ...] = ()) -> "Recipe":
        """The same recipe from so many cached variants of every picture.

        `holds` are patterns of what stands still beside what the stages hold already: the more of the
        backbone's beginning does, the shorter are a step and, behind its strides, the cache.
        """
        stages = tuple(replace(stage, holds=(*stage.holds, *holds)) for stage in self.stages)
        return replace(self, cached_variants=variants, stages=stages)

    def scaled(self, share: float) -> "Recipe":
        """The same recipe with every stage stretched or shrunk by `share`, to one epoch at least."""
        stages = tuple(
            replace(
                stage,
                epochs=max(1, round(stage.epochs * share)),
                step_epochs=max(1, round(stage.step_epochs * share)),
            )
            for stage in self.stages
        )
        return replace(self, stages=stages)


RecipeFunction = Callable[[], Recipe]
Kind = TypeVar("Kind")


def recipe_functions() -> dict[str, RecipeFunction]:
    """All recipes by name: `<file or folder>/<function>`, in the order of the files."""
    return functions_that_return(Recipe)


def functions_that_return(kind: type[Kind]) -> dict[str, Callable[[], Kind]]:
    """The functions of all recipe files that ask nothing and whose answer is of a kind, by name."""
    package = importlib.import_module("camloc.recipes")
    found: dict[str, Callable[[], Kind]] = {}
    for entry in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"camloc.recipes.{entry.name}")
        for name, function in vars(module).items():
            is_public = inspect.isfunction(function) and not name.startswith("_")
            if not is_public or _file_of(function) != module.__name__:
                continue
            if function.__annotations__ == {"return": kind}:
                found[f"{entry.name}/{name.replace('_', '-')}"] = function
    return found


def find_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        RecipeError: there is none of that name.
    """
    return found_among(recipe_functions(), name)


def found_among(functions: dict[str, Callable[[], Kind]], name: str) -> Kind:
    """What the function of a name returns.

    Raises:
        RecipeError: there is none of that name.
    """
    if name not in functions:
        near = get_close_matches(name, functions, n=4, cutoff=0.3) or list(functions)[:4]
        raise RecipeError(f"there is no recipe '{name}'; did you mean {' or '.join(near)}?")
    return functions[name]()


def summary(function: Callable[[], Any]) -> str:
    """The first sentence of a recipe's docstring."""
    return (inspect.getdoc(function) or "").split("\n")[0]


def file_summary(function: Callable[[], Any]) -> str:
    """The first line of the docstring of the file, or of the folder, that a recipe stands in."""
    return (inspect.getdoc(importlib.import_module(_file_of(function))) or "").split("\n")[0]


def _file_of(function: Callable[[], Any]) -> str:
    """The module in `camloc.recipes` that a function stands in, or the package that has its module."""
    return ".".join(function.__module__.split(".")[:3])
