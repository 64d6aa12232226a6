"""The convolutional network in front of the heads: any architecture of timm, without unused layers.

Where the first layers of a backbone are frozen, it can be split: `BackbonePrefix` computes the feature maps
at a cut (`frozen_cuts`) once, for the cache of features, and `BackboneSuffix` computes the maps of the taps
from them.
"""

from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camloc.errors import RecipeError, one_line
from camloc.models.layers.timm_without_compiler import DropPath, timm

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


# The options of architectures that settings may give. Others of timm's open files, such as `checkpoint_path`.
BACKBONE_OPTIONS = (
    "bn_momentum", "channels", "drop_path_rate", "drop_rate", "img_size", "output_stride", "pad_type",
)  # fmt: skip


@dataclass(frozen=True)
class BackboneConfig:
    """The architecture and the normalisation of its input.

    Attributes:
        name: timm's name of the architecture.
        options: keyword arguments for its constructor, such as `{"pad_type": "same"}`; one of
            `BACKBONE_OPTIONS`.
        mean, deviation: subtracted from and divided into RGB in [0, 1] before the first layer.
        local_contrast: side in pixels of the window whose own mean and deviation are used instead, which
            makes the input less sensitive to lamps, shade and the colour of the light; 0 for none.
    """

    name: str = "efficientnet_b0"
    options: dict[str, str | float | int | bool | tuple[int, ...]] = field(default_factory=dict)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    deviation: tuple[float, float, float] = IMAGENET_DEVIATION
    local_contrast: int = 0


# ImageNet weights converted from TensorFlow expect RGB in [-1, 1] and "same" padding.
MOBILENETV2_TENSORFLOW = BackboneConfig(
    "mobilenetv2_100", {"pad_type": "same"}, mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5)
)


# EfficientNet-B0 as the papers' authors published their networks with it: TensorFlow's padding, which depends
# on the size of a map, its epsilon of batch norms (1e-3, part of the architecture) and its momentum (0.99, in
# torch's terms 0.01), and blocks dropped at random in training. Another padding and epsilon change what the
# published weights give by up to 600 %.
RELEASED_OPTIONS: dict[str, str | float | int | bool | tuple[int, ...]] = {
    "bn_momentum": 0.01,
    "drop_path_rate": 0.2,
}
EFFICIENTNET_B0_RELEASED = BackboneConfig("tf_efficientnet_b0", dict(RELEASED_OPTIONS))


# The last tap: the map before pooling, behind the 1 x 1 convolution that some architectures end with (1280
# channels for EfficientNet-B0 and MobileNetV2).
FINAL = -1

# Stride in pixels of the stage that novelty detection reads beside the taps. Its features stay general when
# the network is trained on one scene.
MIDDLE_STRIDE = 16


class Backbone(nn.Module):
    """A timm network without its classifier and without the layers behind its last tap.

    Args:
        config: the architecture.
        taps: the stages whose maps are returned (timm's numbering, 0 = stride 2; `FINAL` for the map before
            pooling), in the order of the returned maps. A stage may be listed twice.

    Attributes:
        channels: of each tap's map.
        strides: of each tap's map but the final one, in pixels of the image.
        middle: name of the submodule whose output, of stride `MIDDLE_STRIDE`, is a novelty map beside the
            taps' maps; "" if there is none.
        novelty_channels: total channels of the novelty maps.
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
        """Compute the feature maps of RGB images in [0, 1], one for each tap."""
        return self.maps(self.normalised(images))

    def forward_with_novelty_maps(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b _ _ _"]], list[Float[Tensor, "b _ _ _"]]]:
        """Compute the feature maps, one for each tap, and the maps that novelty detection reads.

        The latter are the map of the middle stage, if there is one, and the taps' maps.
        """
        if not self.middle:
            feature_maps = self(images)
            return feature_maps, feature_maps
        middle_maps: list[Tensor] = []
        this_thread = get_ident()

        def keep_output(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if get_ident() == this_thread:  # another thread may run the same network
                middle_maps.append(output)

        handle = self.network.get_submodule(self.middle).register_forward_hook(keep_output)
        try:
            feature_maps = self(images)
        finally:
            handle.remove()
        return feature_maps, [*middle_maps, *feature_maps]

    def normalised(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Normalise RGB images in [0, 1] for the network."""
        if self.contrast is not None:
            return self.contrast(images)  # type: ignore[no-any-return]
        return (images - self.get_buffer("mean")) / self.get_buffer("deviation")

    def maps(self, normalised: Any) -> list[Any]:
        """Compute the feature maps of normalised images (b, 3, h, w), one for each tap.

        Not annotated with shapes, because `_trace` calls it with a proxy of a tensor.
        """
        network: Any = self.network
        if FINAL not in self.taps:
            maps = dict(zip(self.stages, network(normalised), strict=True))
        elif self.stages:
            final, stages = network.forward_intermediates(normalised, indices=list(self.stages))
            maps = {FINAL: final, **dict(zip(self.stages, stages, strict=True))}
        else:
            maps = {FINAL: network(normalised)}
        return [maps[tap] for tap in self.taps]


