"""Times of passes and of training steps, in PyTorch and in ONNX Runtime: shared by the pages of latency.

Compared passes run in turn, so that other programs disturb all sides alike, and the shortest of many counts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import page
from camloc.core.silence import without_logs, without_warnings
from camloc.inference.onnx.export import quantized


def exported(module: nn.Module, image: Tensor) -> onnx.ModelProto:
    """The module as ONNX, exported as `camloc export` does."""
    with without_warnings, without_logs():
        program = torch.onnx.export(
            module,
            (image.expand(2, -1, -1, -1),),
            input_names=["images"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def onnx_pass(network: bytes, image: Tensor, threads: int) -> Callable[[], Any]:
    """A pass of an exported module in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    # Threads that wait for the next pass by spinning would slow down whoever is measured in between.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    inputs = {"images": image.numpy()}
    return lambda: session.run(None, inputs)


def both_sides(
    ours: nn.Module, plain: nn.Module, image: Tensor
) -> Callable[[int], dict[str, Callable[[], Any]]]:
    """For a number of threads the passes of ours and of the published structure, by the names in `TIMES`."""
    networks = exported(ours, image), exported(plain, image)
    files = [each.SerializeToString() for each in (*networks, quantized(networks[0]))]

    def passes(threads: int) -> dict[str, Callable[[], Any]]:
        torch.set_num_threads(threads)
        single, published, whole = (onnx_pass(each, image, threads) for each in files)
        return {
            "torch": lambda: ours(image),
            "onnx": single,
            "onnx_int8": whole,
            "published_torch": lambda: plain(image),
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


def shaken(module: nn.Module) -> nn.Module:
    """The module with noise on its weights: generated layers start at zero and would have no effect."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape[-1:]))
    return module


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


def multiply_adds(module: nn.Module, image: Tensor) -> int:
    """The number of multiplications with additions of a pass, in convolutions and matrix products."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        module(image)
    return counter.get_total_flops() // 2


def weights_of(module: nn.Module) -> int:
    """The number of learned values, without those that only the loss uses."""
    return sum(
        parameter.numel()
        for name, parameter in module.named_parameters()
        if not name.startswith("pose_loss.")
    )
