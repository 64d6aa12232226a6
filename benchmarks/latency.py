"""The time of one image through every network, beside the structure as its authors published it.

    uv run python -m benchmarks.latency [--only AtLoc]

writes `docs/results/latency.json` and `.md`; rows that are not measured keep their numbers. The published
structures are built from torch's own modules (`tests/support/authors.py`). All sides are measured in turn, by
processor time on one thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro
from onnxruntime.transformers.float16 import convert_float_to_float16
from tests.support import authors
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as torchvision_models

from benchmarks.page import filled, known, result_page, write
from benchmarks.passes import (
    Peaks,
    largest_difference,
    machine,
    measured_peaks,
    multiplications,
    onnx_pass,
    shortest,
    times_table,
    weights_of,
    with_weights_of,
)
from camloc.inference.onnx.export import onnx_program
from camloc.inference.onnx.quantization import in_integers
from camloc.models import build_model, presets

SIDE = 224

# The least ratios that are aimed at: single precision and int8 in ONNX Runtime, to the published structure.
SINGLE, INT8, INT8_OF_CONVOLUTIONS = 2.2, 3.5, 5.0

TIMES = (
    ("model", "{label}"),
    ("published", "{published:.1f} ms"),
    ("PyTorch", "{torch:.1f} ms"),
    ("ratio", "{torch_ratio:.2f}"),
    ("ONNX", "{onnx:.1f} ms"),
    ("ratio", "{onnx_ratio:.2f}"),
    ("int8", "{int8:.1f} ms"),
    ("ratio", "{int8_ratio:.2f}"),
)
FILES = (
    ("model", "{label}"),
    ("weights", "{weights:,}"),
    ("published", "{published_weights:,}"),
    ("ONNX", "{single_megabytes:.1f} MB"),
    ("int8", "{int8_megabytes:.1f} MB"),
    ("share", "{share:.2f}"),
    ("outputs differ by", "{differ}"),
)
BOUNDS = (
    ("model", "{label}"),
    ("published", "{published_multiplications:.2f} G"),
    ("ours", "{multiplications:.2f} G"),
    ("of two activations", "{of_activations:.2f} G"),
    ("weights", "{megabytes:.0f} MB"),
    ("least, single", "{least:.1f} ms"),
    ("largest ratio", "{largest:.2f}"),
    ("reached", "{reached:.2f}"),
    ("least, int8", "{least_int8:.1f} ms"),
    ("largest ratio", "{largest_int8:.2f}"),
    ("reached", "{reached_int8:.2f}"),
)


class PlainBaseline(nn.Module):
    """HyperPose of 2025 without its hypernetwork."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = authors.EfficientNet()
        self.hidden, self.position, self.orientation = (
            nn.Linear(1280, 1024),
            nn.Linear(1024, 3),
            nn.Linear(1024, 4),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Position and quaternion."""
        hidden = F.relu(self.hidden(self.backbone.maps(images)[2].mean((-2, -1))))
        return self.position(hidden), self.orientation(hidden)


class PlainPoseNet(nn.Module):
    """A CNN of torchvision and two heads: the teacher of the pose auto-encoders."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = nn.Sequential(*network.children())[:-1]
        self.latents = nn.ModuleList(nn.Linear(channels, 256) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(256, size) for size in (3, 4))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Position and quaternion."""
        maps = self.network(images)
        features = maps.mean((-2, -1))
        return [head(F.relu(latent(features))) for latent, head in zip(self.latents, self.heads, strict=True)]


@dataclass(frozen=True)
class Case:
    """A network of ours and the published structure.

    Attributes:
        label: for the table.
        model, preset: of ours.
        published: builds the published structure.
        is_same: whether ours takes the published weights and computes the same.
        int8: least ratio of int8 that is aimed at.
    """

    label: str
    model: str
    preset: str
    published: Callable[[], nn.Module]
    is_same: bool = False
    int8: float = INT8


def cases() -> tuple[Case, ...]:
    """All networks of the page."""

    def several(layers: tuple[int, int], hyper: tuple[int, int] | None = None) -> nn.Module:
        return authors.MSTransformer(7, layers, hyper=hyper)

    def hyperpose_2023() -> nn.Module:
        return authors.TransPoseNet(hyper=(256, 512))

    return (
        Case("TransPoseNet", "transposenet", "released", authors.TransPoseNet, is_same=True),
        Case("HyperPose 2023", "hyperpose_2023", "released", hyperpose_2023, is_same=True),
        Case("HyperPose 2023, compact", "hyperpose_2023", "compact", hyperpose_2023),
        Case("MS-Transformer", "ms_transformer", "sevenscenes", lambda: several((6, 4))),
        Case("MS-HyperPose", "ms_hyperpose", "sevenscenes", lambda: several((4, 4), (256, 512))),
        Case("MS-HyperPose, compact", "ms_hyperpose", "compact", lambda: several((4, 4), (256, 512))),
        Case("HyperPose 2025", "hyperpose", "hypernetwork", authors.HyperPose),
        Case("HyperPose 2025, baseline", "hyperpose", "baseline", PlainBaseline),
        Case("AtLoc", "atloc", "paper", authors.AtLoc, int8=INT8_OF_CONVOLUTIONS),
        Case(
            "PoseNet, MobileNetV2",
            "posenet",
            "mobilenetv2",
            lambda: PlainPoseNet(torchvision_models.mobilenet_v2(), 1280),
            int8=INT8_OF_CONVOLUTIONS,
        ),
        Case(
            "PoseNet, ResNet-50",
            "posenet",
            "resnet50",
            lambda: PlainPoseNet(
                nn.Sequential(*[*torchvision_models.resnet50().children()][:-2], nn.Identity()), 2048
            ),
            int8=INT8_OF_CONVOLUTIONS,
        ),
    )


@dataclass(frozen=True)
class Row:
    """The measurements of one case; times in milliseconds, of the shortest of some passes.

    Attributes:
        published, torch, onnx, int8: times.
        half: time of ONNX Runtime in half precision.
        difference: of the outputs, relative to their largest number; None where ours is another network.
        multiplications: of all products, in units of 1e9.
        of_activations: of products of two activations, which stay in single precision.
        peaks: of the processor, at the same time.
    """

    label: str
    published: float
    torch: float
    onnx: float
    int8: float
    half: float | None
    difference: float | None
    weights: int
    published_weights: int
    single_megabytes: float
    int8_megabytes: float
    multiplications: float
    published_multiplications: float
    of_activations: float
    peaks: Peaks
    rounds: int
    machine: str

    def least(self, *, is_int8: bool) -> float:
        """Milliseconds of the multiplications alone, at the processor's peak, or of reading the weights."""
        rest = self.multiplications - self.of_activations
        products = self.of_activations / self.peaks.single + rest / (
            self.peaks.int8 if is_int8 else self.peaks.single
        )
        megabytes = self.int8_megabytes if is_int8 else self.single_megabytes
        return max(1e3 * products, megabytes / self.peaks.gigabytes)


@dataclass(frozen=True)
class Measured:
    """Everything on the page.

    Attributes:
        rows: the networks that were measured.
        products: rows of Transformers whose int8 had integers in matrix products alone: `label` and, in
            `cpu`, milliseconds by the names of `benchmarks.passes.TIMES`.
    """

    rows: tuple[Row, ...]
    products: tuple[dict[str, Any], ...] = ()


def measured(case: Case, *, rounds: int) -> Row:
    """The measurements of one case."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, plain = build_model(case.model, presets(case.model)[case.preset]), authors.shaken(case.published())
    ours = with_weights_of(plain, model, name=case.model if case.is_same else None)
    image = torch.rand(1, 3, SIDE, SIDE)
    normalised = authors.normalised(image)
    network = onnx_program(ours, image.expand(2, -1, -1, -1))
    with TemporaryDirectory() as folder:
        noise = torch.randint(0, 256, (4, 3, SIDE, SIDE), dtype=torch.uint8).numpy()
        integers = in_integers(network, noise, Path(folder)).SerializeToString()
    single = network.SerializeToString()
    passes: dict[str, Callable[[], Any]] = {
        "published": lambda: plain(normalised),
        "torch": lambda: ours(image),
        "onnx": onnx_pass(single, image, 1),
        "int8": onnx_pass(integers, image, 1),
    }
    if case.int8 > INT8:
        half = convert_float_to_float16(network, keep_io_types=True).SerializeToString()
        passes["half"] = onnx_pass(half, image, 1)
    with torch.inference_mode():
        times = shortest(passes, rounds, time.process_time, warm_up=1)
        difference = None
        if case.is_same:
            wanted = passes["published"]().split((3, 4), dim=1)
            difference = max(largest_difference(passes[name](), wanted) for name in ("torch", "onnx"))
    of_all, of_activations = multiplications(ours, image)
    return Row(
        case.label,
        **{name: times.get(name) for name in ("published", "torch", "onnx", "int8", "half")},  # type: ignore[arg-type]
        difference=difference,
        weights=weights_of(ours),
        published_weights=weights_of(plain),
        single_megabytes=len(single) / 1e6,
        int8_megabytes=len(integers) / 1e6,
        multiplications=of_all / 1e9,
        published_multiplications=multiplications(plain, image)[0] / 1e9,
        of_activations=of_activations / 1e9,
        peaks=measured_peaks(),
        rounds=rounds,
        machine=machine(),
    )


def page(measured: Measured) -> str:
    """The page."""
    rows = measured.rows
    times = [
        {
            **vars(row),
            "torch_ratio": row.published / row.torch,
            "onnx_ratio": row.published / row.onnx,
            "int8_ratio": row.published / row.int8,
        }
        for row in rows
    ]
    files = [
        {
            **vars(row),
            "share": row.int8_megabytes / row.single_megabytes,
            "differ": "another network" if row.difference is None else f"{row.difference:.0e}",
        }
        for row in rows
    ]
    bounds = [
        {
            **vars(row),
            "megabytes": row.single_megabytes,
            "least": row.least(is_int8=False),
            "largest": row.published / row.least(is_int8=False),
            "reached": row.least(is_int8=False) / row.onnx,
            "least_int8": row.least(is_int8=True),
            "largest_int8": row.published / row.least(is_int8=True),
            "reached_int8": row.least(is_int8=True) / row.int8,
        }
        for row in rows
    ]
    halves = [
        f"{row.label} {row.half:.1f} ms instead of {row.onnx:.1f} ms" for row in rows if row.half is not None
    ]
    peaks = rows[0].peaks
    return result_page(
        "One image through every network",
        "latency",
        f"One image of {SIDE} x {SIDE}, processor time on one thread, the shortest of {rows[0].rounds} "
        "passes, the columns in turn, so that other programs hardly change the ratios. *Published* is the "
        "structure of the authors' code in PyTorch, which is what they run: attention with its weights "
        "and a mask, all layers for all tokens, the whole CNN (twice for HyperPose 2023), all tables and "
        "classifiers. *ONNX* and *int8* are what `camloc export` writes, in ONNX Runtime, with all layers "
        "in int8; [what int8 costs, and which layers then stay in single precision](exported.md).",
        filled(TIMES, times),
        *_verdicts(rows),
        "## Files, and difference of the outputs from the published ones",
        filled(FILES, files),
        "## What bounds it",
        "Multiplications with additions. *Least* is the time of these alone at the largest speed that a "
        f"product reaches in ONNX Runtime on this processor in the same run ({peaks.single:.0f} G a second "
        f"in single precision, {peaks.int8:.0f} G in int8), or of reading the file once at "
        f"{peaks.gigabytes:.0f} GB a second if that is longer; products of two activations (attention) "
        "stay in single precision. *Reached* is the share of that bound.",
        filled(BOUNDS, bounds),
        f"In half precision, which ONNX Runtime converts and does not multiply on such processors, it "
        f"is not faster ({'; '.join(halves)}), so `camloc export` does not offer it."
        if halves
        else "",
        *_of_products(measured),
        f"{rows[0].machine}.",
    )


def _of_products(measured: Measured) -> list[str]:
    """The rows whose networks were not measured again."""
    labels = {row.label for row in measured.rows}
    others = [row for row in measured.products if row["label"].split(",")[0] not in labels]
    if not others:
        return []
    return [
        "## With integers in matrix products alone",
        "Measured before convolutions were quantised; *ours, int8* is what an export without "
        "training images still gives.",
        times_table((row["label"], row["cpu"]) for row in others),
    ]


def _verdicts(rows: tuple[Row, ...]) -> list[str]:
    """A sentence for each target: reached by all networks, or by which not."""
    wanted = {case.label: case.int8 for case in cases()}
    below = [
        f"{row.label} ({row.published / row.onnx:.2f})" for row in rows if row.published / row.onnx < SINGLE
    ]
    slow = [
        f"{row.label} ({row.published / row.int8:.2f} of {wanted[row.label]})"
        for row in rows
        if row.published / row.int8 < wanted[row.label]
    ]
    return [
        f"In single precision the ratio is below {SINGLE} for {', '.join(below)}."
        if below
        else f"In single precision every ratio is at least {SINGLE}.",
        f"In int8 the ratio is below what was aimed at for {', '.join(slow)}."
        if slow
        else "In int8 every aim is met.",
    ]


def main(*, only: tuple[str, ...] = (), rounds: int = 5) -> None:
    """Measure, and write the page.

    Args:
        only: Labels of the networks to measure; all by default.
        rounds: Passes of each side.
    """
    for case in cases():
        if only and case.label not in only:
            continue
        found = measured(case, rounds=rounds)
        earlier = known("latency", Measured(()))
        by_label = {row.label: row for row in earlier.rows} | {case.label: found}
        rows = tuple(by_label[each.label] for each in cases() if each.label in by_label)
        everything = Measured(rows, earlier.products)
        write("latency", everything, page(everything))


if __name__ == "__main__":
    tyro.cli(main)
