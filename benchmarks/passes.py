"""Times of passes and of training steps, in PyTorch and in ONNX Runtime: shared by the pages of latency.

Compared passes run in turn, so that other programs disturb all sides alike, and the shortest of many counts.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from tests.support import authors
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import page
from camloc.inference.onnx.export import onnx_program
from camloc.inference.onnx.quantization import quantised
from camloc.inference.onnx.runtime import SLOWER_OPTIMIZERS
from camloc.inference.published_weights import convert_weights
from camloc.models.base import PoseModel


def onnx_pass(network: bytes, image: Tensor, threads: int) -> Callable[[], Any]:
    """A pass of an exported module in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    # Threads that wait for the next pass by spinning would slow down whoever is measured in between.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        network, options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER_OPTIMIZERS
    )
    inputs = {"images": image.numpy()}
    return lambda: session.run(None, inputs)


def both_sides(
    ours: nn.Module, plain: nn.Module, image: Tensor
) -> Callable[[int], dict[str, Callable[[], Any]]]:
    """For a number of threads the passes of ours and of the published structure, by the names in `TIMES`."""
    several, normalised = image.expand(2, -1, -1, -1), authors.normalised(image)
    networks = onnx_program(ours, several), onnx_program(plain, authors.normalised(several))
    files = [each.SerializeToString() for each in (*networks, quantised(networks[0]).network)]

    def passes(threads: int) -> dict[str, Callable[[], Any]]:
        torch.set_num_threads(threads)
        single, published, whole = (
            onnx_pass(each, given, threads)
            for each, given in zip(files, (image, normalised, image), strict=True)
        )
        return {
            "torch": lambda: ours(image),
            "onnx": single,
            "onnx_int8": whole,
            "published_torch": lambda: plain(normalised),
            "published_onnx": published,
        }

    return passes


def machine() -> str:
    """Cores, architecture and versions of this machine."""
    return f"{page.machine()}, ONNX Runtime {onnxruntime.__version__}"


# Columns of a table of the times of `both_sides`, in milliseconds.
TIMES = (
    ("model", "{label}"),
    ("published, PyTorch", "{published_torch:.0f} ms"),
    ("ours, PyTorch", "{torch:.0f} ms"),
    ("ratio", "{torch_ratio:.2f}"),
    ("ours, ONNX Runtime", "{onnx:.0f} ms"),
    ("ratio", "{onnx_ratio:.2f}"),
    ("ours, int8", "{onnx_int8:.0f} ms"),
    ("ratio", "{int8_ratio:.2f}"),
    ("published, ONNX Runtime", "{published_onnx:.0f} ms"),
    ("ratio", "{between_onnx:.2f}"),
)


def times_table(named: Iterable[tuple[str, Mapping[str, float]]]) -> str:
    """The times of several models, with the ratios to the published structures."""
    rows = [
        {
            **times,
            "label": label,
            "torch_ratio": times["published_torch"] / times["torch"],
            "onnx_ratio": times["published_torch"] / times["onnx"],
            "int8_ratio": times["published_torch"] / times["onnx_int8"],
            "between_onnx": times["published_onnx"] / times["onnx"],
        }
        for label, times in named
    ]
    return page.filled(TIMES, rows)


def with_weights_of(plain: nn.Module, ours: PoseModel[Any], *, name: str | None) -> PoseModel[Any]:
    """Our network for evaluation, with the weights of the published structure or with noise on its own.

    Args:
        plain: the published structure.
        ours: our network.
        name: of our model; None for another network than the published one. Its generated layers start at
            zero and would have no effect without the noise.
    """
    if name is not None:
        ours.load_state_dict(convert_weights(plain.state_dict(), ours, name=name).state)
        return ours.eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape[-1:]))
    return ours.eval()


def shortest(
    passes: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float], *, warm_up: int = 2
) -> dict[str, float]:
    """Milliseconds of the shortest pass of each, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(rounds + warm_up):
        for name, run in passes.items():
            started = clock()
            run()
            times[name].append(1000.0 * (clock() - started))
    return {name: min(taken[warm_up:]) for name, taken in times.items()}


def largest_difference(found: Any, wanted: Any) -> float:
    """The largest difference of two passes' outputs, relative to the largest number of the output."""
    pairs = [(torch.as_tensor(one), torch.as_tensor(other)) for one, other in zip(found, wanted, strict=True)]
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def multiplications(module: nn.Module, image: Tensor) -> tuple[int, int]:
    """Multiplications with additions of a pass: of all products, and of those of two activations."""
    counter = FlopCounterMode(display=False)
    module.requires_grad_(
        False
    )  # the counter asks views of parameters, such as those of a split, for gradients
    with torch.inference_mode(), counter:
        module(image)
    of_activations = sum(
        flops
        for operation, flops in counter.get_flop_counts()["Global"].items()
        if "attention" in str(operation) or "bmm" in str(operation)
    )
    return counter.get_total_flops() // 2, of_activations // 2


@dataclass(frozen=True)
class Peaks:
    """What a core of this processor reaches in ONNX Runtime.

    Attributes:
        single, int8: multiplications with additions, in units of 1e9 a second, in a large product.
        gigabytes: read from memory in a second.
    """

    single: float
    int8: float
    gigabytes: float


def measured_peaks(*, size: int = 768, rounds: int = 5) -> Peaks:
    """The peaks, measured now."""
    random = np.random.default_rng(0)
    values = random.random((size, size), dtype=np.float32)
    whole = random.integers(0, 127, (size, size), dtype=np.uint8)
    given: dict[str, NDArray[Any]] = {"MatMul": values, "MatMulInteger": whole}
    weights: dict[str, NDArray[Any]] = {
        "MatMul": values,
        "MatMulInteger": random.integers(-63, 64, (size, size), dtype=np.int8),
    }
    passes = {name: _product(name, given[name], weights[name]) for name in given}
    memory = np.ones(64 * 1024 * 1024, dtype=np.float32)
    passes["reading"] = lambda: memory.max()
    times = shortest(passes, rounds, time.process_time)
    products = size**3 / 1e6
    return Peaks(
        products / times["MatMul"], products / times["MatMulInteger"], memory.nbytes / 1e6 / times["reading"]
    )


def _product(operation: str, values: NDArray[Any], weights: NDArray[Any]) -> Callable[[], Any]:
    """A pass of one product with constant weights."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    output = onnx.TensorProto.FLOAT if operation == "MatMul" else onnx.TensorProto.INT32
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operation, ["images", "weights"], ["product"])],
        "product",
        [onnx.helper.make_tensor_value_info("images", kind, values.shape)],
        [onnx.helper.make_tensor_value_info("product", output, None)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    return onnx_pass(model.SerializeToString(), torch.from_numpy(values), 1)


def weights_of(module: nn.Module) -> int:
    """The number of learned values, without those that only the loss uses."""
    return sum(
        parameter.numel()
        for name, parameter in module.named_parameters()
        if not name.startswith("pose_loss.")
    )
