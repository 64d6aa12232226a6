"""The card of an exported run: its contents, its measured errors, and the licences of its parts."""

from collections.abc import Sequence

from camloc import __version__
from camloc.mapping.scene_map import SceneMap
from camloc.models.metadata import Metadata

# The papers of the models; HyperPose of 2023 and of 2025 are two.
_HYPERPOSE_2025 = (
    "Ferens and Keller, HyperPose: Hypernetwork-Infused Camera Pose Localization and an Extended Cambridge "
    "Landmarks Dataset, 2025"
)
_AUTO_ENCODERS = "Shavit and Keller, Camera Pose Auto-Encoders for Improving Pose Regression, ECCV 2022"
_TRANSPOSENET = (
    "Shavit, Ferens and Keller, Paying Attention to Activation Maps in Camera Pose Regression, 2021"
)
_PAPERS = {
    "atloc": "Wang et al., AtLoc: Attention Guided Camera Localization, AAAI 2020",
    "hyperpose": _HYPERPOSE_2025,
    "hyperpose_2023": (
        "Ferens and Keller, HyperPose: Camera Pose Localization using Attention Hypernetworks, 2023"
    ),
    "mapnet": "Brahmbhatt et al., Geometry-Aware Learning of Maps for Camera Localization, CVPR 2018",
    "ms_hyperpose": _HYPERPOSE_2025,
    "ms_transformer": (
        "Shavit, Ferens and Keller, Learning Multi-Scene Absolute Pose Regression with Transformers, "
        "ICCV 2021"
    ),
    "ms_transposenet": _TRANSPOSENET,
    "posenet": _AUTO_ENCODERS,
    "scene_geometry": (
        "Altillawi et al., Implicit Learning of Scene Geometry from Poses for Global Localization, IEEE "
        "Robotics and Automation Letters, 2023"
    ),
    "transposenet": _TRANSPOSENET,
}

_HEADER = """---
library_name: camloc
license: other
license_name: see-below
tags: [camera-localization, visual-localization, pose-estimation]
---
"""


def card(metadata: Metadata | None, maps: Sequence[SceneMap]) -> str:
    """The card in Markdown, with the header that model hubs read."""
    lines = [_HEADER, "# Localizer", "", f"Exported by camloc {__version__}. To use it:", ""]
    lines += ["    pip install camloc", "    camloc locate FOLDER IMAGE.jpg", ""]
    if metadata is not None:
        size = metadata.preprocess
        lines += [
            "## Network",
            "",
            f"- Model: {metadata.model}" + (f", recipe {metadata.recipe}" if metadata.recipe else ""),
            f"- Input: images of {size.width} x {size.height} pixels",
            f"- Initial weights of the backbone: {metadata.backbone_weights}",
            *(_network_line(metadata, number) for number in range(len(metadata.scenes))),
            "",
        ]
    if maps:
        lines += ["## Maps", "", *map(_map_line, maps), ""]
    lines += [
        "Poses are `world_from_cam`: camera axes right, down, forward. A pose is verified if a map confirms",
        "it; errors of other scenes, lights and cameras than those of the training images are not known.",
        "",
        "## Licences and citation",
        "",
        "- camloc is Apache-2.0. It cannot say what the training images may be used for: add their licence.",
    ]
    if metadata is not None:
        lines += [f"- {_weights_licence(metadata.backbone_weights)}"]
        if metadata.model in _PAPERS:
            lines += [f"- Please cite: {_PAPERS[metadata.model]}."]
    if maps:
        lines += ["- The map holds descriptors and positions of points, no images."]
    return "\n".join(lines) + "\n"


def _weights_licence(source: str) -> str:
    """The licence of a backbone's initial weights, as far as it is known."""
    if source == "none":
        return "The backbone was trained from random weights: no one else's licence."
    if source.startswith("hub: "):
        name = source.removeprefix("hub: ")
        return (
            f"The backbone was initialized with timm's weights {name}: Apache-2.0 or what their page says; "
            "most were trained on ImageNet, whose images are for non-commercial research."
        )
    return (
        f"The backbone was initialized with the file {source}: its licence applies too; torchvision's "
        "weights are BSD-3-Clause, and most were trained on ImageNet, whose images are for non-commercial "
        "research."
    )


def _network_line(metadata: Metadata, number: int) -> str:
    error = metadata.expected_error_in(number)
    known = "not validated"
    if error is not None:
        unit = metadata.unit_in(number)
        known = f"median error {error.meters:.3f} {unit}, {error.degrees:.2f}° on held-out images"
    return f"- Scene {metadata.scenes[number]}: {known}"


def _map_line(scene_map: SceneMap) -> str:
    calibrated = scene_map.calibration.frames
    return (
        f"- Scene {scene_map.scene}: {len(scene_map):,} points of {len(scene_map.frame_names):,} images, "
        + (f"calibrated on {calibrated:,} held-out images" if calibrated else "not calibrated")
    )
