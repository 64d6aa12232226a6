"""Implicit Learning of Scene Geometry (Altillawi et al., RA-L 2023): Tables I to IV.

Adam at 1e-4 with decay 5e-4 for 400 epochs, colour changes and turns of the image by up to 30 degrees,
images 480 high, a grid of 1/8 of that (section IV-B). The paper does not give the size of a batch: 8
here. It trains from random weights; `--backbone-weights` starts from others.

Table IV (section IV-F): a third of the training frames keep their orientation and train alone; the others
then fine-tune with the position loss, for 10 to 15 epochs at a rate that the paper does not give: 12 epochs
at a tenth of the rate here.
"""

from dataclasses import replace
from typing import Literal

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.layers.backbone import BackboneConfig
from camloc.models.losses import GeometryLossConfig
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.recipes.position_only import third, with_positions
from camloc.training.recipe import Recipe, Stage

# Cambridge images are 16:9, those of 7Scenes and 12Scenes 4:3; widths are multiples of 32.
_WIDE = Preprocess(832, 480, undistort=True)
_STANDARD = Preprocess(640, 480, undistort=True)

_POSE_LOSS = SceneGeometryConfig(losses=GeometryLossConfig(consistency=0.0, reprojection=0.0))
_POSE_AND_REPROJECTION = SceneGeometryConfig(losses=GeometryLossConfig(consistency=0.0))
_POSE_AND_CONSISTENCY = SceneGeometryConfig(losses=GeometryLossConfig(reprojection=0.0))

# No stride of MobileNetV3 can be exchanged for 4: the maps of its stages are stacked at stride 4.
_QUARTER = SceneGeometryConfig(BackboneConfig("mobilenetv3_large_100"), taps=(1, 2, 3, 4), stride=4)
_SIXTEENTH = SceneGeometryConfig(BackboneConfig("mobilenetv3_large_100", {"output_stride": 16}), stride=16)
_DIRECT_POINTS = SceneGeometryConfig(camera_points="direct")
_HRNET = SceneGeometryConfig(BackboneConfig("hrnet_w18"), taps=(1, 2, 3, 4))
_RESNET34 = SceneGeometryConfig(BackboneConfig("resnet34", {"output_stride": 8}))
_DENSENET121 = SceneGeometryConfig(BackboneConfig("densenet121"), taps=(2, 3, 4))


def cambridge() -> Recipe:
    """Scene geometry on Cambridge Landmarks with MobileNetV3: Table I, "Ours, MobileNetV3"."""
    return _recipe("cambridge")


def cambridge_resnet34() -> Recipe:
    """Scene geometry on Cambridge Landmarks with ResNet-34: Table I, "Ours, ResNet34"."""
    return _recipe("cambridge", _RESNET34)


def cambridge_no_filtering() -> Recipe:
    """Scene geometry on Cambridge Landmarks, cells of equal weight: Table III, "Rigid + No Filtering"."""
    return _recipe("cambridge", SceneGeometryConfig(weights="alike"))


def cambridge_third() -> Recipe:
    """Scene geometry on a third of Cambridge Landmarks: Table IV, "trained on 1/3 of samples"."""
    return third(cambridge())


def cambridge_positions() -> Recipe:
    """Scene geometry fine-tuned by positions, Cambridge: Table IV, "finetuned with L_position"."""
    return with_positions(cambridge(), others=("orientation", "consistency", "reprojection"))


def cambridge_pose_loss() -> Recipe:
    """Scene geometry on Cambridge Landmarks, pose loss alone: Table II, row 1 (mean of the scenes)."""
    return _recipe("cambridge", _POSE_LOSS)


def cambridge_pose_and_reprojection() -> Recipe:
    """Scene geometry on Cambridge Landmarks, pose and reprojection losses: Table II, row 2 (mean)."""
    return _recipe("cambridge", _POSE_AND_REPROJECTION)


def cambridge_pose_and_consistency() -> Recipe:
    """Scene geometry on Cambridge Landmarks, pose and consistency losses: Table II, row 3 (mean)."""
    return _recipe("cambridge", _POSE_AND_CONSISTENCY)


def cambridge_quarter() -> Recipe:
    """Scene geometry on Cambridge Landmarks on a grid of 1/4 of the image: Table II, row 5 (mean)."""
    return _recipe("cambridge", _QUARTER)


def cambridge_sixteenth() -> Recipe:
    """Scene geometry on Cambridge Landmarks on a grid of 1/16 of the image: Table II, row 7 (mean)."""
    return _recipe("cambridge", _SIXTEENTH)


def cambridge_direct_points() -> Recipe:
    """Scene geometry on Cambridge Landmarks, points instead of depths: Table II, row 8 (mean)."""
    return _recipe("cambridge", _DIRECT_POINTS)


def cambridge_hrnet() -> Recipe:
    """Scene geometry on Cambridge Landmarks with HRNetV2: Table II, row 10 (mean of the scenes)."""
    return _recipe("cambridge", _HRNET)


def cambridge_densenet121() -> Recipe:
    """Scene geometry on Cambridge Landmarks with DenseNet-121: Table II, row 12 (mean of the scenes)."""
    return _recipe("cambridge", _DENSENET121)


def sevenscenes() -> Recipe:
    """Scene geometry on 7Scenes with MobileNetV3: Table I, "Ours, MobileNetV3"."""
    return _recipe("sevenscenes")


