"""Times that the papers print, measured on this machine with random weights, one image or pose at a time."""

import platform
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

from camloc.core.device import torch_device
from camloc.errors import RecipeError
from camloc.evaluation.plain_table import PlainTable
from camloc.evaluation.published import PAPERS, RUN_TIMES
from camloc.geometry.camera import Camera
from camloc.geometry.pose import Pose
from camloc.geometry.pose_search import PoseIndex, PoseMetric
from camloc.models import build_model
from camloc.models.base import Latents
from camloc.models.layers.backbone import BackboneConfig
from camloc.models.posenet import PoseNetConfig
from camloc.recipes import find_recipe
from camloc.refinement.pose_autoencoder import PoseAutoencoder, PoseAutoencoderConfig

# Recipes, and the printed milliseconds: of the network, of the alignment, together.
_BY_GRID = {
    "ours, 120 x 160 cells": ("quarter", "9.0", "30.0", "39.0"),
    "ours, 60 x 80 cells": ("", "9.2", "4.8", "14.0"),
    "ours, 30 x 40 cells": ("sixteenth", "9.6", "1.5", "11.1"),
}
_PRINTED_REGRESSION = "12.5"
_BY_BACKBONE = {
    "HRNetV2": ("hrnet", "256"),
    "ResNet34": ("resnet34", "45"),
    "DenseNet121": ("densenet121", "90"),
    "MobileNetV3": ("", "14"),
}

# As many training poses as Cambridge Landmarks and 7Scenes have together.
_POSES = 26_000


def run_times(name: str, *, device: str = "cpu") -> PlainTable:
    """Measure one of `RUN_TIMES`.

    Args:
        name: of the table.
        device: where networks run.

    Raises:
        RecipeError: there is no such table or device.
    """
    if name not in RUN_TIMES:
        raise RecipeError(f"there is no table of times '{name}'; {', '.join(RUN_TIMES)} are some")
    target = torch_device(device)
    torch.manual_seed(0)
    with torch.inference_mode():
        match name:
            case "implicit_geometry_2023/V":
                headings: tuple[str, ...] = ("", "network", "alignment", "together", "Hz",
                                             "printed: network", "alignment", "together")  # fmt: skip
                rows = _grid_rows(target)
            case "implicit_geometry_2023/II-run-time":
                headings, rows = ("", "weights", "together", "Hz", "printed"), _backbone_rows(target)
            case _:
                headings = ("", "time", "memory", "printed: time", "memory")
                rows = _refinement_rows()
    machine, threads = platform.machine(), torch.get_num_threads()
    if target.type == "cuda":
        machine = torch.cuda.get_device_name(target)
    remarks = (
        f"Medians on {machine}, {threads} thread{'s' * (threads != 1)}, torch {torch.__version__}, single "
        "precision, random weights. Printed times: GTX Titan X (2023), GTX 1080 (2022).",
    )
    paper, _, number = name.partition("/")
    title = f"{PAPERS[paper]}, Table {number.partition('-')[0]}: {RUN_TIMES[name]}"
    return PlainTable(title, headings, rows, remarks)


def _grid_rows(device: torch.device) -> tuple[tuple[str, ...], ...]:
    rows = []
    for label, (variant, *printed) in _BY_GRID.items():
        model, names = _geometry(variant, device)
        network = _milliseconds("model(image)", names)
        decoding = {**names, "output": model(names["image"])}
        alignment = _milliseconds("model.decode(output, intrinsics=intrinsics)", decoding)
        rows.append((label, *map(_ms, (network, alignment)), *_total(network + alignment),
                     *(f"{each} ms" for each in printed)))  # fmt: skip
    regressor = (
        build_model("posenet", PoseNetConfig(BackboneConfig("mobilenetv3_large_100"))).eval().to(device)
    )
    names = {"model": regressor, "image": torch.rand(1, 3, 480, 640, device=device)}
    total = _milliseconds("model.decode(model(image))", names)
    return (*rows, ("regression (PoseNet)", "", "", *_total(total), "", "", f"{_PRINTED_REGRESSION} ms"))


def _backbone_rows(device: torch.device) -> tuple[tuple[str, ...], ...]:
    rows = []
    for label, (variant, printed) in _BY_BACKBONE.items():
        model, names = _geometry(variant, device)
        total = _milliseconds("model.decode(model(image), intrinsics=intrinsics)", names)
        rows.append((label, f"{model.parameter_count():,}", *_total(total), f"{printed} ms"))
    return tuple(rows)


def _geometry(variant: str, device: torch.device) -> tuple[Any, dict[str, Any]]:
    """A network of the paper for 7Scenes, and its inputs for one image."""
    recipe = find_recipe(f"implicit_geometry_2023/sevenscenes{'-' * bool(variant)}{variant}")
    model = build_model(recipe.model, recipe.config).eval().to(device)
    width, height = recipe.preprocess.width, recipe.preprocess.height
    camera = Camera(width, height, float(width), float(width), width / 2, height / 2)
    intrinsics = torch.from_numpy(camera.matrix()).float().unsqueeze(0).to(device)
    return model, {"model": model, "image": torch.rand(1, 3, height, width, device=device),
                   "intrinsics": intrinsics}  # fmt: skip


def _refinement_rows() -> tuple[tuple[str, ...], ...]:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(_POSES, 7, generator=generator, dtype=torch.float64)
    poses = Pose.from_quaternion_wxyz(torch.nn.functional.normalize(numbers[:, 3:], dim=-1), numbers[:, :3])
    config = replace(PoseAutoencoderConfig(), scene_code="fourier")
    encoder = PoseAutoencoder(config, latents=(256, 256), scenes=11).eval()
    some = poses[:100]
    encoder.observe((some,) * 11, Latents(*torch.rand(2, 11 * len(some), 256, generator=generator)))
    query = {"encoder": encoder, "pose": poses[:1], "scene": torch.zeros(1, dtype=torch.int64)}
    encoding = _milliseconds("encoder(pose, scene)", query)
    search = {"index": PoseIndex(poses, PoseMetric("published")), "pose": poses[:1]}
    nearest = _milliseconds("index.nearest(pose, 1)", search)
    stored = _POSES * 7 * np.dtype(np.float64).itemsize / 1e6
    return (
        ("pose auto-encoder", _ms(encoding), f"{encoder.megabytes:.2f} MB", "1.22 ms", "0.89 MB"),
        (f"retrieving and storing {_POSES:,} poses", _ms(nearest), f"{stored:.2f} MB", "0.16 ms", "2.15 MB"),
    )


def _milliseconds(statement: str, names: dict[str, Any]) -> float:
    """The median time of a statement."""
    timer = Timer(statement, globals=names, num_threads=torch.get_num_threads())
    return 1000.0 * float(timer.blocked_autorange(min_run_time=2.0).median)


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms" if milliseconds < 1000.0 else f"{milliseconds:.0f} ms"


def _total(milliseconds: float) -> tuple[str, str]:
    return _ms(milliseconds), f"{1000.0 / milliseconds:.3g}"
