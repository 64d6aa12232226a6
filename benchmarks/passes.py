"""Times of passes and of training steps, in PyTorch and in ONNX Runtime: shared by the pages of latency.

Compared passes run in turn, so that other programs disturb all sides alike, and the shortest of many counts.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from tests.support import authors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import page
from camloc.core.device import CPU
from camloc.data.image_cache import ImageCache
from camloc.data.image_io import Preprocess
from camloc.geometry.pose import Pose
from camloc.geometry.rotation import rotation_vector
from camloc.inference.onnx.export import onnx_program
from camloc.inference.onnx.quantization import quantised
from camloc.inference.onnx.runtime import SLOWER_OPTIMIZERS
from camloc.inference.published_weights import convert_weights
from camloc.models.base import PoseModel
from camloc.runs.prepare import Compute
from camloc.training.loop import Step, fit
from camloc.training.recipe import Recipe, Stage

# Images of a training step, as in the papers, and their side.
BATCH, SIDE = 8, 224

# Steps change the weights so little that all of them are the same work.
_LEARNING_RATE = 1e-6


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


def shortest_in_processes(
    passes: Mapping[str, Callable[[], Callable[[], Any]]], rounds: int
) -> dict[str, float]:
    """Milliseconds of processor time of the shortest pass of each, taken in turn, each in its own process.

    Settings of a process, such as how it keeps freed memory, then hold for one side alone.

    Args:
        passes: functions that prepare a pass; they are pickled.
        rounds: passes of each.
    """
    context = multiprocessing.get_context("spawn")
    times: dict[str, list[float]] = {name: [] for name in passes}
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, context, _prepare_pass, (prepare,)))
            for name, prepare in passes.items()
        }
        for _ in range(rounds):
            for name, pool in pools.items():
                times[name].append(pool.submit(_timed_pass).result())
    return {name: min(taken) for name, taken in times.items()}


# The pass of a process of `shortest_in_processes`.
_prepared: list[Callable[[], Any]] = []


def _prepare_pass(prepare: Callable[[], Callable[[], Any]]) -> None:
    torch.set_num_threads(1)
    _prepared.append(prepare())
    _prepared[0]()


def _timed_pass() -> float:
    started = time.process_time()
    _prepared[0]()
    return 1000.0 * (time.process_time() - started)


def random_images(scenes: int = 1) -> ImageCache:
    """Images of noise for a training step, in all scenes in turn."""
    generator = torch.Generator().manual_seed(1)
    turns = torch.randn(BATCH, 4, generator=generator, dtype=torch.float64)
    centres = torch.randn(BATCH, 3, generator=generator, dtype=torch.float64)
    return ImageCache(
        images=torch.randint(256, (BATCH, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8).numpy(),
        world_from_cam=Pose.from_quaternion_wxyz(turns, centres),
        intrinsics=None,
        scene=torch.arange(BATCH) % scenes,
        sequence=torch.zeros(BATCH, dtype=torch.int64),
    )


def camloc_step(model: PoseModel[Any], images: ImageCache, compute: Compute) -> Callable[[], None]:
    """A step of `camloc train` with Adam, on images that were decoded before."""
    recipe = Recipe(
        model=type(model).__name__,
        config=None,
        preprocess=Preprocess(SIDE, SIDE),
        stages=(Stage(epochs=1_000_000, learning_rate=_LEARNING_RATE),),
        batch_size=BATCH,
    )
    events = fit(model, images, recipe, fabric=compute.launch())
    return lambda: next(None for event in events if isinstance(event, Step))


def published_step(model: nn.Module, images: ImageCache, device: torch.device = CPU) -> Callable[[], None]:
    """A step as published, on images that were decoded and normalised before.

    The structure gives the numbers of the pose, in one tensor or in two, and for several scenes the logits.
    """
    batch = images.batch(torch.arange(BATCH)).to(device)
    given = authors.normalised(batch.images).contiguous()  # theirs are not channels last
    poses = batch.world_from_cam
    position, quaternion = poses.translation, poses.quaternion_wxyz()
    logarithm = 0.5 * rotation_vector(poses.rotation)
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        numbers, logits = numbers_and_logits(model(given))
        wanted = quaternion if numbers.shape[1] == 7 else logarithm
        turned = F.normalize(numbers[:, 3:], dim=-1) if numbers.shape[1] == 7 else numbers[:, 3:]
        loss = torch.linalg.vector_norm(numbers[:, :3] - position, dim=-1).mean()
        loss = loss + torch.linalg.vector_norm(turned - wanted, dim=-1).mean()
        if logits is not None:
            loss = loss + F.cross_entropy(logits, batch.scene)
        loss.backward()
        optimizer.step()

    return step


def numbers_and_logits(output: Any) -> tuple[Tensor, Tensor | None]:
    """The numbers of the pose, (b, 6) or (b, 7), and the scenes' logits of a published structure's output."""
    if isinstance(output, Tensor):
        return output, None
    first, second = output
    return (torch.cat((first, second), dim=1), None) if first.shape[1] == 3 else (first, second)


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
