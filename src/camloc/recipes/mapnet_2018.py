"""MapNet (Brahmbhatt et al., CVPR 2018) on 7Scenes, and the PoseNet of its paper.

Settings of the authors' code: Adam at 1e-4 with decay 5e-4 for 300 epochs, whole frames with a shorter side
of 256, no changes of images; MapNet with windows of 3 frames, 10 apart, 20 windows to a batch, gradients
clipped at 5. Their weight decay also acts on the learned weights of the loss, ours does not. They start from
ImageNet weights of ResNet-34 (`--backbone-weights`).
"""

from dataclasses import replace

from camloc.data.image_io import Preprocess
from camloc.models.layers.backbone import BackboneConfig
from camloc.models.mapnet import PRESETS
from camloc.recipes.position_only import third, with_positions
from camloc.training.recipe import Recipe, Stage, Window

# The authors normalise images with mean and deviation of the pixels of each scene. These are the means over
# the seven scenes of the numbers in their code.
SEVENSCENES_RESNET34 = BackboneConfig("resnet34", mean=(0.496, 0.445, 0.440), deviation=(0.230, 0.240, 0.222))

_WHOLE_FRAME = Preprocess(341, 256, short_side=256)


def sevenscenes() -> Recipe:
    """MapNet on 7Scenes: its row of Table I of "Implicit Learning of Scene Geometry" (2023)."""
    return Recipe(
        model="mapnet",
        config=replace(PRESETS["paper"], backbone=SEVENSCENES_RESNET34),
        preprocess=_WHOLE_FRAME,
        stages=(Stage(epochs=300, learning_rate=1e-4, weight_decay=5e-4, gradient_clip=5.0),),
        batch_size=60,
        window=Window(frames=3, apart=10),
        validate_every=5,
        layout="sevenscenes",
    )


def sevenscenes_third() -> Recipe:
    """MapNet on a third of 7Scenes: scene geometry 2023, Table IV, "trained on 1/3 of samples"."""
    return _single_frames(third(sevenscenes()))


def sevenscenes_positions() -> Recipe:
    """MapNet fine-tuned by positions, 7Scenes: scene geometry 2023, Table IV, "L_position"."""
    return _single_frames(with_positions(sevenscenes(), others=("orientation",)))


def cambridge() -> Recipe:
    """MapNet on Cambridge Landmarks: its row of Table I of "Implicit Learning of Scene Geometry" (2023)."""
    recipe = sevenscenes()
    backbone = BackboneConfig("resnet34")
    return replace(
        recipe,
        config=replace(recipe.config, backbone=backbone),
        preprocess=Preprocess(455, 256, short_side=256),
        layout="cambridge",
    )


def cambridge_third() -> Recipe:
    """MapNet on a third of Cambridge: scene geometry 2023, Table IV, "trained on 1/3 of samples"."""
    return _single_frames(third(cambridge()))


def cambridge_positions() -> Recipe:
    """MapNet fine-tuned by positions, Cambridge: scene geometry 2023, Table IV, "L_position"."""
    return _single_frames(with_positions(cambridge(), others=("orientation",)))


def sevenscenes_posenet() -> Recipe:
    """MapNet's PoseNet on 7Scenes, the same network on single frames; in no table."""
    recipe = sevenscenes()
    (stage,) = recipe.stages
    return replace(
        recipe,
        config=replace(PRESETS["posenet"], backbone=SEVENSCENES_RESNET34),
        stages=(replace(stage, gradient_clip=0.0),),
        batch_size=64,
        window=Window(),
    )


def _single_frames(recipe: Recipe) -> Recipe:
    """MapNet without its windows: of a window of frames whose orientations are known in part, no pair is."""
    return replace(
        recipe, config=replace(PRESETS["posenet"], backbone=recipe.config.backbone), window=Window()
    )
