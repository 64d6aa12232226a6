"""HyperPose of 2023 (Ferens and Keller): Tables 1 to 7.

Adam with eps 1e-10 and decay 1e-4, batches of 8, learning rate 1e-4 lowered by a quarter every 200 of 1000
epochs outdoors, every 100 of 300 indoors; images scaled to a shorter side of 256 and cut to 224 x 224,
brightness, contrast and saturation changed (section 4.2). The second phase trains the parameters of the
position alone, the third those of the orientation, with everything else frozen. The paper gives the length of
the first phase only; the others have a tenth of it here. The ablations end with the first phase (section
4.5).

Tables 1 and 2 have the sizes of the paper's text here, and of the released code in the `released` recipes.
The ablations vary the sizes that Table 4 chooses, 256/512, with a hypernetwork 256 wide, as released.
"""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.decoding import OrientationForm
from camloc.models.hyperpose_2023 import PRESETS, AttentionHypernetworkConfig, HyperPose2023Config
from camloc.models.layers.backbone import EFFICIENTNET_B0_RELEASED
from camloc.models.layers.hypernetwork import GeneratorConfig
from camloc.models.losses import PoseLossConfig
from camloc.models.regressor import RegressionConfig
from camloc.training.recipe import Recipe, Stage

_OUTDOORS = PoseLossConfig(-3.0, -6.5)
_INDOORS = PoseLossConfig(0.0, -3.0)

_TABLES = AttentionHypernetworkConfig(generator=GeneratorConfig("full"))


def cambridge() -> Recipe:
    """HyperPose (2023) on Cambridge Landmarks: Table 1, "HyperPose (Ours)"."""
    recipe = _recipe(PRESETS["paper"])
    return replace(recipe, stages=_phases(recipe.stages[0]))


def cambridge_released() -> Recipe:
    """HyperPose (2023) on Cambridge Landmarks with its authors' settings: Table 1, "HyperPose (Ours)"."""
    return _released(PRESETS["released"])


def sevenscenes() -> Recipe:
    """HyperPose (2023) on 7Scenes: Table 2, "HyperPose (Ours)"."""
    config = replace(PRESETS["paper"], regression=RegressionConfig(pose_loss=_INDOORS))
    recipe = _recipe(config)
    first = replace(recipe.stages[0], epochs=300, step_epochs=100)
    return replace(recipe, stages=_phases(first), layout="sevenscenes")


def sevenscenes_released() -> Recipe:
    """HyperPose (2023) on 7Scenes with its authors' settings: Table 2, "HyperPose (Ours)".

    One setting differs: the authors keep the loss weights at their initial values, which rewards errors, as
    was corrected later. Here the weights are learned.
    """
    recipe = _released(PRESETS["released"])
    first = replace(recipe.stages[0], epochs=75, step_epochs=100, learning_rate=1e-3)
    stages = _phases(first, trained=_HEADS)
    return replace(recipe, stages=stages, layout="sevenscenes")


def shop_direct() -> Recipe:
    """HyperPose (2023) with generated heads alone on Shop Facade: Table 3, "Direct Regression"."""
    config = replace(_with(_TABLES), hidden=None)
    return _recipe(config)


def shop_residual() -> Recipe:
    """HyperPose (2023) with generated heads beside ordinary ones on Shop Facade: Table 3, "Residual"."""
    return _recipe(_with(_TABLES))


def shop_sizes_256_256() -> Recipe:
    """HyperPose (2023) with heads of 256 and 256 on Shop Facade: Table 4, 256/256."""
    return _recipe(_with(replace(_TABLES, orientation_hidden=(256, 256))))


def shop_sizes_256_512() -> Recipe:
    """HyperPose (2023) with heads of 256 and 512 on Shop Facade: Table 4, 256/512."""
    return _recipe(_with(_TABLES))


def shop_sizes_512_512() -> Recipe:
    """HyperPose (2023) with heads of 512 and 512 on Shop Facade: Table 4, 512/512."""
    return _recipe(_with(replace(_TABLES, position_hidden=(512, 256))))


