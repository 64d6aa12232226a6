"""Convolutions and products in 8-bit integers: calibrated on training images, checked on held-out ones."""

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tests.support.models import small_config, some_poses

from camloc.geometry import Pose
from camloc.inference.onnx.export import onnx_program
from camloc.inference.onnx.quantization import ALLOWANCE, Accuracy, Calibration, accuracy, quantised
from camloc.models import build_model
from camloc.models.base import PoseModel

WIDTH, HEIGHT = 64, 48
COUNT = 12


@pytest.fixture(scope="module")
def model() -> PoseModel[Any]:
    torch.manual_seed(0)
    model = build_model("hyperpose", small_config("hyperpose"))
    model.observe(some_poses(9))
    return model.eval()


@pytest.fixture(scope="module")
def network(model: PoseModel[Any]) -> onnx.ModelProto:
    return onnx_program(model, torch.zeros(2, 3, HEIGHT, WIDTH), ["position", "orientation"])


def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 3, HEIGHT, WIDTH), dtype=np.uint8)


def calibration(model: PoseModel[Any], *, meters: float, degrees: float) -> Calibration:
    """Images whose true poses are so far from those that the network gives in single precision."""
    with torch.inference_mode():
        found = model.decode(model(torch.from_numpy(images()).float() / 255.0)).world_from_cam.numpy()
    turn = Rotation.from_rotvec([0.0, 0.0, np.radians(degrees)]).as_matrix()
    rotation, translation = (each.astype(np.float64) for each in (found.rotation, found.translation))
    truth = Pose(rotation @ turn, translation + np.array([meters, 0.0, 0.0]))
    decoding = model.decoding.numpy()
    return Calibration(images(), images(), truth, np.zeros(COUNT, dtype=np.int64), None, decoding)


def layers_in_integers(network: onnx.ModelProto) -> Counter[str]:
    from_integers = {each.output[0] for each in network.graph.node if each.op_type == "DequantizeLinear"}
    return Counter(
        node.op_type
        for node in network.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and {*node.input[:2]} <= from_integers
    )


def test_all_layers_are_integers_where_the_errors_stay(
    model: PoseModel[Any], network: onnx.ModelProto
) -> None:
    given = calibration(model, meters=20.0, degrees=60.0)
    made = quantised(network, given)
    assert made.kept == ()
    assert sum(layers_in_integers(made.network).values()) == made.layers > 10
    assert len(made.network.SerializeToString()) < 0.35 * len(network.SerializeToString())
    assert made.single is not None
    assert made.found == accuracy(made.network, given)
    assert abs(made.found.loss(made.single)) <= ALLOWANCE
    assert made.notes()[1] == f"all {made.layers} layers are in int8"


def test_as_few_layers_as_needed_stay_in_single_precision(
    model: PoseModel[Any], network: onnx.ModelProto
) -> None:
    all_integers = quantised(network, calibration(model, meters=20.0, degrees=60.0)).network
    given = calibration(model, meters=2e-3, degrees=0.1)  # errors as small as the rounding's
    single = accuracy(network, given)
    assert accuracy(all_integers, given).loss(single) > ALLOWANCE
    made = quantised(network, given)
    assert made.kept
    assert sum(layers_in_integers(made.network).values()) == made.layers - len(made.kept)
    assert made.found is not None
    assert made.found.loss(single) <= ALLOWANCE
    assert f"{len(made.kept)} of {made.layers} layers stay in single precision: " in made.notes()[1]


def test_a_calibrated_prediction_does_not_depend_on_the_batch(
    model: PoseModel[Any], network: onnx.ModelProto
) -> None:
    import onnxruntime

    made = quantised(network, calibration(model, meters=20.0, degrees=60.0)).network
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = images().astype(np.float32) / np.float32(255.0)
    for together, alone in zip(
        session.run(None, {"images": batch}), session.run(None, {"images": batch[:1]}), strict=True
    ):
        np.testing.assert_allclose(together[:1], alone, rtol=0, atol=1e-5)


def test_a_loss_is_the_larger_of_both_and_exact_poses_lose_nothing() -> None:
    single = Accuracy(0.1, 2.0)
    assert Accuracy(0.11, 2.0).loss(single) == pytest.approx(0.1)
    assert Accuracy(0.05, 3.0).loss(single) == pytest.approx(0.5)
    assert Accuracy(1e-6, 1e-4).loss(Accuracy(0.0, 0.0)) < ALLOWANCE


def test_without_images_convolutions_stay_in_single_precision(network: onnx.ModelProto) -> None:
    made = quantised(network)
    after = Counter(node.op_type for node in made.network.graph.node)
    before = Counter(node.op_type for node in network.graph.node)
    assert after["Conv"] == before["Conv"] > 0
    assert after["MatMulInteger"] > 0
    assert "training images" in made.notes()[0]
