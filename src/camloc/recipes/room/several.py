"""Several rooms in one model: MS-Transformer, MS-HyperPose and TransPoseNet of many places.

Both halves of the pose read the same map, of 10 x 8 cells. With the finer one of 20 x 15 for the orientation,
as published, a step takes two and a half times as long, and after as long a training on a CPU the held-out
errors of one room were larger in both.
"""

from dataclasses import replace

from camloc.models.ms_hyperpose import MSHyperPoseConfig
from camloc.models.ms_transformer import MSTransformerConfig
from camloc.models.ms_transposenet import MSTransPoseNetConfig
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW
from camloc.recipes.base import Recipe
from camloc.recipes.room.regressors import held_blocks, hyperpose
from camloc.recipes.room.transformers import CODES, ENCODER, attentive

# The stage of MobileNetV2 whose map is read.
_TAP = 3


def ms_transformer() -> Recipe:
    """MS-Transformer on pretrained MobileNetV2: one model of several rooms, or of one."""
    config = MSTransformerConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        orientation_tap=_TAP,
        transformer=ENCODER,
        layers=(ENCODER.layers, ENCODER.layers),
        codes=replace(CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _several("ms_transformer", config, network="backbone.network.model")


def ms_hyperpose() -> Recipe:
    """MS-HyperPose with compact generators on pretrained MobileNetV2: one model of several rooms."""
    config = MSHyperPoseConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        orientation_tap=_TAP,
        transformer=ENCODER,
        codes=replace(CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _several("ms_hyperpose", config, network="backbone.network")


def ms_transposenet() -> Recipe:
    """TransPoseNet of several rooms on pretrained MobileNetV2, with a classifier that tells them apart."""
    config = MSTransPoseNetConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        orientation_tap=_TAP,
        encoder=ENCODER,
        codes=replace(CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _several("ms_transposenet", config, network="backbone.network")


def _several(model: str, config: object, *, network: str) -> Recipe:
    """Of several places, in equal parts; what is in front of the map's last blocks stands still."""
    recipe = attentive(model, config)
    (stage,) = recipe.stages
    stage = replace(stage, holds=held_blocks(network, blocks="0-3"))
    return replace(recipe, stages=(stage,), balanced=True)
