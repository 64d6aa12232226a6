"""Implicit Learning of Scene Geometry (Altillawi et al., RA-L 2023): Tables I and II.

Adam at 1e-4 with decay 5e-4 for 400 epochs, colour changes and turns of the image by up to 30 degrees,
images 480 high, a grid of 1/8 of that (section IV-B). The paper does not give the size of a batch: 8
here. It trains from random weights; `--backbone-weights` starts from others.
"""

from dataclasses import replace

from camloc.data.augment import Augment
from camloc.data.image_io import Preprocess
from camloc.models.layers.backbone import BackboneConfig
from camloc.models.losses import GeometryLossConfig
from camloc.models.scene_geometry import SceneGeometryConfig
from camloc.recipes import CAMBRIDGE, SEVENSCENES
from camloc.training.recipe import Published, Recipe, Stage

# Cambridge images are 16:9, those of 7Scenes 4:3; widths are multiples of 32.
_WIDE = Preprocess(832, 480, undistort=True)
_STANDARD = Preprocess(640, 480, undistort=True)


def cambridge() -> Recipe:
    """Scene geometry on Cambridge Landmarks with MobileNetV3: Table I, "Ours, MobileNetV3"."""
    errors = ((0.46, 0.81), (0.61, 1.09), (0.44, 1.71), (0.87, 2.88))
    return _outdoor(SceneGeometryConfig(depth_range=(0.1, 600.0)), _rows(CAMBRIDGE, errors, "MobileNetV3"))


def cambridge_resnet34() -> Recipe:
    """Scene geometry on Cambridge Landmarks with ResNet-34: Table I, "Ours, ResNet34"."""
    errors = ((0.48, 0.84), (0.67, 1.14), (0.47, 1.91), (0.90, 3.05))
    config = SceneGeometryConfig(BackboneConfig("resnet34", {"output_stride": 8}), depth_range=(0.1, 600.0))
    return _outdoor(config, _rows(CAMBRIDGE, errors, "ResNet34"))


def sevenscenes() -> Recipe:
    """Scene geometry on 7Scenes with MobileNetV3: Table I, "Ours, MobileNetV3"."""
    errors = (
        (0.05, 1.42), (0.16, 4.57), (0.09, 6.14), (0.13, 3.46), (0.12, 2.48), (0.10, 2.51), (0.17, 3.48)
    )  # fmt: skip
    return _indoor(SceneGeometryConfig(), _rows(SEVENSCENES, errors, "MobileNetV3"))


def sevenscenes_resnet34() -> Recipe:
    """Scene geometry on 7Scenes with ResNet-34: Table I, "Ours, ResNet34"."""
    errors = (
        (0.05, 1.86), (0.14, 4.15), (0.09, 5.29), (0.14, 3.61), (0.11, 2.78), (0.10, 2.66), (0.19, 4.14)
    )  # fmt: skip
    config = SceneGeometryConfig(BackboneConfig("resnet34", {"output_stride": 8}))
    return _indoor(config, _rows(SEVENSCENES, errors, "ResNet34"))


def sevenscenes_pose_loss() -> Recipe:
    """Scene geometry on 7Scenes, pose loss alone: Table II, row 1 (mean of the scenes)."""
    return _ablation(GeometryLossConfig(consistency=0.0, reprojection=0.0), 0.138, 3.88, "row 1")


def sevenscenes_pose_and_reprojection() -> Recipe:
    """Scene geometry on 7Scenes, pose and reprojection losses: Table II, row 2 (mean of the scenes)."""
    return _ablation(GeometryLossConfig(consistency=0.0), 0.119, 3.49, "row 2")


def sevenscenes_pose_and_consistency() -> Recipe:
    """Scene geometry on 7Scenes, pose and consistency losses: Table II, row 3 (mean of the scenes)."""
    return _ablation(GeometryLossConfig(reprojection=0.0), 0.118, 3.49, "row 3")


def sevenscenes_quarter() -> Recipe:
    """Scene geometry on 7Scenes on a grid of 1/4 of the image: Table II, row 5 (mean of the scenes)."""
    backbone = BackboneConfig("mobilenetv3_large_100")
    # No stride of MobileNetV3 can be exchanged for 4: the maps of its stages are stacked at stride 4.
    config = SceneGeometryConfig(backbone, taps=(1, 2, 3, 4), stride=4)
    return _indoor(config, (Published("mean", 0.115, 3.13, "Table II, row 5"),))


def sevenscenes_sixteenth() -> Recipe:
    """Scene geometry on 7Scenes on a grid of 1/16 of the image: Table II, row 7 (mean of the scenes)."""
    backbone = BackboneConfig("mobilenetv3_large_100", {"output_stride": 16})
    config = SceneGeometryConfig(backbone, stride=16)
    return _indoor(config, (Published("mean", 0.134, 4.15, "Table II, row 7"),))


