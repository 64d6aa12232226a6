"""Weights that the papers' authors published, under the names of camloc's modules.

Their checkpoints are state dicts of their own classes. The names are translated here, parts of a tensor that
camloc leaves out are cut off (rows of position codes beyond the maps, one matrix for three projections), and
parts that have no effect on the output are listed as unused: the classifier of the backbone and its layers
behind the last map that is read, and the weight of a normalisation whose input is zero.

What each network's own code does differently from its paper is on the page of the model.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camloc.errors import CheckpointError
from camloc.models.base import PoseModel

Rule = tuple[str, str | Callable[[re.Match[str]], str]]

_HALVES = {"t": "position", "rot": "orientation", "x": "position", "q": "orientation"}

# Blocks of each stage of EfficientNet-B0, which the authors' code numbers through.
_STAGES = (1, 2, 2, 3, 3, 4, 1)

_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand", "_project_conv": "conv_pw", "_bn2": "bn2",
}  # fmt: skip
_BLOCK = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}

# Layers of a ResNet in an `nn.Sequential`, by their place in it.
_RESNET = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


@dataclass(frozen=True, eq=False)
class Converted:
    """Weights under camloc's names.

    Attributes:
        state: the whole state dict of the model.
        unused: names of the authors' tensors that have no effect.
    """

    state: dict[str, Tensor]
    unused: tuple[str, ...]


def convert_weights(theirs: Mapping[str, Tensor], model: PoseModel[Any], *, name: str) -> Converted:
    """The state dict of a model from that of the authors' class.

    Args:
        theirs: the authors' state dict, perhaps with the prefix "module." of several GPUs.
        model: camloc's model with the same settings; its constants (such as the scene's centre) stay.
        name: of the model, such as "transposenet".

    Raises:
        CheckpointError: the model has no rules, or a tensor is missing or has another shape.
    """
    if name not in _RULES:
        raise CheckpointError(
            f"there are no published weights of {name} to convert; {', '.join(_RULES)} have some"
        )
    own = model.state_dict()
    named = {key.removeprefix("module."): value for key, value in theirs.items()}
    has_prior = any(".fc_h_prior." in key for key in named)
    found: dict[str, Tensor] = {}
    unused = []
    for key, value in named.items():
        renamed = _renamed(key, name, own)
        pieces = dict(_pieces(renamed, value, has_prior=has_prior))
        kept = {piece: part for piece, part in pieces.items() if piece in own}
        for piece, part in kept.items():
            found[piece] = _fitted(piece, part, own[piece], first=_first_row(piece, named))
        if not kept:
            unused.append(key)
    found |= _own_heads(named, own)
    constants = ("world.", "pose_loss.")
    missing = [
        key
        for key in own
        if key not in found and not key.startswith(constants) and not key.endswith("num_batches_tracked")
    ]
    if missing:
        raise CheckpointError(
            f"these are not weights of {name} with these settings: {len(missing)} tensors are missing, such "
            f"as {missing[0]}; choose another preset"
        )
    heads = tuple(key for key in unused if not re.match(r"regressor_head_\w+\.\d+\.", key))
    return Converted({**own, **found}, heads)


def convert_encoder(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a camera pose auto-encoder.

    Args:
        theirs: the authors' state dict.
        own: the state dict of camloc's encoder with the same settings.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
    """
    found = dict(own)
    named = {key.removeprefix("module."): value for key, value in theirs.items()}
    for half, prefix in (("position", "x_encoder"), ("orientation", "q_encoder")):
        for key in [key for key in own if key.startswith(f"{half}.")]:
            wanted = key.replace(half, prefix, 1)
            if wanted not in named:
                raise CheckpointError(f"these are not weights of a pose auto-encoder: {wanted} is missing")
            found[key] = _fitted(key, named[wanted], own[key], first=0)
    return found


def _renamed(key: str, name: str, own: Mapping[str, Tensor]) -> str:
    for pattern, replacement in _RULES[name]:
        changed, count = re.subn(pattern, replacement, key)
        if count:
            key = changed
            break
    key = _transformer_name(key)
    if key.startswith("backbone."):
        key = "backbone." + _backbone_name(key.removeprefix("backbone."))
        is_cut = any(each.startswith("backbone.network.model.") for each in own)
        key = key.replace("backbone.", "backbone.network.model." if is_cut else "backbone.network.", 1)
    return key


