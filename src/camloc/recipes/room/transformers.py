"""Transformers that regress the pose in one room: TransPoseNet and HyperPose (2023)."""

from dataclasses import replace

from camloc.models.hyperpose_2023 import AttentionHypernetworkConfig, HyperPose2023Config
from camloc.models.parts.backbone import MOBILENETV2_TENSORFLOW
from camloc.models.parts.hyper import GeneratorConfig
from camloc.models.parts.position_codes import PositionCodesConfig
from camloc.models.parts.transformer import TransformerConfig
from camloc.models.transposenet import TransPoseNetConfig
from camloc.recipes.base import Recipe
from camloc.recipes.room.regressors import held_blocks, hyperpose

# A third of the published layers, on pictures of half as many cells, and no dropout of attention weights, so
# that a CPU passes the photographs tens of times in twenty minutes, not five times.
ENCODER = TransformerConfig(layers=2, attention_dropout=0.0)
CODES = PositionCodesConfig(picture_width=160, picture_height=120)


def transposenet() -> Recipe:
    """TransPoseNet: attention to two maps of MobileNetV2, of 10 x 8 and 20 x 15 cells."""
    config = TransPoseNetConfig(
        MOBILENETV2_TENSORFLOW, encoder=ENCODER, codes=CODES, regression=hyperpose().config.regression
    )
    return attentive("transposenet", config)


def hyperpose_2023_compact() -> Recipe:
    """HyperPose (2023) with compact generators: TransPoseNet, and heads that each picture makes anew."""
    config = HyperPose2023Config(
        MOBILENETV2_TENSORFLOW,
        encoder=ENCODER,
        codes=CODES,
        hypernetwork=AttentionHypernetworkConfig(encoder=ENCODER),
        regression=hyperpose().config.regression,
    )
    return attentive("hyperpose_2023", config)


def hyperpose_2023() -> Recipe:
    """HyperPose (2023) with generators of every weight, which are 127 million numbers, as published."""
    recipe = hyperpose_2023_compact()
    hypernetwork = replace(recipe.config.hypernetwork, generator=GeneratorConfig("full"))
    return replace(recipe, config=replace(recipe.config, hypernetwork=hypernetwork))


def attentive(model: str, config: object) -> Recipe:
    """A Transformer with the schedule of `hyperpose` at a third of its rate.

    All between the maps that are read trains.
    """
    recipe = hyperpose()
    (stage,) = recipe.stages
    stage = replace(
        stage,
        learning_rate=3e-4,
        backbone_rate=1.0,
        gradient_clip=5.0,
        holds=held_blocks("backbone.network.model", blocks="0-2"),
    )
    return replace(recipe, model=model, config=config, stages=(stage,))
