"""Damaged exported files are refused in one sentence, whatever another tool wrote into them."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from tests.support.command_line import listing, refused
from tests.support.damage import reseal_file, turned_into_folder
from tests.support.trained import Made

Capture = pytest.CaptureFixture[str]
Damage = Callable[[Path], object]


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a network with a checksum that fits, so that what is wrong must be found in its content."""
    onnx.save(model, path)
    reseal_file(path)


def with_metadata(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(path: Path) -> None:
        model = onnx.load(path)
        (entry,) = (each for each in model.metadata_props if each.key == "camloc")
        content = json.loads(entry.value)
        change(content)
        entry.value = json.dumps(content)
        save(model, path)

    return damage


def with_text(text: str) -> Damage:
    def damage(path: Path) -> None:
        model = onnx.load(path)
        (entry,) = (each for each in model.metadata_props if each.key == "camloc")
        entry.value = text
        save(model, path)

    return damage


def of_another_tool(path: Path) -> None:
    shape = onnx.TensorProto.FLOAT, [1, 3]
    inputs, outputs = (onnx.helper.make_tensor_value_info(name, *shape) for name in ("images", "position"))
    node = onnx.helper.make_node("Relu", ["images"], ["position"])
    graph = onnx.helper.make_graph([node], "network", [inputs], [outputs])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset]), path)


def with_graph_of_another_tool(path: Path) -> None:
    kept = onnx.load(path).metadata_props[:]
    of_another_tool(path)
    model = onnx.load(path)
    model.metadata_props.extend(kept)
    save(model, path)


def with_reduced_outputs(path: Path) -> None:
    """Outputs keep their names and lose their last dimension but for one number."""
    model = onnx.load(path)
    for number, output in enumerate(list(model.graph.output)):
        name = output.name
        for node in model.graph.node:
            for place, each in enumerate(node.output):
                if each == name:
                    node.output[place] = f"{name}_whole"
            for place, each in enumerate(node.input):
                if each == name:
                    node.input[place] = f"{name}_whole"
        node = onnx.helper.make_node("ReduceMax", [f"{name}_whole"], [name], keepdims=1, name=f"max-{number}")
        model.graph.node.append(node)
        shape: list[str | int | None] = ["batch", *[1] * (len(output.type.tensor_type.shape.dim) - 1)]
        output.CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    save(model, path)


def bytes_of(share: float) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


EXPORTED: dict[str, Damage] = {
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: turned_into_folder(path.name)(path.parent),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a network\n" * 200),
    "a pickle": lambda path: path.write_bytes(pickle.dumps([1.0] * 500)),
    **{f"cut at {share}": bytes_of(share) for share in (0.01, 0.3, 0.8, 0.99)},
    "of another tool": of_another_tool,
    "of another tool with our metadata": with_graph_of_another_tool,
    "with outputs of other shapes": with_reduced_outputs,
    "with empty metadata": with_text(""),
    "with text as metadata": with_text("made by hand"),
    "with a list as metadata": with_text("[]"),
    "with nothing in the metadata": with_text("{}"),
    "with deep metadata": with_text("[" * 50_000),
    "of another format": with_metadata(lambda content: content["metadata"].update(format=9)),
    "of an unknown model": with_metadata(lambda content: content["metadata"].update(model="magic")),
    "with unknown metadata": with_metadata(lambda content: content["metadata"].update(colour="red")),
    "with an unknown part": with_metadata(lambda content: content.update(extra=1)),
    "without scenes": with_metadata(lambda content: content["metadata"].update(scenes=[])),
    "with more scenes": with_metadata(lambda content: content["metadata"].update(scenes=["a", "b"])),
    "without a decoding": with_metadata(lambda content: content.pop("decoding")),
    "with an unknown decoding": with_metadata(lambda content: content["decoding"].update(kind="magic")),
    "with the decoding of points": with_metadata(lambda content: content["decoding"].update(kind="points")),
    "with the decoding of scenes": with_metadata(
        lambda content: content["decoding"].update(kind="scene_pose")
    ),
    "with another orientation": with_metadata(lambda content: content["decoding"].update(orientation="6d")),
    "with a stride of nothing": with_metadata(lambda content: content["decoding"].update(stride=0)),
    "without centers": with_metadata(lambda content: content["decoding"].update(centers=[])),
    "with more centers": with_metadata(lambda content: content["decoding"].update(centers=[[0.0] * 3] * 2)),
    "with text as centers": with_metadata(lambda content: content["decoding"].update(centers=[["x"] * 3])),
    "with centers of another shape": with_metadata(
        lambda content: content["decoding"].update(centers=[[1.0]])
    ),
    "with infinite centers": with_metadata(
        lambda content: content["decoding"].update(centers=[[float("inf")] * 3])
    ),
    "without training poses": with_metadata(lambda content: content.update(training_poses=[[]])),
    "with short training poses": with_metadata(lambda content: content.update(training_poses=[[[1, 2, 3]]])),
    "with training poses of zeros": with_metadata(lambda content: content.update(training_poses=[[[0] * 7]])),
    "for images of another size": with_metadata(
        lambda content: content["metadata"]["preprocess"].update(width=32)
    ),
}


@pytest.mark.parametrize("what", EXPORTED)
def test_an_exported_file_that_is_damaged(
    what: str, trained: Path, exported: Made, tmp_path: Path, capfd: Capture
) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(exported.path, path)
    EXPORTED[what](path)
    before = listing(tmp_path)
    sentence = refused(capfd, "locate", path, next((trained / "scene" / "seq-02").glob("*.color.png")))
    assert "model.onnx" in sentence
    assert len(sentence) < 600
    assert listing(tmp_path) == before