def _backbone_name(key: str) -> str:
    """The name of timm for a tensor of EfficientNet-B0, or of a ResNet, whose names are the same."""
    head, _, rest = key.partition(".")
    if head == "_blocks":
        number, module, kind = rest.split(".", 2)
        stage, place = 0, int(number)
        while place >= _STAGES[stage]:
            place -= _STAGES[stage]
            stage += 1
        modules = _FIRST_BLOCK if int(number) == 0 else _BLOCK
        return f"blocks.{stage}.{place}.{modules.get(module, module)}.{kind}"
    if head in _STEM:
        return f"{_STEM[head]}.{rest}"
    return f"{_RESNET[head]}.{rest}" if head in _RESNET else key


# Layers of a decoder have a second attention, whose normalisation precedes that of the feed-forward layers.
_ENCODER_LAYER = {"norm1": "norm", "norm2": "feed_forward.0"}
_DECODER_LAYER = {"norm1": "norm", "norm2": "memory_norm", "norm3": "feed_forward.0"}
_LAYER = {
    "self_attn": "attention", "multihead_attn": "memory_attention", "linear1": "feed_forward.1",
    "linear2": "feed_forward.4",
}  # fmt: skip


def _transformer_name(key: str) -> str:
    match = re.fullmatch(r"(.*\.layers\.\d+)\.(\w+)\.(.*)", key)
    if match is None or ".generated." in key or ".hyper.layers." in key:
        return key
    layer, module, rest = match.groups()
    norms = _DECODER_LAYER if ".decoder.layers." in layer else _ENCODER_LAYER
    return f"{layer}.{norms.get(module, _LAYER.get(module, module))}.{rest}"


def _pieces(key: str, value: Tensor, *, has_prior: bool) -> Iterable[tuple[str, Tensor]]:
    """The tensors of camloc that one tensor of the authors holds."""
    owner, _, kind = key.rpartition(".")
    if kind in ("in_proj_weight", "in_proj_bias"):
        for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
            yield f"{owner}.{part}.{kind.removeprefix('in_proj_')}", piece
    elif owner.endswith(".out_proj"):
        yield f"{owner.removesuffix('.out_proj')}.output.{kind}", value
    elif owner.endswith(".fc_h_prior"):
        hidden = f"{owner.removesuffix('.fc_h_prior')}.hidden"
        if kind == "bias":
            yield f"{hidden}.bias", value
        else:
            # The position's latent precedes the orientation's.
            before, after = value.chunk(2, dim=1)
            yield f"{hidden}.weight", after
            yield f"{hidden.removesuffix('.hidden')}.prior.weight", before
    elif owner.endswith("orientation_head.fc_h") and has_prior:
        return  # replaced by the layer that also reads the position's latent
    else:
        yield key.replace(".fc_h.", ".hidden.").replace(".fc_o.", ".output."), value


