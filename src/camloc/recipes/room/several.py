"""Several rooms in one model: MS-Transformer, MS-HyperPose and TransPoseNet of many places."""

from dataclasses import replace

from camloc.models.ms_hyperpose import MSHyperPoseConfig
from camloc.models.ms_transformer import MSTransformerConfig
from camloc.models.ms_transposenet import MSTransPoseNetConfig
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW
from camloc.recipes.base import Recipe
from camloc.recipes.room.regressors import held_blocks, hyperpose
from camloc.recipes.room.transformers import CODES, ENCODER, attentive


def ms_transformer() -> Recipe:
    """MS-Transformer on pretrained MobileNetV2: one model of several rooms, or of one."""
    config = MSTransformerConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        transformer=ENCODER,
        layers=(ENCODER.layers, ENCODER.layers),
        codes=replace(CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return replace(attentive("ms_transformer", config), balanced=True)


def ms_hyperpose() -> Recipe:
    """MS-HyperPose with compact generators on pretrained MobileNetV2: one model of several rooms."""
    config = MSHyperPoseConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        transformer=ENCODER,
        codes=replace(CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _uncut(attentive("ms_hyperpose", config))


def ms_transposenet() -> Recipe:
    """TransPoseNet of several rooms on pretrained MobileNetV2, with a classifier that tells them apart."""
    config = MSTransPoseNetConfig(
        backbone=MOBILENETV2_TENSORFLOW,
        encoder=ENCODER,
        codes=replace(CODES, kind="shared"),
        regression=hyperpose().config.regression,
    )
    return _uncut(attentive("ms_transposenet", config))


def _uncut(recipe: Recipe) -> Recipe:
    """Of several places, with a network whose final map is read: layers of a whole one keep their names."""
    (stage,) = recipe.stages
    stage = replace(stage, holds=held_blocks("backbone.network", blocks="0-2"))
    return replace(recipe, stages=(stage,), balanced=True)