def sevenscenes_direct_points() -> Recipe:
    """Scene geometry on 7Scenes, points instead of depths: Table II, row 8 (mean of the scenes)."""
    config = SceneGeometryConfig(camera_points="direct")
    return _indoor(config, (Published("mean", 0.131, 4.03, "Table II, row 8"),))


def sevenscenes_hrnet() -> Recipe:
    """Scene geometry on 7Scenes with HRNetV2: Table II, row 10 (mean of the scenes)."""
    config = SceneGeometryConfig(BackboneConfig("hrnet_w18"), taps=(1, 2, 3, 4))
    return _indoor(config, (Published("mean", 0.131, 3.78, "Table II, row 10"),))


def sevenscenes_densenet121() -> Recipe:
    """Scene geometry on 7Scenes with DenseNet-121: Table II, row 12 (mean of the scenes)."""
    config = SceneGeometryConfig(BackboneConfig("densenet121"), taps=(2, 3, 4))
    return _indoor(config, (Published("mean", 0.121, 3.52, "Table II, row 12"),))


def twelvescenes() -> Recipe:
    """Scene geometry on 12Scenes with MobileNetV3: Table II, rows 4 and 13 (mean of the scenes)."""
    return _twelvescenes(sevenscenes(), 0.061, 2.33, "rows 4 and 13")


def twelvescenes_pose_loss() -> Recipe:
    """Scene geometry on 12Scenes, pose loss alone: Table II, row 1 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_pose_loss(), 0.067, 2.48, "row 1")


def twelvescenes_pose_and_reprojection() -> Recipe:
    """Scene geometry on 12Scenes, pose and reprojection losses: Table II, row 2 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_pose_and_reprojection(), 0.063, 2.41, "row 2")


def twelvescenes_pose_and_consistency() -> Recipe:
    """Scene geometry on 12Scenes, pose and consistency losses: Table II, row 3 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_pose_and_consistency(), 0.066, 2.34, "row 3")


def twelvescenes_quarter() -> Recipe:
    """Scene geometry on 12Scenes on a grid of 1/4 of the image: Table II, row 5 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_quarter(), 0.06, 2.31, "row 5")


def twelvescenes_sixteenth() -> Recipe:
    """Scene geometry on 12Scenes on a grid of 1/16 of the image: Table II, row 7 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_sixteenth(), 0.068, 2.65, "row 7")


def twelvescenes_direct_points() -> Recipe:
    """Scene geometry on 12Scenes, points instead of depths: Table II, row 8 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_direct_points(), 0.064, 2.57, "row 8")


def twelvescenes_hrnet() -> Recipe:
    """Scene geometry on 12Scenes with HRNetV2: Table II, row 10 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_hrnet(), 0.068, 2.61, "row 10")


def twelvescenes_resnet34() -> Recipe:
    """Scene geometry on 12Scenes with ResNet-34: Table II, row 11 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_resnet34(), 0.064, 2.49, "row 11")


def twelvescenes_densenet121() -> Recipe:
    """Scene geometry on 12Scenes with DenseNet-121: Table II, row 12 (mean of the scenes)."""
    return _twelvescenes(sevenscenes_densenet121(), 0.062, 2.43, "row 12")


def cambridge_no_filtering() -> Recipe:
    """Scene geometry on Cambridge Landmarks, cells of equal weight: Table III, "Rigid + No Filtering"."""
    errors = ((0.55, 0.87), (0.79, 1.63), (0.59, 2.32), (1.13, 3.55))
    config = SceneGeometryConfig(depth_range=(0.1, 600.0), weights="alike")
    return _outdoor(config, Published.of_scenes(CAMBRIDGE, errors, "Table III, Rigid + No Filtering"))


def _rows(
    scenes: tuple[str, ...], errors: tuple[tuple[float, float], ...], backbone: str
) -> tuple[Published, ...]:
    return Published.of_scenes(scenes, errors, f"Table I, Ours, {backbone}")


def _ablation(losses: GeometryLossConfig, meters: float, degrees: float, row: str) -> Recipe:
    return _indoor(
        SceneGeometryConfig(losses=losses), (Published("mean", meters, degrees, f"Table II, {row}"),)
    )


def _twelvescenes(recipe: Recipe, meters: float, degrees: float, row: str) -> Recipe:
    """A row of 7Scenes on 12Scenes, whose images have the same shape."""
    published = (Published("mean", meters, degrees, f"Table II, {row}"),)
    return replace(recipe, layout="twelvescenes", published=published)


def _indoor(config: SceneGeometryConfig, published: tuple[Published, ...]) -> Recipe:
    return Recipe(
        model="scene_geometry",
        config=config,
        preprocess=_STANDARD,
        stages=(Stage(epochs=400, learning_rate=1e-4, weight_decay=5e-4),),
        augment=Augment(roll_degrees=30.0, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
        batch_size=8,
        validate_every=5,
        layout="sevenscenes",
        published=published,
    )


def _outdoor(config: SceneGeometryConfig, published: tuple[Published, ...]) -> Recipe:
    return replace(_indoor(config, published), preprocess=_WIDE, layout="cambridge")
