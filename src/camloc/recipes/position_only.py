"""Learning from a third of the orientations: the other frames are positions alone, as from GPS.

After "Implicit Learning of Scene Geometry" (RA-L 2023), section IV-F: one training frame of three keeps its
orientation, and a first stage trains on these; a second stage fine-tunes on the other two thirds with the
position loss. The orientation of scene geometry comes from aligned points and improves with their positions;
a regressor's orientation head is not adapted when the features in front of it change. For another share use
`replace(recipe, keep_orientation_every=n)`; frames of a table that already lack quaternions need 0.
"""

from dataclasses import replace

from camloc.models.hyperpose import HyperPoseConfig
from camloc.recipes import demo, room
from camloc.training.recipe import Recipe

# Epochs of fine-tuning in Table IV, whose text gives 10 to 15.
_TABLE_IV_EPOCHS = 12

# Share of the epochs of the fine-tuning stage elsewhere, and its learning rate relative to the first stage,
# which the paper does not give.
_FINE_TUNING = 1 / 3
_SLOWER = 0.1


def scene_geometry() -> Recipe:
    """Scene geometry fine-tuned by positions alone: as in Table IV, "Ours, finetuned with L_position"."""
    return _fine_tuned(room.scene_geometry())


def posenet() -> Recipe:
    """A regressor (Baseline APR) fine-tuned by positions alone: for comparison, as MapNet in Table IV."""
    return _fine_tuned(room.baseline())


def demo_scene_geometry() -> Recipe:
    """Scene geometry on the embedded scene, fine-tuned by positions alone."""
    return _fine_tuned(demo.scene_geometry())


def demo_posenet() -> Recipe:
    """A regressor (Baseline APR) on the embedded scene, fine-tuned by positions alone, for comparison."""
    return _fine_tuned(demo.baseline())


def third(recipe: Recipe) -> Recipe:
    """A recipe of one stage on every third training frame."""
    (stage,) = recipe.stages
    return replace(recipe, stages=(replace(stage, learns_from="full"),), keep_orientation_every=3)


def with_positions(recipe: Recipe, *, others: tuple[str, ...], epochs: int = _TABLE_IV_EPOCHS) -> Recipe:
    """`third`, then fine-tuning on the positions of the other frames; `others` are the other loss terms."""
    recipe = third(recipe)
    (stage,) = recipe.stages
    positions = replace(
        stage,
        epochs=epochs,
        learning_rate=_SLOWER * stage.learning_rate,
        learns_from="positions",
        loss_weights=dict.fromkeys(others, 0.0),
    )
    return replace(recipe, stages=(stage, positions))


def _fine_tuned(recipe: Recipe) -> Recipe:
    """A recipe of one stage split in two: full poses first, then positions alone."""
    (stage,) = recipe.stages
    fine_tuning = max(1, round(_FINE_TUNING * stage.epochs))
    first = replace(recipe, stages=(replace(stage, epochs=max(1, stage.epochs - fine_tuning)),))
    return with_positions(first, others=_other_terms(recipe), epochs=fine_tuning)


def _other_terms(recipe: Recipe) -> tuple[str, ...]:
    """The loss terms of a recipe's model except that of the position."""
    if isinstance(recipe.config, HyperPoseConfig):
        return ("orientation",)
    names = ("orientation", "consistency", "reprojection")
    return tuple(name for name in names if getattr(recipe.config.losses, name))
