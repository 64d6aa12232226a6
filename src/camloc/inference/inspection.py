"""Intermediate values of a network: attention, generated weights, embeddings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camloc.data.types import Frame
from camloc.errors import RecipeError
from camloc.models.base import Regressor
from camloc.models.checkpoint import Checkpoint
from camloc.models.decoding import ScenePose
from camloc.models.layers.hypernetwork import CompactHyperLinear, HyperLinear
from camloc.models.layers.transformer import Attention, MapEncoder
from camloc.models.multi_scene import SceneTransformer

_BATCH = 16

# A position or an orientation has at most this many numbers: generated layers with more are not the last.
_POSE_NUMBERS = 9


@dataclass(frozen=True, eq=False)
class Attended:
    """The attention of a network in one image.

    Attributes:
        frame: the frame.
        image: (3, h, w) the network's input, 8 bits.
        maps: by the name of the encoder the mean weight over the heads of the last layer, (rows, columns);
            each sums to at most 1 (a token takes the rest).
    """

    frame: Frame
    image: Tensor
    maps: Mapping[str, Float[Tensor, "rows columns"]]


def attention_maps(checkpoint: Checkpoint, frames: Sequence[Frame]) -> Iterator[Attended]:
    """The attention of the token (or of the chosen scene's query) to the cells of the image.

    Raises:
        RecipeError: the model has no Transformer.
        ImageError: an image cannot be read.
    """
    model = checkpoint.model
    encoders = _encoders(model)
    if not encoders:
        raise RecipeError(
            f"{checkpoint.metadata.model} has no Transformer whose attention could be drawn; transposenet, "
            f"hyperpose_2023, ms_transformer and ms_hyperpose have"
        )
    device = next(model.parameters()).device
    for frame in frames:
        image = checkpoint.metadata.preprocess.view(frame).image
        pixels = image[None].to(device).float() / 255.0
        with torch.no_grad(), ExitStack() as stack:
            calls = {name: stack.enter_context(_recorded(each)) for name, (each, _) in encoders.items()}
            output = model(pixels)
        scene = int(output.scene_logits[0].argmax()) if isinstance(output, ScenePose) else 0
        maps = {}
        for name, (attention, tokens) in encoders.items():
            queries, keys = calls[name][-1]
            with torch.no_grad():
                weights = attention.weights(queries, keys).mean(1)[0]
            chosen = weights[min(scene, len(weights) - 1), tokens:]
            maps[name] = _on_grid(chosen, pixels.shape[-2] / pixels.shape[-1]).cpu()
        yield Attended(frame, image.cpu(), maps)


def has_attention(checkpoint: Checkpoint) -> bool:
    """Whether a network has a Transformer, and is not an exported one."""
    return bool(_encoders(checkpoint.model))


def _encoders(model: nn.Module) -> dict[str, tuple[Attention, int]]:
    """The last attention of each encoder, and how many tokens precede the cells among its keys."""
    found: dict[str, tuple[Attention, int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, MapEncoder):
            last: Any = module.encoder.layers[-1]
            found[_words(name)] = (last.attention, 1)
        elif isinstance(module, SceneTransformer):
            last = module.decoder.layers[-1]
            found[_words(name)] = (last.memory_attention, 0)
    return found


def _words(name: str) -> str:
    words = name.replace(".", " ").replace("_", " ").replace(" encoder", "").replace(" transformer", "")
    return words.replace("hyper", "hypernetwork")


@contextmanager
def _recorded(attention: Attention) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Queries and keys of every call, in either form of attention."""
    calls: list[tuple[Tensor, Tensor]] = []
    of_few, forward = attention.of_few, attention.forward

    def noted(function: Any) -> Any:
        def call(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            calls.append((queries, keys))
            result: Tensor = function(queries, keys, values)
            return result

        return call

    attention.__dict__["of_few"], attention.__dict__["forward"] = noted(of_few), noted(forward)
    try:
        yield calls
    finally:
        del attention.__dict__["of_few"], attention.__dict__["forward"]


def _on_grid(weights: Float[Tensor, "n"], height_over_width: float) -> Float[Tensor, "rows columns"]:
    """The cells of an image in rows, whose number follows from its shape."""
    cells = len(weights)
    rows = max(1, round((cells * height_over_width) ** 0.5))
    while cells % rows:
        rows -= 1
    return weights.view(rows, cells // rows)


@torch.no_grad()
def embeddings(checkpoint: Checkpoint, frames: Sequence[Frame]) -> dict[str, Float[Tensor, "n d"]]:
    """Vectors of images by name: "embeddings", and "generated weights" where the model generates some.

    Embeddings are the latents that the heads read. Generated weights are those of the last generated layer of
    either half of the pose.

    Raises:
        RecipeError: the model is not a regressor.
        ImageError: an image cannot be read.
    """
    model = checkpoint.model
    if not isinstance(model, Regressor):
        raise RecipeError(f"{checkpoint.metadata.model} regresses no poses from embeddings")
    device = next(model.parameters()).device
    layers = [
        module
        for module in model.modules()
        if isinstance(module, HyperLinear | CompactHyperLinear) and _outputs(module) <= _POSE_NUMBERS
    ]
    latents: list[Tensor] = []
    generated: list[Tensor] = []
    for start in range(0, len(frames), _BATCH):
        views = [checkpoint.metadata.preprocess.view(frame) for frame in frames[start : start + _BATCH]]
        images = torch.stack([view.image for view in views]).to(device).float() / 255.0
        found = model.encode(images)
        halves = [half.flatten(1).float().cpu() for half in found]
        latents.append(halves[0] if found[0] is found[1] else torch.cat(halves, dim=1))
        if layers:
            generated.append(_generated(model, layers, images))
    vectors = {"embeddings": torch.cat(latents)}
    return {**vectors, "generated weights": torch.cat(generated)} if generated else vectors


def _generated(
    model: nn.Module, layers: Sequence[HyperLinear | CompactHyperLinear], images: Tensor
) -> Float[Tensor, "b d"]:
    """The weights that layers generate for images, side by side."""
    calls: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, HyperLinear | CompactHyperLinear)
        calls.append(module.weights(inputs[1]).flatten(1).float().cpu())

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(calls, dim=1)


def _outputs(layer: HyperLinear | CompactHyperLinear) -> int:
    return layer.outputs if isinstance(layer, HyperLinear) else int(layer.outward.out_features)
