"""MS-HyperPose (Ferens and Keller 2025): the rows of the supplement for one model of several scenes.

Adam with eps 1e-10 and decay 1e-4, batches of 8, learning rate 1e-4 lowered by a quarter every 10 of 30
epochs indoors, every 200 of 600 outdoors; images scaled to a shorter side of 256 and cut to 224 x 224, with
colour changes outdoors (section 3). The phases are those of `hyperpose_2025`. Ablations (section 4) are
compared after the first phase.

The extension by a scene (section 7, Figure 6) is `sevenscenes` without Heads; `camloc extend` adds Heads.
"""

from dataclasses import replace
from typing import Any

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.decoding import OrientationForm
from camloc.models.layers.hypernetwork import GeneratorConfig
from camloc.models.ms_hyperpose import PRESETS, MSHyperPoseConfig
from camloc.recipes.hyperpose_2025 import phases
from camloc.training.recipe import Recipe, Stage

_CROP = Preprocess(224, 224, short_side=256)


def sevenscenes() -> Recipe:
    """MS-HyperPose on all of 7Scenes, all three phases; the supplement prints no row for it.

    Without Heads it is the first part of Figure 6.
    """
    return _sevenscenes()


def cambridge() -> Recipe:
    """MS-HyperPose on Cambridge Landmarks, all three phases; the supplement prints no row for it."""
    return _cambridge()


def sevenscenes_compact() -> Recipe:
    """MS-HyperPose with compact generators on all of 7Scenes; no row, the paper has none."""
    return _sevenscenes(generator=GeneratorConfig("compact", rank=256))


def cambridge_compact() -> Recipe:
    """MS-HyperPose with compact generators on Cambridge Landmarks; no row, the paper has none."""
    return _cambridge(generator=GeneratorConfig("compact", rank=256))


def cambridge_tokens() -> Recipe:
    """MS-HyperPose whose hypernetwork reads tokens alone: supplement Table 3, first row."""
    return _first_phase(_cambridge(reads="token"))


def cambridge_tokens_and_backbone() -> Recipe:
    """MS-HyperPose after its first phase: supplement Table 3, second row, and Table 4, residual."""
    return _first_phase(_cambridge())


def cambridge_one_integrated_layer() -> Recipe:
    """MS-HyperPose, single integrated hyper-layer: supplement Table 4."""
    return _first_phase(_cambridge(infusion="one_layer"))


def cambridge_two_integrated_layers() -> Recipe:
    """MS-HyperPose, two integrated hyper-layers: supplement Table 4.

    The generators are compact: a full one beside the hidden layer would have 68 million weights.
    """
    recipe = _cambridge(infusion="two_layers", generator=GeneratorConfig("compact", rank=256))
    return _first_phase(recipe)


def cambridge_256_256() -> Recipe:
    """MS-HyperPose with embeddings of 256 and 256 on Cambridge Landmarks: supplement Table 5."""
    return _first_phase(_cambridge(orientation=256))


def cambridge_256_512() -> Recipe:
    """MS-HyperPose with embeddings of 256 and 512 on Cambridge Landmarks: supplement Table 5."""
    return _first_phase(_cambridge())


def cambridge_512_512() -> Recipe:
    """MS-HyperPose with embeddings of 512 and 512 on Cambridge Landmarks: supplement Table 5."""
    return _first_phase(_cambridge(position=512))


def sevenscenes_256_256() -> Recipe:
    """MS-HyperPose with embeddings of 256 and 256 on all of 7Scenes: supplement Table 5."""
    return _first_phase(_sevenscenes(orientation=256))


def sevenscenes_256_512() -> Recipe:
    """MS-HyperPose with embeddings of 256 and 512 on all of 7Scenes: supplement Table 5."""
    return _first_phase(_sevenscenes())


def sevenscenes_512_512() -> Recipe:
    """MS-HyperPose with embeddings of 512 and 512 on all of 7Scenes: supplement Table 5."""
    return _first_phase(_sevenscenes(position=512))


def cambridge_quaternions() -> Recipe:
    """MS-HyperPose with quaternions on Cambridge Landmarks: supplement Table 7."""
    return _rotations("quaternion")


def cambridge_6d() -> Recipe:
    """MS-HyperPose with 6D rotations on Cambridge Landmarks: supplement Table 7."""
    return _rotations("6d")


def cambridge_9d() -> Recipe:
    """MS-HyperPose with 9D rotations on Cambridge Landmarks: supplement Table 7."""
    return _rotations("9d")


def cambridge_4d_norm() -> Recipe:
    """MS-HyperPose with quaternions compared as matrices on Cambridge Landmarks; in no table.

    The text beside supplement Table 7 describes it.
    """
    return _rotations("4d_norm")


def _rotations(form: OrientationForm) -> Recipe:
    recipe = _cambridge()
    regression = replace(recipe.config.regression, orientation=form)
    return _first_phase(replace(recipe, config=replace(recipe.config, regression=regression)))


def _first_phase(recipe: Recipe) -> Recipe:
    return replace(recipe, stages=recipe.stages[:1])


def _cambridge(**hypernetwork: Any) -> Recipe:
    return Recipe(
        model="ms_hyperpose",
        config=_with(PRESETS["cambridge"], **hypernetwork),
        preprocess=_CROP,
        stages=_phases(epochs=600, step_epochs=200),
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5),
        batch_size=8,
        balanced=True,
        validate_every=5,
        layout="cambridge",
    )


def _sevenscenes(**hypernetwork: Any) -> Recipe:
    return Recipe(
        model="ms_hyperpose",
        config=_with(PRESETS["sevenscenes"], **hypernetwork),
        preprocess=_CROP,
        stages=_phases(epochs=30, step_epochs=10),
        augment=Augment(random_crop=True),
        batch_size=8,
        layout="sevenscenes",
    )


def _with(config: MSHyperPoseConfig, **hypernetwork: Any) -> MSHyperPoseConfig:
    return replace(config, hypernetwork=replace(config.hypernetwork, **hypernetwork))


def _phases(*, epochs: int, step_epochs: int) -> tuple[Stage, ...]:
    return phases(
        epochs=epochs, step_epochs=step_epochs, position="position_h*", orientation="orientation_h*"
    )
