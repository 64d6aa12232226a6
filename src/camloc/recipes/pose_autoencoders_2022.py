"""Camera pose auto-encoders (Shavit and Keller, ECCV 2022): teachers, students, and virtual views.

Teachers: Adam at 1e-3 with eps 1e-10 and decay 1e-4, halved every 100 of 300 epochs, batches of 32; images
scaled to a shorter side of 256 and cut to 224 x 224, with colour changes (section 4). Students have the
settings of their teachers, without augmentation. The recipes of students and of virtual views are for
`camloc autoencode`. The times of Table 5 are measured by `benchmarks/refinement.py`.
"""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.layers.backbone import EFFICIENTNET_B0_RELEASED, BackboneConfig
from camloc.models.posenet import PoseNetConfig
from camloc.refinement.image_decoder import PUBLISHED as PUBLISHED_DECODER
from camloc.refinement.pose_autoencoder import DistillationConfig, PoseAutoencoderConfig
from camloc.refinement.recipe import DecoderRecipe, RelativeRecipe, StudentRecipe
from camloc.refinement.relative_pose import PRESETS as RELATIVE_POSE
from camloc.training.recipe import Recipe, Stage

_ENCODER = PoseAutoencoderConfig(scene_code="fourier")
_STAGE = Stage(
    epochs=300,
    learning_rate=1e-3,
    epsilon=1e-10,
    weight_decay=1e-4,
    schedule="step",
    step_epochs=100,
    step_factor=0.5,
)


def teacher_mobilenet() -> Recipe:
    """PoseNet-like teacher with MobileNetV2 on King's College: Table 4, PoseNet+MobileNet."""
    return _teacher(BackboneConfig("mobilenetv2_100"))


def teacher_resnet50() -> Recipe:
    """PoseNet-like teacher with ResNet-50 on King's College: Table 4, PoseNet+ResNet50."""
    return _teacher(BackboneConfig("resnet50"))


def teacher_efficientnet() -> Recipe:
    """PoseNet-like teacher with EfficientNet-B0 on King's College: Table 4, PoseNet+EfficientNet."""
    return _teacher(EFFICIENTNET_B0_RELEASED)


def _teacher(backbone: BackboneConfig) -> Recipe:
    return Recipe(
        model="posenet",
        config=PoseNetConfig(backbone),
        preprocess=Preprocess(224, 224, short_side=256),
        stages=(_STAGE,),
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2),
        batch_size=32,
        validate_every=5,
        layout="cambridge",
    )


def cambridge() -> StudentRecipe:
    """Student of MS-Transformer on Cambridge Landmarks: Table 1; refined by adamw, Table 6."""
    return _of_transformer(epochs=600, step=200)


def sevenscenes() -> StudentRecipe:
    """Student of MS-Transformer on 7Scenes: Table 2; refined by adamw, Table 7."""
    return _of_transformer(epochs=30, step=10)


def sevenscenes_released() -> StudentRecipe:
    """Student on 7Scenes as released: squared distances, the teacher's predictions, no pi; in no table."""
    recipe = sevenscenes()
    return replace(
        recipe,
        config=replace(recipe.config, with_pi=False, numbers="raw"),
        distillation=DistillationConfig(latent_distance="squared", reads="teacher"),
    )


def two_layers() -> StudentRecipe:
    """Student of two layers, of PoseNet+MobileNet on King's College: Table 3."""
    config = replace(_ENCODER, frequencies=0, hidden=(64,))
    return _of_posenet(config)


def four_layers() -> StudentRecipe:
    """Student of four layers without Fourier features, of PoseNet+MobileNet on King's College: Table 3."""
    config = replace(_ENCODER, frequencies=0)
    return _of_posenet(config)


def mobilenet() -> StudentRecipe:
    """Student of PoseNet+MobileNet on King's College: Table 3 (Fourier Features) and Table 4."""
    return _of_posenet(_ENCODER)


def resnet50() -> StudentRecipe:
    """Student of PoseNet+ResNet50 on King's College: Table 4."""
    return _of_posenet(_ENCODER)


def efficientnet() -> StudentRecipe:
    """Student of PoseNet+EfficientNet on King's College: Table 4."""
    return _of_posenet(_ENCODER)


def virtual_shop_facade() -> StudentRecipe:
    """Virtual relative pose regression on Shop Facade: Table 8."""
    return _virtual(cambridge())


def virtual_heads() -> StudentRecipe:
    """Virtual relative pose regression on Heads: Table 8."""
    return _virtual(sevenscenes())


def virtual_heads_released() -> StudentRecipe:
    """Virtual relative pose regression on Heads with the regressor as released; in no table."""
    recipe = virtual_heads()
    assert recipe.relative is not None
    return replace(recipe, relative=replace(recipe.relative, config=RELATIVE_POSE["released"]))


def _of_posenet(config: PoseAutoencoderConfig) -> StudentRecipe:
    return StudentRecipe(config, _STAGE)


def _of_transformer(*, epochs: int, step: int) -> StudentRecipe:
    stage = replace(_STAGE, epochs=epochs, learning_rate=1e-4, step_epochs=step, step_factor=0.1)
    return StudentRecipe(_ENCODER, stage, batch_size=8)


def _virtual(recipe: StudentRecipe) -> StudentRecipe:
    """Decoder at 1e-2 and regressor at 1e-3 (section 4.1), for the epochs of the released code."""
    steady = replace(_STAGE, weight_decay=0.0, schedule="constant")
    decoder = DecoderRecipe(PUBLISHED_DECODER, replace(steady, epochs=20, learning_rate=1e-2), batch_size=8)
    falling = replace(_STAGE, epochs=30, step_epochs=10, step_factor=0.1)
    relative = RelativeRecipe(
        RELATIVE_POSE["published"],
        falling,
        references="images",
        augment=Augment(random_crop=True, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2),
    )
    return replace(recipe, decoder=decoder, relative=relative)