def sevenscenes_resnet34() -> Recipe:
    """Scene geometry on 7Scenes with ResNet-34: Table I, "Ours, ResNet34"."""
    return _recipe("sevenscenes", _RESNET34)


def sevenscenes_third() -> Recipe:
    """Scene geometry on a third of 7Scenes: Table IV, "trained on 1/3 of samples"."""
    return third(sevenscenes())


def sevenscenes_positions() -> Recipe:
    """Scene geometry fine-tuned by positions, 7Scenes: Table IV, "finetuned with L_position"."""
    return with_positions(sevenscenes(), others=("orientation", "consistency", "reprojection"))


def sevenscenes_pose_loss() -> Recipe:
    """Scene geometry on 7Scenes, pose loss alone: Table II, row 1 (mean of the scenes)."""
    return _recipe("sevenscenes", _POSE_LOSS)


def sevenscenes_pose_and_reprojection() -> Recipe:
    """Scene geometry on 7Scenes, pose and reprojection losses: Table II, row 2 (mean of the scenes)."""
    return _recipe("sevenscenes", _POSE_AND_REPROJECTION)


def sevenscenes_pose_and_consistency() -> Recipe:
    """Scene geometry on 7Scenes, pose and consistency losses: Table II, row 3 (mean of the scenes)."""
    return _recipe("sevenscenes", _POSE_AND_CONSISTENCY)


def sevenscenes_quarter() -> Recipe:
    """Scene geometry on 7Scenes on a grid of 1/4 of the image: Table II, row 5 (mean of the scenes)."""
    return _recipe("sevenscenes", _QUARTER)


def sevenscenes_sixteenth() -> Recipe:
    """Scene geometry on 7Scenes on a grid of 1/16 of the image: Table II, row 7 (mean of the scenes)."""
    return _recipe("sevenscenes", _SIXTEENTH)


def sevenscenes_direct_points() -> Recipe:
    """Scene geometry on 7Scenes, points instead of depths: Table II, row 8 (mean of the scenes)."""
    return _recipe("sevenscenes", _DIRECT_POINTS)


def sevenscenes_hrnet() -> Recipe:
    """Scene geometry on 7Scenes with HRNetV2: Table II, row 10 (mean of the scenes)."""
    return _recipe("sevenscenes", _HRNET)


def sevenscenes_densenet121() -> Recipe:
    """Scene geometry on 7Scenes with DenseNet-121: Table II, row 12 (mean of the scenes)."""
    return _recipe("sevenscenes", _DENSENET121)


def twelvescenes() -> Recipe:
    """Scene geometry on 12Scenes with MobileNetV3: Table II, rows 4 and 13 (mean of the scenes)."""
    return _recipe("twelvescenes")


def twelvescenes_pose_loss() -> Recipe:
    """Scene geometry on 12Scenes, pose loss alone: Table II, row 1 (mean of the scenes)."""
    return _recipe("twelvescenes", _POSE_LOSS)


def twelvescenes_pose_and_reprojection() -> Recipe:
    """Scene geometry on 12Scenes, pose and reprojection losses: Table II, row 2 (mean of the scenes)."""
    return _recipe("twelvescenes", _POSE_AND_REPROJECTION)


def twelvescenes_pose_and_consistency() -> Recipe:
    """Scene geometry on 12Scenes, pose and consistency losses: Table II, row 3 (mean of the scenes)."""
    return _recipe("twelvescenes", _POSE_AND_CONSISTENCY)


def twelvescenes_quarter() -> Recipe:
    """Scene geometry on 12Scenes on a grid of 1/4 of the image: Table II, row 5 (mean of the scenes)."""
    return _recipe("twelvescenes", _QUARTER)


def twelvescenes_sixteenth() -> Recipe:
    """Scene geometry on 12Scenes on a grid of 1/16 of the image: Table II, row 7 (mean of the scenes)."""
    return _recipe("twelvescenes", _SIXTEENTH)


def twelvescenes_direct_points() -> Recipe:
    """Scene geometry on 12Scenes, points instead of depths: Table II, row 8 (mean of the scenes)."""
    return _recipe("twelvescenes", _DIRECT_POINTS)


def twelvescenes_hrnet() -> Recipe:
    """Scene geometry on 12Scenes with HRNetV2: Table II, row 10 (mean of the scenes)."""
    return _recipe("twelvescenes", _HRNET)


def twelvescenes_resnet34() -> Recipe:
    """Scene geometry on 12Scenes with ResNet-34: Table II, row 11 (mean of the scenes)."""
    return _recipe("twelvescenes", _RESNET34)


def twelvescenes_densenet121() -> Recipe:
    """Scene geometry on 12Scenes with DenseNet-121: Table II, row 12 (mean of the scenes)."""
    return _recipe("twelvescenes", _DENSENET121)


_DataSet = Literal["cambridge", "sevenscenes", "twelvescenes"]


def _recipe(layout: _DataSet, config: SceneGeometryConfig | None = None) -> Recipe:
    config = config or SceneGeometryConfig()
    outdoors = layout == "cambridge"
    return Recipe(
        model="scene_geometry",
        config=replace(config, depth_range=(0.1, 600.0)) if outdoors else config,
        preprocess=_WIDE if outdoors else _STANDARD,
        stages=(Stage(epochs=400, learning_rate=1e-4, weight_decay=5e-4),),
        augment=Augment(roll_degrees=30.0, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
        batch_size=8,
        validate_every=5,
        layout=layout,
    )
