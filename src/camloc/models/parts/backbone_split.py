"""A backbone in two parts: what stands still at its beginning, and all that comes after.

The network is drawn as a graph of its blocks (torch.fx), whatever wrapper timm has put around it. It can be
cut behind every block whose map is all that the later ones know of the picture.
"""

from typing import Any

from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, fx, nn

from camloc.errors import RecipeError
from camloc.models.parts.backbone import Backbone


class LowerPart(nn.Module):
    """From pictures to their maps behind a cut.

    Its weights are the backbone's own.

    Attributes:
        config: of the backbone.
        operations: how many the cut comes after.
    """

    def __init__(self, backbone: Backbone, cut: str) -> None:
        """`cut` is one of `still_cuts`."""
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
        """Maps of RGB pictures in [0, 1]."""
        return self.network(self.normalised(images))  # type: ignore[no-any-return]


class UpperPart(nn.Module):
    """From the maps behind a cut to those of the backbone's taps.

    Its weights are the backbone's own. What asks in its own code whether it trains is told what was so when
    this was made.
    """

    def __init__(self, backbone: Backbone, cut: str) -> None:
        """`cut` is one of `still_cuts`."""
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
        """Maps of the taps, as `Backbone` gives them for the pictures."""
        return self.network(maps)  # type: ignore[no-any-return]


def still_cuts(backbone: Backbone) -> tuple[str, ...]:
    """Where the backbone can be cut so that all before the cut stands still as it is now, first to last.

    Still is what has no weight that trains, no statistics that are counted and nothing random.

    Raises:
        RecipeError: the network has no graph that does not depend on the picture.
    """
    _, graph = _drawn(backbone)
    modules = dict(_Outline(backbone).named_modules())
    return tuple(node.name for node in graph.nodes if _is_cut(node, graph) and _stands_still(node, modules))


def _is_cut(node: fx.Node, graph: fx.Graph) -> bool:
    """Whether all that is after a node knows of the picture what the node tells."""
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
    """A backbone without its normalisation of pictures, which looks at their size."""

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
