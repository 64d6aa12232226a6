"""The convolutional network in front, from timm: any of its architectures, cut where it is tapped."""

from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camloc.errors import RecipeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BackboneConfig:
    """Which network of timm, and what images it was trained on.

    Attributes:
        name: timm's name of the architecture.
        options: keyword arguments for its constructor, such as `{"pad_type": "same"}`.
        mean, deviation: subtracted from and divided into RGB in [0, 1] before the first layer.
        local_contrast: side in pixels of the window whose own mean and deviation are taken instead, so
            that lamps, shade and the colour of the light matter less; 0 for none.
    """

    name: str = "efficientnet_b0"
    options: dict[str, str | float | int | bool | tuple[int, ...]] = field(default_factory=dict)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    deviation: tuple[float, float, float] = IMAGENET_DEVIATION
    local_contrast: int = 0


# ImageNet weights that came from TensorFlow see RGB in [-1, 1] and images padded "same".
MOBILENETV2_TENSORFLOW = BackboneConfig(
    "mobilenetv2_100", {"pad_type": "same"}, mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5)
)


# The tap behind everything, with the convolution that some architectures put there (1280 channels for
# EfficientNet-B0 and MobileNetV2).
FINAL = -1

# In pixels of the image. A map of this stride shows what things there are, and is not about one scene alone
# when the network has learned that.
MIDDLE_STRIDE = 16


class Backbone(nn.Module):
    """A timm network without its classifier, ending in the maps that are used and nothing after.

    `taps` are the stages whose maps are wanted (timm's numbering, 0 = stride 2), in the order in which the
    maps are given; one may be wanted twice. The network is cut after the last of them. `FINAL` is the map
    before pooling.

    Attributes:
        channels: of the map of each tap.
        strides: of the map of each tap but the final one, in pixels of the image.
        middle: name of the part of the network whose map, of `MIDDLE_STRIDE`, is seen beside those of the
            taps where an image is to be recognised; "" where there is none.
        novelty_channels: of what `sights` gives, all together.
    """

    def __init__(self, config: BackboneConfig, *, taps: tuple[int, ...] = (FINAL,)) -> None:
        super().__init__()
        self.config = config
        stages = tuple(sorted(set(taps) - {FINAL}))
        self.taps, self.stages = taps, stages
        network: Any = _without_classifier(config) if FINAL in taps else _cut_after(config, stages)
        self.network = network
        shapes = _stage_shapes(network, stages) if stages else {}
        self.channels = tuple(int(network.num_features) if tap == FINAL else shapes[tap][0] for tap in taps)
        self.strides = tuple(shapes[tap][1] for tap in taps if tap != FINAL)
        self.middle, channels = _middle(network, taps)
        self.novelty_channels = channels + sum(self.channels)
        self.contrast = LocalContrast(config.local_contrast) if config.local_contrast else None
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(config.deviation).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Maps of RGB images in [0, 1], one for each tap."""
        return self.maps(self.normalised(images))

    def feature_maps(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b _ _ _"]], list[Float[Tensor, "b _ _ _"]]]:
        """Maps of RGB images in [0, 1], one for each tap, and all maps that an image is recognised by."""
        if not self.middle:
            maps = self(images)
            return maps, maps
        seen: list[Tensor] = []
        mine = get_ident()

        def look(_part: nn.Module, _given: Any, found: Tensor) -> None:
            if get_ident() == mine:  # another thread may ask the same network
                seen.append(found)

        handle = self.network.get_submodule(self.middle).register_forward_hook(look)
        try:
            maps = self(images)
        finally:
            handle.remove()
        return maps, [*seen, *maps]

    def normalised(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Images as the network sees them."""
        if self.contrast is not None:
            return self.contrast(images)  # type: ignore[no-any-return]
        return (images - self.get_buffer("mean")) / self.get_buffer("deviation")

    def maps(self, seen: Any) -> list[Any]:
        """Maps of normalised images (b, 3, h, w), one for each tap.

        Not annotated with shapes, for `backbone_split` calls it with what stands for a tensor.
        """
        network: Any = self.network
        if FINAL not in self.taps:
            maps = dict(zip(self.stages, network(seen), strict=True))
        elif self.stages:
            final, stages = network.forward_intermediates(seen, indices=list(self.stages))
            maps = {FINAL: final, **dict(zip(self.stages, stages, strict=True))}
        else:
            maps = {FINAL: network(seen)}
        return [maps[tap] for tap in self.taps]


