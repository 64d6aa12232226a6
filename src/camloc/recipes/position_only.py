"""Learning from a third of the orientations: the others are positions alone, as GPS gives them.

After "Implicit Learning of Scene Geometry" (RA-L 2023), section IV-F: one training frame of three keeps its
orientation, and a first stage learns from these; a second fine-tunes with the position loss on the other
two thirds. Points that are aligned turn with their positions; a regressor's orientation is left behind when
the features that it is read from move. Another share is `replace(recipe, keep_orientation_every=n)`, and a
table whose own frames lack quaternions needs none of it: `keep_orientation_every=0`.
"""

from dataclasses import replace

from camloc.models.hyperpose import HyperPoseConfig
from camloc.recipes import demo, room
from camloc.training.recipe import Recipe

# The share of the epochs that is spent on fine-tuning, and the learning rate there relative to the first
# stage's. The paper fine-tunes for 10 to 15 epochs of some 400 and does not give a rate.
_FINE_TUNING = 1 / 3
_SLOWER = 0.1


def scene_geometry() -> Recipe:
    """Scene geometry fine-tuned by positions alone: as in Table IV, "Ours, finetuned with L_position"."""
    return _fine_tuned(room.scene_geometry())


def posenet() -> Recipe:
    """A regressor (Baseline APR) fine-tuned by positions alone: the foil of Table IV, there MapNet."""
    return _fine_tuned(room.baseline())


def demo_scene_geometry() -> Recipe:
    """Scene geometry on the embedded scene, fine-tuned by positions alone."""
    return _fine_tuned(demo.scene_geometry())


def demo_posenet() -> Recipe:
    """A regressor (Baseline APR) on the embedded scene, fine-tuned by positions alone: the foil there."""
    return _fine_tuned(demo.baseline())


def _fine_tuned(recipe: Recipe) -> Recipe:
    """A recipe of one stage as two: complete poses first, then positions alone."""
    (stage,) = recipe.stages
    fine_tuning = max(1, round(_FINE_TUNING * stage.epochs))
    stages = (
        replace(stage, epochs=max(1, stage.epochs - fine_tuning), learns_from="full"),
        replace(
            stage,
            epochs=fine_tuning,
            learning_rate=_SLOWER * stage.learning_rate,
            learns_from="positions",
            loss_weights=dict.fromkeys(_other_terms(recipe), 0.0),
        ),
    )
    return replace(recipe, stages=stages, keep_orientation_every=3, published=())


def _other_terms(recipe: Recipe) -> tuple[str, ...]:
    """The loss terms of a recipe's model but that of the position."""
    if isinstance(recipe.config, HyperPoseConfig):
        return ("orientation",)
    names = ("orientation", "consistency", "reprojection")
    return tuple(name for name in names if getattr(recipe.config.losses, name))
