"""The trainings and the tables of the ablations of the geometry paper.

Every row is a recipe of camloc with some settings exchanged and a fixed number of epochs, so that it does not
depend on the machine. Nothing is held out and nothing is chosen: the last epoch's weights are tested.
"""

from dataclasses import dataclass, replace
from typing import Literal

from camloc.data.image_io import Preprocess
from camloc.data.splits import HoldOut
from camloc.models.layers.backbone import MOBILENETV2_TENSORFLOW
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.recipes import demo, implicit_geometry_2023, position_only, room
from camloc.training.recipe import Recipe

SceneName = Literal["redkitchen", "demo"]
SCENES: tuple[SceneName, ...] = ("redkitchen", "demo")

# How poses are found from points. "none, masked" is `none` without the cells that show people and cars, by
# the renderer's own masks. A regressor has no points.
PoseMethod = Literal["weights", "none", "none, masked", "rigid-ransac", "pnp-ransac", "regressed"]
FILTERS: tuple[PoseMethod, ...] = ("weights", "none", "rigid-ransac", "pnp-ransac")


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        key: its name in the file of numbers.
        recipe: of the training.
        methods: the ways to find poses with its weights.
        starts_pretrained: whether the backbone starts from ImageNet weights.
    """

    key: str
    recipe: Recipe
    methods: tuple[PoseMethod, ...] = ("weights",)
    starts_pretrained: bool = True


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        label: its name.
        key: of the row that was trained.
        method: the way to find poses.
        published: the paper's median errors, as its table has them.
    """

    label: str
    key: str
    method: PoseMethod = "weights"
    published: str = ""


@dataclass(frozen=True)
class Table:
    """A table, with the data of the paper's numbers in it."""

    title: str
    source: str
    lines: tuple[Line, ...]


def rows_of(scene: SceneName, *, epochs: int, scratch_epochs: int, variants: int = 0) -> tuple[Row, ...]:
    """All trainings on a scene, the longest first.

    Args:
        scene: Red Kitchen, where a pretrained MobileNetV2 is frozen and heads are trained, and backbones are
            compared end to end; or the embedded scene, where all weights are trained from scratch.
        epochs: of rows that learn from all frames with their poses. Rows that learn from a third of them have
            three times as many, which are as many steps.
        scratch_epochs: of the comparison of backbones.
        variants: of every image, which pass once through the frozen layers of a backbone; 0 for images that
            are augmented anew at every step.
    """
    base = _fixed(room.scene_geometry() if scene == "redkitchen" else demo.scene_geometry(), epochs)
    config: SceneGeometryConfig = base.config
    fewer = {
        "pose": replace(config.losses, consistency=0.0, reprojection=0.0),
        "pose and reprojection": replace(config.losses, consistency=0.0),
        "pose and consistency": replace(config.losses, reprojection=0.0),
    }
    is_pretrained = scene == "redkitchen"
    masked: tuple[PoseMethod, ...] = () if scene == "redkitchen" else ("none, masked",)
    rows = [
        *(_backbones(scratch_epochs) if scene == "redkitchen" else ()),
        Row("grid 4", _changed(base, stride=4, taps=(1, *config.taps)), starts_pretrained=is_pretrained),
        Row("grid 8", _changed(base, stride=8), starts_pretrained=is_pretrained),
        *_partial_labels(scene, epochs),
        Row("base", base, (*FILTERS, *masked), is_pretrained),
        *(
            Row(f"losses {name}", _changed(base, losses=each), ("weights",), is_pretrained)
            for name, each in fewer.items()
        ),
        Row("direct points", _changed(base, camera_points="direct"), starts_pretrained=is_pretrained),
        Row("alike", _changed(base, weights="alike"), ("none", "rigid-ransac", "pnp-ransac"), is_pretrained),
    ]
    return tuple(replace(row, recipe=_cached(row.recipe, variants)) for row in rows)


