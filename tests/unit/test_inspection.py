"""Attention maps and generated weights are those that the network computes with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.models import small_config
from torch.nn import functional as F

from camloc.data.image_io import Preprocess
from camloc.data.types import Frame
from camloc.errors import RecipeError
from camloc.inference.inspection import attention_maps, embeddings
from camloc.models import build_model
from camloc.models.checkpoint import Checkpoint
from camloc.models.metadata import metadata_for

SIZE = Preprocess(96, 64)


def checkpoint(name: str) -> Checkpoint:
    torch.manual_seed(0)
    config: Any = small_config(name)
    model = build_model(name, config).eval()
    scenes = tuple(f"scene {number}" for number in range(getattr(config, "scenes", 1)))
    return Checkpoint(metadata_for(name, config, SIZE, scenes), model, ())


@pytest.fixture
def frames(tmp_path: Path) -> tuple[Frame, ...]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(path)
        found.append(Frame(path.name, path))
    return tuple(found)


@pytest.mark.parametrize("name", ["transposenet", "hyperpose_2023", "ms_transformer"])
def test_attention_covers_the_image_of_each_encoder(name: str, frames: tuple[Frame, ...]) -> None:
    loaded = checkpoint(name)
    found = list(attention_maps(loaded, frames))
    assert [each.frame for each in found] == list(frames)
    encoders = {"position", "orientation"}
    if name == "hyperpose_2023":
        encoders |= {"position hypernetwork", "orientation hypernetwork"}
    for each in found:
        assert set(each.maps) == encoders
        assert each.image.shape == (3, 64, 96)
        for weights in each.maps.values():
            rows, columns = weights.shape
            assert rows / columns == pytest.approx(64 / 96)
            assert float(weights.min()) >= 0.0
            total = float(weights.sum())
            # The token, which is no part of the image, takes the rest.
            assert total == pytest.approx(1.0, abs=1e-5) if name == "ms_transformer" else 0.0 < total < 1.0
    before = [each.maps["position"] for each in found]
    again = [each.maps["position"] for each in attention_maps(loaded, frames)]
    torch.testing.assert_close(again, before, rtol=0, atol=0)


def test_generated_weights_are_those_of_the_last_layers(frames: tuple[Frame, ...]) -> None:
    loaded = checkpoint("hyperpose")
    model: Any = loaded.model
    for head in (model.position_hyper, model.orientation_hyper):
        torch.nn.init.normal_(head.layer.generator.weight)
    found = embeddings(loaded, frames)
    features = found["embeddings"]
    expected = []
    with torch.no_grad():
        for head in (model.position_hyper, model.orientation_hyper):
            condition = F.silu(head.condition(head.embedding(features)))
            expected.append(head.layer.weights(condition).flatten(1))
    torch.testing.assert_close(found["generated weights"], torch.cat(expected, dim=1))
    assert set(embeddings(checkpoint("posenet"), frames)) == {"embeddings"}


def test_a_network_without_a_transformer_has_no_attention(frames: tuple[Frame, ...]) -> None:
    with pytest.raises(RecipeError, match="transposenet"):
        next(iter(attention_maps(checkpoint("posenet"), frames)))
