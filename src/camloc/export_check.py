"""How far the poses of an exported network are from those of its original."""

from pathlib import Path

import torch

from camloc.checkpoint import Checkpoint
from camloc.exported import load_onnx
from camloc.geometry.camera import Camera


def largest_difference(checkpoint: Checkpoint, path: Path, *, pictures: int = 3) -> float:
    """Largest difference of any number of the poses of an exported network and of its original.

    Compared on pictures of noise, in a batch of another size than the network was exported with.
    """
    preprocess = checkpoint.facts.preprocess
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(pictures, 3, preprocess.height, preprocess.width, generator=generator)
    exported = load_onnx(path).model
    width, height = float(preprocess.width), float(preprocess.height)
    camera = Camera(preprocess.width, preprocess.height, width, width, width / 2, height / 2)
    intrinsics = camera.matrix().float().expand(pictures, 3, 3)
    with torch.inference_mode():
        ours, theirs = (
            model.decode(model(images), intrinsics=intrinsics).world_from_cam.matrix()
            for model in (checkpoint.model, exported)
        )
    return float((ours - theirs).abs().max())