def tables_of(scene: SceneName) -> tuple[Table, ...]:
    """The tables of a scene, in the paper's order."""
    second = [
        Line("pose loss", "losses pose", published="0.138 m, 3.88°"),
        Line("and reprojection", "losses pose and reprojection", published="0.119 m, 3.49°"),
        Line("and consistency", "losses pose and consistency", published="0.118 m, 3.49°"),
        Line("all three", "base", published="0.116 m, 3.44°"),
        Line("grid of 1/4", "grid 4", published="0.115 m, 3.13°"),
        Line("grid of 1/8", "grid 8", published="0.116 m, 3.44°"),
        Line("grid of 1/16", "base", published="0.134 m, 4.15°"),
        Line("points in camera axes", "direct points", published="0.131 m, 4.03°"),
        Line("depths", "base", published="0.116 m, 3.44°"),
    ]
    third = [
        Line("rigid, no filtering", "base", "none"),
        Line("rigid, people and cars masked", "base", "none, masked"),
        Line("PnP and RANSAC", "base", "pnp-ransac"),
        Line("rigid and RANSAC", "base", "rigid-ransac"),
        Line("rigid, learned weights", "base", "weights"),
        Line("trained without weights: rigid", "alike", "none"),
        Line("trained without weights: PnP and RANSAC", "alike", "pnp-ransac"),
        Line("trained without weights: rigid and RANSAC", "alike", "rigid-ransac"),
    ]
    fourth = [
        Line("scene geometry, all poses", "base", published="0.10 m, 2.51°"),
        Line("scene geometry, poses of a third", "third", published="0.12 m, 2.81°"),
        Line("scene geometry, and positions of the rest", "positions", published="0.11 m, 2.63°"),
        Line("regressor, all poses", "regressor", "regressed", "0.23 m, 4.93°"),
        Line("regressor, poses of a third", "regressor third", "regressed", "0.27 m, 5.76°"),
        Line("regressor, and positions of the rest", "regressor positions", "regressed", "0.26 m, 32.00°"),
    ]
    backbones = [
        Line("HRNetV2 (`hrnet_w18`)", "backbone hrnet", published="0.131 m, 3.78°"),
        Line("ResNet34 (`resnet34`)", "backbone resnet34", published="0.124 m, 3.50°"),
        Line("DenseNet121 (`densenet121`)", "backbone densenet121", published="0.121 m, 3.52°"),
        Line("MobileNetV3 (`mobilenetv3_large_100`)", "backbone mobilenetv3", published="0.116 m, 3.44°"),
        Line("MobileNetV2 (`mobilenetv2_100`), from ImageNet weights", "backbone mobilenetv2 pretrained"),
    ]
    tables = [
        Table("Losses, grid, depths (Table II)", "mean of 7Scenes", tuple(second)),
        Table("Backbones (Table II)", "mean of 7Scenes", tuple(backbones)),
        Table("Leaving wrong points out (Table III)", "", tuple(third)),
        Table("Positions alone (Table IV)", "Red Kitchen, its official split", tuple(fourth)),
    ]
    return tuple(table for table in tables if scene == "redkitchen" or "Backbones" not in table.title)


def _fixed(recipe: Recipe, *epochs: int) -> Recipe:
    """The recipe with a number of epochs in each stage, nothing held out, and no cached features."""
    stages = tuple(replace(stage, epochs=count) for stage, count in zip(recipe.stages, epochs, strict=True))
    return replace(recipe, stages=stages, hold_out=HoldOut(every=0), cached_variants=0)


def _cached(recipe: Recipe, variants: int) -> Recipe:
    """The recipe on cached features, if the beginning of its backbone is frozen."""
    return recipe.cached(variants) if all(stage.frozen for stage in recipe.stages) else recipe


def _changed(recipe: Recipe, **settings: object) -> Recipe:
    """The recipe with settings of its model exchanged."""
    return replace(recipe, config=replace(recipe.config, **settings))


def _backbones(epochs: int) -> tuple[Row, ...]:
    """The backbones of Table II end to end, all with the published heads and the same schedule."""
    published = {
        "hrnet": implicit_geometry_2023.sevenscenes_hrnet(),
        "densenet121": implicit_geometry_2023.sevenscenes_densenet121(),
        "resnet34": implicit_geometry_2023.sevenscenes_resnet34(),
        "mobilenetv3": implicit_geometry_2023.sevenscenes(),
    }
    rows = [
        Row(f"backbone {name}", _small_end_to_end(recipe, epochs), starts_pretrained=False)
        for name, recipe in published.items()
    ]
    known = _changed(published["mobilenetv3"], backbone=MOBILENETV2_TENSORFLOW, taps=(2, 3, 4))
    return (*rows, Row("backbone mobilenetv2 pretrained", _small_end_to_end(known, epochs)))


def _small_end_to_end(recipe: Recipe, epochs: int) -> Recipe:
    """A published recipe at 320 x 224, with `room`'s batches and schedule and no frozen layer.

    HRNet wants sides that 32 divides.
    """
    like = room.scene_geometry()
    (stage,) = like.stages
    small = replace(
        recipe,
        preprocess=Preprocess(320, 224, undistort=True),
        stages=(replace(stage, learning_rate=1e-3, frozen=()),),
        augment=like.augment,
        batch_size=like.batch_size,
    )
    return _fixed(small, epochs)


def _partial_labels(scene: SceneName, epochs: int) -> tuple[Row, ...]:
    """Table IV: a third of the poses, then the positions of the others, by points and by regression."""
    geometry, regressor, whole = (
        (position_only.scene_geometry(), position_only.posenet(), room.baseline())
        if scene == "redkitchen"
        else (position_only.demo_scene_geometry(), position_only.demo_posenet(), demo.baseline())
    )
    fine_tuning = max(1, round(epochs / 3))
    is_pretrained = scene == "redkitchen"
    methods: dict[str, tuple[Recipe, tuple[PoseMethod, ...]]] = {
        "": (geometry, ("weights",)),
        "regressor ": (regressor, ("regressed",)),
    }
    rows = []
    for prefix, (recipe, found_by) in methods.items():
        tuned = _fixed(recipe, 3 * epochs, fine_tuning)
        rows += [
            Row(f"{prefix}positions", tuned, found_by, is_pretrained),
            Row(f"{prefix}third", replace(tuned, stages=tuned.stages[:1]), found_by, is_pretrained),
        ]
    return (*rows, Row("regressor", _fixed(whole, epochs), ("regressed",), is_pretrained))