def _own_heads(named: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Heads of each scene, which camloc keeps in one tensor."""
    found = {}
    layers = (("hidden", "fc_h"), ("output", "fc_o"))
    for half, short in (("position", "t"), ("orientation", "rot")):
        for layer, module in layers:
            stem = f"{half}_heads.{layer}"
            if f"{stem}_of_scene" not in own:
                continue
            scenes = range(len(own[f"{stem}_of_scene"]))
            keys = [f"regressor_head_{short}.{scene}.{module}" for scene in scenes]
            if all(f"{key}.weight" in named for key in keys):
                found[f"{stem}_of_scene"] = torch.stack([named[f"{key}.weight"].T for key in keys])
                found[f"{stem}_bias_of_scene"] = torch.stack([named[f"{key}.bias"] for key in keys])
    return found


def _first_row(key: str, named: Mapping[str, Tensor]) -> int:
    """The row of the first cell in a table of position codes; with a token, row 0 is not used."""
    if not key.startswith(("codes.row", "codes.column")):
        return 0
    return int(any(each.endswith("pose_token_embed.weight") for each in named))


def _fitted(key: str, value: Tensor, own: Tensor, *, first: int) -> Tensor:
    """The tensor in the shape that camloc keeps."""
    value = value.to(own.dtype)
    if value.shape == own.shape:
        return value.clone()
    if key.startswith("codes."):
        rows = value[0] if own.ndim == 1 else value[first : first + len(own)]
        if rows.shape == own.shape:
            return rows.clone()
    elif value.numel() == own.numel() and value.squeeze().shape == own.squeeze().shape:
        return value.reshape(own.shape).clone()
    raise CheckpointError(
        f"these are not weights with these settings: {key} has the shape {tuple(value.shape)} and "
        f"{tuple(own.shape)} is needed; choose another preset"
    )


def _half(template: str) -> Callable[[re.Match[str]], str]:
    """A replacement with the half of the pose for {half} and the other groups for {0}, {1}, ..."""

    def replace(match: re.Match[str]) -> str:
        short, *others = match.groups()
        return template.format(*others, half=_HALVES[short])

    return replace


_CODES: tuple[Rule, ...] = (
    (r"^backbone\.1\.row_embed\.weight$", "codes.row"),
    (r"^backbone\.1\.col_embed\.weight$", "codes.column"),
    (r"^backbone\.1\.pose_token_embed\.weight$", "codes.token"),
    (r"^backbone\.0\.body\.", "backbone."),
)

_SCENES: tuple[Rule, ...] = (
    *_CODES,
    (r"^input_proj_(t|rot)\.", _half("{half}_transformer.projection.")),
    (r"^query_embed_(t|rot)\.weight$", _half("{half}_transformer.query_of_scene")),
    (r"^transformer_(t|rot)\.", _half("{half}_transformer.")),
    (r"^scene_embed\.", "scene."),
    (r"^regressor_head_(t|rot)\.(fc_[ho])\.", _half("{half}_heads.head.{0}.")),
)

_HYPER_HEADS: tuple[Rule, ...] = (
    (r"^hyper_in_(t|rot)_proj\.", _half("{half}_hyper.embedding.")),
    (r"^hyper_in_(t|rot)_fc_2\.", _half("{half}_hyper.condition.")),
    (r"^hyper_in_(t|rot)\.", _half("{half}_hyper.input.")),
    (r"^hypernet_(t|rot)_fc_h2\.", _half("{half}_hyper.layer.generator.")),
)

_RULES: dict[str, tuple[Rule, ...]] = {
    "transposenet": (
        *_CODES,
        (r"^pose_token_embed_(t|rot)$", _half("{half}_encoder.token")),
        (r"^input_proj_(t|rot)\.", _half("{half}_encoder.projection.")),
        (r"^transformer_(t|rot)\.encoder\.", _half("{half}_encoder.encoder.")),
        (r"^regressor_head_(t|rot)\.", _half("{half}_head.")),
    ),
    "hyperpose_2023": (
        *_CODES,
        (r"^pose_token_embed_(t|rot)$", _half("{half}.encoder.token")),
        (r"^hypernet_token_embed_(t|rot)$", _half("{half}.hyper_encoder.token")),
        (r"^hypernet_input_proj_(t|rot)\.", _half("{half}.hyper_encoder.projection.")),
        (r"^input_proj_(t|rot)\.", _half("{half}.encoder.projection.")),
        (r"^hypernet_(t|rot)\.encoder\.", _half("{half}.hyper_encoder.encoder.")),
        (r"^transformer_(t|rot)\.encoder\.", _half("{half}.encoder.encoder.")),
        (r"^hypernet_(t|rot)_fc_h1\.", _half("{half}.hyper.layers.0.generator.")),
        (r"^hypernet_(t|rot)_fc_h2\.", _half("{half}.hyper.layers.1.generator.")),
        (r"^hypernet_(t|rot)_fc_o\.", _half("{half}.hyper.layers.2.generator.")),
        (r"^regressor_head_(t|rot)\.", _half("{half}.head.")),
    ),
    "ms_transformer": _SCENES,
    "ms_hyperpose": (
        *_SCENES,
        (r"^hyper_in_(t|rot)_proj\.", _half("{half}_hyper_embedding.")),
        (r"^hyper_in_(t|rot)_fc_(\d)\.", _half("{half}_heads.generated.conditions.{0}.")),
        (r"^hypernet_(t|rot)_fc_h(\d)\.", _half("{half}_heads.generated.layers.{0}.generator.")),
    ),
    "hyperpose": (
        (r"^_backbone\.", "backbone."),
        (r"^fc1\.", "hidden."),
        (r"^fc2\.", "position_head."),
        (r"^fc3\.", "orientation_head."),
        *_HYPER_HEADS,
    ),
    "atloc": (
        (r"^feature_extractor\.fc\.", "expand."),
        (r"^feature_extractor\.", "backbone."),
        (r"^att\.phi\.", "attention.query."),
        (r"^att\.theta\.", "attention.key."),
        (r"^att\.g\.", "attention.value."),
        (r"^att\.W\.", "attention.output."),
        (r"^fc_xyz\.", "position_head."),
        (r"^fc_wpqr\.", "orientation_head."),
        *_HYPER_HEADS,
    ),
    # The authors' class names the two latents in exchanged order: `x_latent_fc` feeds the orientation.
    "posenet": (
        (r"^q_latent_fc\.", "position_latent."),
        (r"^x_latent_fc\.", "orientation_latent."),
        (r"^(x|q)_reg\.", _half("{half}_head.")),
    ),
}