class LocalContrast(nn.Module):
    """Local contrast normalisation: each colour relative to the mean and deviation of the surrounding pixels.

    A wall then looks the same in the sun, in the shade and under a lamp. Statistics are computed in
    overlapping windows half a window apart and interpolated between them, which costs two small poolings.

    Source: Jarrett et al. 2009.
    """

    # Added to the deviation so that the noise of a uniform sky is not amplified; the range of a colour is 1.
    FLOOR = 0.04

    def __init__(self, window: int) -> None:
        super().__init__()
        self.step = max(1, window // 2)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise images of any size; each colour has a mean near 0 and a deviation of at most 1."""
        centred = images - self._around(images)
        return centred / (self._around(centred.square()).sqrt() + self.FLOOR)

    def _around(self, values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Mean of the window around every pixel."""
        means = F.avg_pool2d(
            values, 2 * self.step, self.step, padding=self.step // 2, count_include_pad=False, ceil_mode=True
        )
        return F.interpolate(means, values.shape[-2:], mode="bilinear", align_corners=False)


def _without_classifier(config: BackboneConfig) -> nn.Module:
    return _create(config, num_classes=0, global_pool="")


def _cut_after(config: BackboneConfig, taps: tuple[int, ...]) -> nn.Module:
    # With `output_stride`, only each architecture's own wrapper accepts the option. Otherwise the getter is
    # used, because only it leaves out the layers behind the last tap.
    wrapper = {} if "output_stride" in config.options else {"feature_cls": "getter"}
    return _create(config, features_only=True, out_indices=taps, **wrapper)


def _stage_shapes(network: Any, stages: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """(channels, stride) of the stages' maps."""
    info = network.feature_info
    if isinstance(info, list):  # the network is not cut
        return {stage: (info[stage]["num_chs"], info[stage]["reduction"]) for stage in stages}
    return dict(zip(stages, zip(info.channels(), info.reduction(), strict=True), strict=True))


def _middle(network: Any, taps: tuple[int, ...]) -> tuple[str, int]:
    """The name and the channels of the submodule whose output has the stride `MIDDLE_STRIDE`.

    ("", 0) if a tap is at that stage or at a later one that is not final, or if no other stage has that
    stride.
    """
    stages = network.feature_info
    if not isinstance(stages, list):  # the network is cut and has no stages but its taps
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
    for option in config.options:
        if option not in BACKBONE_OPTIONS:
            raise RecipeError(
                f"the backbone has no option '{option}'; its options are {', '.join(BACKBONE_OPTIONS)}"
            )
    options: dict[str, Any] = {**config.options, **arguments}
    try:
        return timm.create_model(config.name, pretrained=False, **options)
    except (TypeError, AssertionError, RuntimeError) as problem:
        reason = one_line(problem)
        raise RecipeError(f"timm cannot build '{config.name}' with {config.options}: {reason}") from None


class BackbonePrefix(nn.Module):
    """The layers of a backbone up to a cut; shares the backbone's weights.

    Attributes:
        config: of the backbone.
        operations: number of operations up to the cut, which identifies the cut in any of timm's wrappers.
    """

    def __init__(self, backbone: Backbone, cut: str) -> None:
        """`cut` is one of `frozen_cuts(backbone)`."""
        super().__init__()
        root, graph = _trace(backbone)
        end = _node(graph, cut)
        before = {*_ancestors(end), end}
        prefix = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for node in graph.nodes:
            if node in before:
                copies[node] = prefix.node_copy(node, copies.__getitem__)
        prefix.output(copies[end])
        self.normalised = backbone.normalised
        self.network = fx.GraphModule(root, prefix)
        self.config, self.operations = backbone.config, len(prefix.nodes)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b _ _ _"]:
        """Compute the feature map at the cut from RGB images in [0, 1]."""
        return self.network(self.normalised(images))  # type: ignore[no-any-return]


class BackboneSuffix(nn.Module):
    """The layers of a backbone after a cut; shares the backbone's weights.

    Modules whose code reads `self.training` keep the mode that they had when the suffix was made.
    """

    def __init__(self, backbone: Backbone, cut: str) -> None:
        """`cut` is one of `frozen_cuts(backbone)`."""
        super().__init__()
        root, graph = _trace(backbone)
        end = _node(graph, cut)
        before = {*_ancestors(end), end}
        suffix = fx.Graph()
        copies = {end: suffix.placeholder("maps")}
        for node in graph.nodes:
            if node not in before:
                copies[node] = suffix.node_copy(node, copies.__getitem__)
        self.network = fx.GraphModule(root, suffix)

    def forward(self, cut_map: Float[Tensor, "b _ _ _"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Compute the feature maps of the taps from the map at the cut."""
        return self.network(cut_map)  # type: ignore[no-any-return]


def frozen_cuts(backbone: Backbone) -> tuple[str, ...]:
    """The names of the operations at which the backbone can be cut behind frozen layers, first to last.

    At a cut, all later operations depend on the image through this operation's output alone, and no earlier
    one has a parameter that trains, statistics that are updated, or randomness.

    Raises:
        RecipeError: the network's graph depends on the image, so that it cannot be traced.
    """
    _, graph = _trace(backbone)
    modules = dict(_WithoutNormalisation(backbone).named_modules())
    return tuple(node.name for node in graph.nodes if _is_cut(node, graph) and _is_frozen(node, modules))


def _is_cut(node: fx.Node, graph: fx.Graph) -> bool:
    """Whether all later operations depend on the image through this one's output alone."""
    if node.op in ("placeholder", "get_attr", "output"):
        return False
    earlier = _ancestors(node)
    return bool(earlier) and not any(
        source in earlier
        for later in graph.nodes
        if later not in earlier and later is not node
        for source in later.all_input_nodes
    )


def _is_frozen(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether an operation and all before it compute the same in every training step."""
    for each in (*_ancestors(node), node):
        match each.op:
            case "call_module":
                if _changes(modules[str(each.target)]):
                    return False
            case "call_function" if each.kwargs.get("training"):  # dropout without a module
                return False
            case "get_attr":
                owner, _, name = str(each.target).rpartition(".")
                if getattr(modules[owner], name).requires_grad:
                    return False
    return True


_RANDOM = (nn.modules.dropout._DropoutNd, DropPath)


def _changes(module: nn.Module) -> bool:
    """Whether a module's output for the same input may differ between training steps."""
    if any(parameter.requires_grad for parameter in module.parameters()):
        return True
    return any(
        part.training and (isinstance(part, _RANDOM) or any(True for _ in part.buffers(recurse=False)))
        for part in module.modules()
    )


class _WithoutNormalisation(nn.Module):
    """A backbone without the normalisation of images, whose code depends on their size."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, normalised: Any) -> Any:
        """Feature maps of the taps."""
        return self.backbone.maps(normalised)


class _Tracer(fx.Tracer):
    """Traces into containers and timm's wrappers; every other module is one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one operation."""
        if module_qualified_name == "backbone.network":
            return False
        return not isinstance(m, (nn.Sequential, nn.ModuleList, nn.ModuleDict))


def _trace(backbone: Backbone) -> tuple[_WithoutNormalisation, fx.Graph]:
    root = _WithoutNormalisation(backbone)
    try:
        return root, _Tracer().trace(root)
    except Exception as problem:  # of any type: the networks were not written to be traced
        reason = one_line(problem)
        raise RecipeError(
            f"'{backbone.config.name}' cannot be cut into a frozen prefix and the rest ({reason}); "
            f"set cached_variants to 0, or choose a convolutional network"
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
