"""Masks of objects that do not belong to a scene: a network names the class of every pixel.

Source: "Implicit Learning of Scene Geometry" 2023, Table III, "Rigid + Filter Dynamic" and "+ Others". The
paper takes InternImage; any of torchvision's segmentation networks does here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.transforms.v2.functional import normalize, resize_image

from camloc.errors import RecipeError

# The input of torchvision's segmentation networks, in training and tests: the length of its shorter side, and
# the mean and deviation of ImageNet's colours. The longer side is at most LONGEST times the shorter.
SHORT_SIDE = 520
LONGEST = 4
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Classes of Pascal VOC and Cityscapes that move or are moved, and so may be absent in other images.
MOVING = (
    *("person", "rider", "bird", "cat", "cow", "dog", "horse", "sheep"),
    *("bicycle", "motorbike", "motorcycle", "car", "bus", "truck", "train", "aeroplane", "boat"),
)

# What Table III's "+ Others" leaves out besides: classes that look alike everywhere, or change with seasons.
UNINFORMATIVE = ("sky", "vegetation", "tree", "palm")

# Words for several classes, in place of their names.
GROUPS = {"dynamic": MOVING, "others": MOVING + UNINFORMATIVE}

# Classes of weights trained on other data than the published ones, in the order of the outputs.
CLASS_LISTS = {
    "cityscapes": (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
        *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
        *("motorcycle", "bicycle"),
    )
}


def network_names() -> tuple[str, ...]:
    """torchvision's segmentation networks."""
    return tuple(models.list_models(module=models.segmentation))


def published_classes(network: str) -> tuple[str, ...]:
    """The classes of the published weights of a network, in the order of its outputs.

    Raises:
        RecipeError: there is no such network.
    """
    _known(network)
    return tuple(models.get_model_weights(network).DEFAULT.meta["categories"])


def segmentation_network(network: str, *, classes: int) -> nn.Module:
    """A network with random weights, in evaluation mode.

    Raises:
        RecipeError: there is no such network.
    """
    _known(network)
    built: nn.Module = models.get_model(network, weights=None, weights_backbone=None, num_classes=classes)
    return built.eval()


def left_out_numbers(classes: Sequence[str], leave_out: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the classes whose pixels are masked.

    Args:
        classes: names of the outputs.
        leave_out: names among them, or words of `GROUPS`; without any, all classes of `MOVING`.

    Raises:
        RecipeError: the network has no class of one of these names, no class of `MOVING`, or for "others" no
            class of `UNINFORMATIVE`.
    """
    if "others" in leave_out and not any(name in classes for name in UNINFORMATIVE):
        raise RecipeError(
            f"the network knows neither sky nor vegetation, but {', '.join(classes)}; take weights that do, "
            f"such as some trained on Cityscapes, with --classes cityscapes"
        )
    leave_out = [
        name
        for word in leave_out
        for name in ([each for each in GROUPS[word] if each in classes] if word in GROUPS else [word])
    ]
    for name in leave_out:
        if name not in classes:
            near = get_close_matches(name, classes, n=3) or list(classes)
            raise RecipeError(f"the network knows no '{name}' that could be left out, but {', '.join(near)}")
    wanted = leave_out or [name for name in MOVING if name in classes]
    if not wanted:
        raise RecipeError(
            f"the network has no class of things that move; name with --leave-out those to exclude of "
            f"{', '.join(classes)}"
        )
    return tuple(number for number, name in enumerate(classes) if name in wanted)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A network that says which pixels of an image belong to the scene.

    Attributes:
        network: gives `{"out": (b, c, h, w)}` scores of classes for images in ImageNet's colours, as
            torchvision's networks do.
        left_out: numbers of the classes that do not belong to the scene.
        device: where the network is.
    """

    network: nn.Module
    left_out: tuple[int, ...]
    device: torch.device

    @torch.inference_mode()
    def belonging(self, image: UInt8[Tensor, "3 height width"]) -> Bool[Tensor, "height width"]:
        """True where an upright image shows the scene, False where it shows something left out."""
        height, width = image.shape[1:]
        colours = image.to(self.device).float() / 255.0
        scale = min(SHORT_SIDE / min(height, width), LONGEST * SHORT_SIDE / max(height, width))
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        seen = normalize(resize_image(colours, size, antialias=True), _MEAN, _DEVIATION)
        scores: Float[Tensor, "1 c h w"] = self.network(seen.unsqueeze(0))["out"]
        classes = scores.argmax(1, keepdim=True).float()
        numbers = F.interpolate(classes, (height, width), mode="nearest-exact")[0, 0].long()
        return ~torch.isin(numbers, torch.tensor(self.left_out, device=self.device)).cpu()


def _known(network: str) -> None:
    names = network_names()
    if network not in names:
        raise RecipeError(f"torchvision has no segmentation network '{network}'; it has {', '.join(names)}")