def shop_pooled() -> Recipe:
    """HyperPose (2023), hypernetwork on the pooled map, on Shop Facade: Table 5, "Backbone embedding"."""
    return _recipe(_with(replace(_TABLES, reads="pooled")))


def shop_transformers() -> Recipe:
    """HyperPose (2023) with an attention hypernetwork on Shop Facade: Table 5, "Transformer-Encoders"."""
    return _recipe(_with(_TABLES))


def shop_layers_1() -> Recipe:
    """HyperPose (2023) with one generated layer on Shop Facade: Table 6, "Single Layer"."""
    hypernetwork = replace(_TABLES, position_hidden=(), orientation_hidden=())
    return _recipe(_with(hypernetwork))


def shop_layers_2() -> Recipe:
    """HyperPose (2023) with two generated layers on Shop Facade: Table 6, "Input/Output layers"."""
    hypernetwork = replace(_TABLES, position_hidden=(256,), orientation_hidden=(512,))
    return _recipe(_with(hypernetwork))


def shop_layers_3() -> Recipe:
    """HyperPose (2023), three generated layers, on Shop Facade: Table 6, "Input/Hidden/Output layers"."""
    return _recipe(_with(_TABLES))


def shop_quaternion() -> Recipe:
    """HyperPose (2023) with quaternions on Shop Facade: Table 7, "Quaternions"."""
    return _orientation("quaternion")


def shop_4d_norm() -> Recipe:
    """HyperPose (2023), quaternions compared as matrices, on Shop Facade: Table 7, "4D-Norm"."""
    return _orientation("4d_norm")


def shop_6d() -> Recipe:
    """HyperPose (2023) with two columns of a matrix on Shop Facade: Table 7, "6D"."""
    return _orientation("6d")


def _with(hypernetwork: AttentionHypernetworkConfig) -> HyperPose2023Config:
    return HyperPose2023Config(EFFICIENTNET_B0_RELEASED, hypernetwork=hypernetwork)


def _orientation(form: OrientationForm) -> Recipe:
    config = _with(_TABLES)
    config = replace(config, regression=replace(config.regression, orientation=form))
    return _recipe(config)


def _recipe(config: HyperPose2023Config) -> Recipe:
    return Recipe(
        model="hyperpose_2023",
        config=config,
        preprocess=Preprocess(224, 224, short_side=256),
        stages=(
            Stage(
                epochs=1000,
                learning_rate=1e-4,
                epsilon=1e-10,
                weight_decay=1e-4,
                schedule="step",
                step_epochs=200,
                step_factor=0.75,
            ),
        ),
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5),
        batch_size=8,
        validate_every=5,
        layout="cambridge",
    )


# Modules that the second and third phase train. In the paper: all modules of one half of the pose but its
# main encoder; in the released code: the ordinary head and the generators.
_HYPERNETWORK_AND_HEADS = ("head", "hyper", "hyper_encoder")
_HEADS = ("head", "hyper")


def _phases(first: Stage, *, trained: tuple[str, ...] = _HYPERNETWORK_AND_HEADS) -> tuple[Stage, ...]:
    short = replace(first, epochs=max(1, first.epochs // 10))
    halves = (("position", "orientation"), ("orientation", "position"))
    return (
        first,
        *(
            replace(
                short,
                trains=tuple(f"{half}.{part}.*" for part in trained),
                loss_weights={other: 0.0},
            )
            for half, other in halves
        ),
    )


def _released(config: HyperPose2023Config) -> Recipe:
    """As released: AdamW with torch's defaults, whatever its settings say, and changes of hue."""
    recipe = _recipe(config)
    first = replace(recipe.stages[0], optimizer="adamw", epsilon=1e-8, weight_decay=0.01)
    return replace(recipe, stages=_phases(first, trained=_HEADS), augment=replace(recipe.augment, hue=0.2))