class LocalContrast(nn.Module):
    """Each colour relative to the mean and deviation of the pixels around.

    What is left of a wall is the same in the sun, in the shade and under a lamp. The statistics are those
    of overlapping windows half a window apart, interpolated between: as local contrast normalisation
    (Jarrett et al. 2009), at the price of two small poolings.
    """

    # Added to the deviation, so that the noise of an even sky is not blown up: four grey levels of a hundred.
    FLOOR = 0.04

    def __init__(self, window: int) -> None:
        super().__init__()
        self.step = max(1, window // 2)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Images of the same size, each colour of a mean near 0 and a deviation of at most 1."""
        centred = images - self._around(images)
        return centred / (self._around(centred.square()).sqrt() + self.FLOOR)

    def _around(self, values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Means over windows, at every pixel."""
        means = F.avg_pool2d(
            values, 2 * self.step, self.step, padding=self.step // 2, count_include_pad=False, ceil_mode=True
        )
        return F.interpolate(means, values.shape[-2:], mode="bilinear", align_corners=False)


def _without_classifier(config: BackboneConfig) -> nn.Module:
    return _create(config, num_classes=0, global_pool="")


def _cut_after(config: BackboneConfig, taps: tuple[int, ...]) -> nn.Module:
    # Where strides become dilation only the architectures' own wrappers all take the option; otherwise
    # the getter, which alone leaves out what lies behind the last tap.
    wrapper = {} if "output_stride" in config.options else {"feature_cls": "getter"}
    return _create(config, features_only=True, out_indices=taps, **wrapper)


def _stage_shapes(network: Any, stages: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """(channels, stride) of the maps of stages."""
    info = network.feature_info
    if isinstance(info, list):  # of a network that was not cut
        return {stage: (info[stage]["num_chs"], info[stage]["reduction"]) for stage in stages}
    return dict(zip(stages, zip(info.channels(), info.reduction(), strict=True), strict=True))


def _middle(network: Any, taps: tuple[int, ...]) -> tuple[str, int]:
    """The name and the channels of the part of a network that gives its map of `MIDDLE_STRIDE`.

    ("", 0) where a tap gives that map, or a later one that is not final, or all maps have one stride.
    """
    stages = network.feature_info
    if not isinstance(stages, list):  # of a network that was cut, whose taps are all that there is of it
        return "", 0
    for number, stage in enumerate(stages):
        if stage["reduction"] >= MIDDLE_STRIDE:
            is_middle = number > 0 and stage["reduction"] == MIDDLE_STRIDE and max(taps) < number
            return (stage["module"], stage["num_chs"]) if is_middle else ("", 0)
    return "", 0


def _create(config: BackboneConfig, **arguments: Any) -> nn.Module:
    if not timm.is_model(config.name):
        near = timm.list_models(f"*{config.name.split('_')[0]}*")[:5]
        hint = f"; similar ones are {', '.join(near)}" if near else ""
        raise RecipeError(f"timm has no network '{config.name}'{hint}")
    options: dict[str, Any] = {**config.options, **arguments}
    try:
        return timm.create_model(config.name, pretrained=False, **options)
    except (TypeError, AssertionError, RuntimeError) as problem:
        reason = " ".join(str(problem).split())
        raise RecipeError(f"timm cannot build '{config.name}' with {config.options}: {reason}") from None


class LowerPart(nn.Module):
    """From images to their maps behind a cut.

    Its weights are the backbone's own.

    Attributes:
        config: of the backbone.
        operations: how many the cut comes after.
    """

    def __init__(self, backbone: Backbone, cut: str) -> None:
        """`cut` is one of `frozen_cuts`."""
        super().__init__()
        root, graph = _drawn(backbone)
        end = _node(graph, cut)
        before = {*_ancestors(end), end}
        lower = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for node in graph.nodes:
            if node in before:
                copies[node] = lower.node_copy(node, copies.__getitem__)
        lower.output(copies[end])
        self.normalised = backbone.normalised
        self.network = fx.GraphModule(root, lower)
        self.config, self.operations = backbone.config, len(lower.nodes)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b _ _ _"]:
        """Maps of RGB images in [0, 1]."""
        return self.network(self.normalised(images))  # type: ignore[no-any-return]


class UpperPart(nn.Module):
    """From the maps behind a cut to those of the backbone's taps.

    Its weights are the backbone's own. What asks in its own code whether it trains is told what was so when
    this was made.
    """

    def __init__(self, backbone: Backbone, cut: str) -> None:
        """`cut` is one of `frozen_cuts`."""
        super().__init__()
        root, graph = _drawn(backbone)
        end = _node(graph, cut)
        before = {*_ancestors(end), end}
        upper = fx.Graph()
        copies = {end: upper.placeholder("maps")}
        for node in graph.nodes:
            if node not in before:
                copies[node] = upper.node_copy(node, copies.__getitem__)
        self.network = fx.GraphModule(root, upper)

    def forward(self, maps: Float[Tensor, "b _ _ _"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Maps of the taps, as `Backbone` gives them for the images."""
        return self.network(maps)  # type: ignore[no-any-return]


def frozen_cuts(backbone: Backbone) -> tuple[str, ...]:
    """Where the backbone can be cut so that all before the cut stands still as it is now, first to last.

    Still is what has no weight that trains, no statistics that are counted and nothing random.

    Raises:
        RecipeError: the network has no graph that does not depend on the image.
    """
    _, graph = _drawn(backbone)
    modules = dict(_Outline(backbone).named_modules())
    return tuple(node.name for node in graph.nodes if _is_cut(node, graph) and _stands_still(node, modules))


def _is_cut(node: fx.Node, graph: fx.Graph) -> bool:
    """Whether all that is after a node knows of the image what the node tells."""
    if node.op in ("placeholder", "get_attr", "output"):
        return False
    earlier = _ancestors(node)
    return bool(earlier) and not any(
        source in earlier
        for later in graph.nodes
        if later not in earlier and later is not node
        for source in later.all_input_nodes
    )


def _stands_still(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    for each in (*_ancestors(node), node):
        match each.op:
            case "call_module":
                if _moves(modules[str(each.target)]):
                    return False
            case "call_function" if each.kwargs.get("training"):  # dropout without a module
                return False
            case "get_attr":
                owner, _, name = str(each.target).rpartition(".")
                if getattr(modules[owner], name).requires_grad:
                    return False
    return True


_RANDOM = (nn.modules.dropout._DropoutNd, DropPath)


def _moves(module: nn.Module) -> bool:
    """Whether a module's answer may be another one at the next step."""
    if any(parameter.requires_grad for parameter in module.parameters()):
        return True
    return any(
        part.training and (isinstance(part, _RANDOM) or any(True for _ in part.buffers(recurse=False)))
        for part in module.modules()
    )


class _Outline(nn.Module):
    """A backbone without its normalisation of images, which looks at their size."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, seen: Any) -> Any:
        """Maps of the taps."""
        return self.backbone.maps(seen)


class _Blocks(fx.Tracer):
    """Looks into containers and into timm's wrappers, and takes every other module as one block."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one block."""
        if module_qualified_name == "backbone.network":
            return False
        return not isinstance(m, (nn.Sequential, nn.ModuleList, nn.ModuleDict))


def _drawn(backbone: Backbone) -> tuple[_Outline, fx.Graph]:
    outline = _Outline(backbone)
    try:
        return outline, _Blocks().trace(outline)
    except Exception as problem:  # of any kind: networks were not written to be drawn
        reason = " ".join(str(problem).split())
        raise RecipeError(
            f"'{backbone.config.name}' cannot be cut into a part that stands still and the rest ({reason}); "
            f"set cached_variants to 0, or take a convolutional network"
        ) from None


def _node(graph: fx.Graph, name: str) -> fx.Node:
    nodes: dict[str, fx.Node] = {node.name: node for node in graph.nodes}
    return nodes[name]


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(node.all_input_nodes)
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(each.all_input_nodes)
    return found
