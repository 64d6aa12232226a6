"""MS-Transformer (Shavit, Ferens and Keller, ICCV 2021): one model of 7Scenes, one of Cambridge Landmarks.

As the released code is set: Adam at 1e-4 with eps 1e-10 and decay 1e-4, batches of 8; 30 epochs indoors, 600
outdoors, the rate a tenth after each third; images scaled to a shorter side of 256 and cut to 224 x 224, at
random and with colour changes indoors only; at the centre outdoors, where scenes have equal parts of an epoch
and the position head is fine-tuned afterwards. The published errors are those of the released models, from
the tables of the pose auto-encoders (2022), and of single scenes, from those of HyperPose (2023).
"""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.losses import PoseLossConfig
from camloc.models.ms_transformer import PRESETS, MSTransformerConfig
from camloc.models.regressor import RegressionConfig
from camloc.training.recipe import Recipe, Stage

_CROP = Preprocess(224, 224, short_side=256)
_CHANGES = Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2)


def sevenscenes() -> Recipe:
    """MS-Transformer on all of 7Scenes: pose auto-encoders (2022) Table 2, teacher."""
    return _sevenscenes(PRESETS["sevenscenes"])


def cambridge() -> Recipe:
    """MS-Transformer on Cambridge Landmarks: pose auto-encoders (2022) Table 1, teacher."""
    return _cambridge(PRESETS["cambridge"])


def sevenscenes_six_layers() -> Recipe:
    """MS-Transformer with 6 layers for either half of the pose, on all of 7Scenes; in no table.

    From the configuration of the pose auto-encoders' code.
    """
    return _sevenscenes(replace(PRESETS["sevenscenes"], layers=(6, 6)))


def sevenscenes_four_layers() -> Recipe:
    """MS-Transformer with 4 layers for either half of the pose, on all of 7Scenes; in no table.

    MS-HyperPose without its hypernetwork.
    """
    return _sevenscenes(replace(PRESETS["sevenscenes"], layers=(4, 4)))


def cambridge_own_heads() -> Recipe:
    """MS-Transformer with a pair of heads for each scene, on Cambridge Landmarks; in no table."""
    return _cambridge(PRESETS["cambridge-own-heads"])


def sevenscenes_one_scene() -> Recipe:
    """MS-Transformer of one scene of 7Scenes, MS-Trans-1S: HyperPose (2023) Table 2."""
    return _sevenscenes(replace(PRESETS["sevenscenes"], scenes=1))


def cambridge_one_scene() -> Recipe:
    """MS-Transformer of one scene of Cambridge Landmarks, MS-Trans-1S: HyperPose (2023) Table 1."""
    return _cambridge(PRESETS["one-scene"])


def _sevenscenes(config: MSTransformerConfig) -> Recipe:
    indoors = RegressionConfig(pose_loss=PoseLossConfig(0.0, -3.0))
    return Recipe(
        model="ms_transformer",
        config=replace(config, regression=indoors),
        preprocess=_CROP,
        stages=(_stage(epochs=30),),
        augment=_CHANGES,
        batch_size=8,
        layout="sevenscenes",
    )


def _cambridge(config: MSTransformerConfig) -> Recipe:
    position = replace(_stage(epochs=60), trains=("position_heads.*",), loss_weights={"orientation": 0.0})
    return Recipe(
        model="ms_transformer",
        config=config,
        preprocess=_CROP,
        stages=(_stage(epochs=600), position),
        batch_size=8,
        balanced=True,
        validate_every=5,
        layout="cambridge",
    )


def _stage(*, epochs: int) -> Stage:
    return Stage(
        epochs=epochs,
        learning_rate=1e-4,
        epsilon=1e-10,
        weight_decay=1e-4,
        schedule="step",
        step_epochs=epochs // 3,
        step_factor=0.1,
    )
