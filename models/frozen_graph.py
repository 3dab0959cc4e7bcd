"""Convolutional networks out of TensorFlow's frozen graphs, written as ONNX.

TensorFlow itself is not needed: the graph is read by its published schema, which the package of
TensorBoard carries. Only the layers that lead to the wanted outputs are converted; the loops with
which such graphs decode and sort boxes are left behind.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import ModelError

if TYPE_CHECKING:
    import onnx

OPSET = 17


class UnknownLayer(ModelError):
    """A frozen graph has a layer that no rule turns into ONNX."""


def read_graph(path: Path) -> Any:
    """The `GraphDef` of a frozen graph's file."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    graph = GraphDef()
    graph.ParseFromString(Path(path).read_bytes())
    return graph


def cut_out(graph: Any, start: str, outputs: Iterable[str]) -> Any:
    """The part of a `GraphDef` that leads from `start`, now its input, to `outputs`."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT

    source = {node.name: node for node in graph.node}
    wanted, ahead = {start}, list(outputs)
    while ahead:
        name = ahead.pop().partition(":")[0]
        if name not in wanted:
            wanted.add(name)
            ahead += source[name].input
    part = GraphDef()
    part.node.add(name=start, op="Placeholder").attr["dtype"].type = DT_FLOAT
    part.node.extend(node for node in graph.node if node.name in wanted - {start})
    return part


def to_onnx(graph: Any, start: str, outputs: dict[str, str], side: int) -> "onnx.ModelProto":
    """The layers from `start` to `outputs` as a model of float32 tensors, channels first.

    Parameters
    ----------
    start:
        Name of the node that gives the pixels; the model's input `pixels` of shape
        (batch, 3, side, side) takes its place.
    outputs:
        Names of the model's outputs to names of nodes; each output is (batch, channels, rows,
        columns).

    Raises `UnknownLayer`.
    """
    from onnx import TensorProto, helper

    conversion = _Conversion(graph, start)
    made = [
        helper.make_node("Identity", [conversion.tensor(node)], [output])
        for output, node in outputs.items()
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, side, side])
    results = [
        helper.make_tensor_value_info(
            name,
            TensorProto.FLOAT,
            ["batch", f"{name}_channels", f"{name}_rows", f"{name}_columns"],
        )
        for name in outputs
    ]
    body = helper.make_graph(
        [*conversion.nodes, *made], "frozen", [pixels], results, conversion.weights
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


class _Conversion:
    """Walks from outputs to the start; TensorFlow has channels last, ONNX has them first."""

    def __init__(self, graph: Any, start: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._source = {node.name: node for node in graph.node}
        self._tensors = {start: "pixels"}

    def tensor(self, name: str) -> str:
        """Name of the tensor that stands for a node's output, its layers converted first."""
        name = name.partition(":")[0]
        if name not in self._tensors:
            self._tensors[name] = self._convert(self._source[name])
        return self._tensors[name]

    def _convert(self, node: Any) -> str:
        from onnx import helper

        if node.op == "Identity":
            return self.tensor(node.input[0])
        inputs, options = [self.tensor(node.input[0])], {}
        match node.op:
            case "Conv2D" | "DepthwiseConv2dNative":
                kind, kernel = "Conv", self._constant(node.input[1])
                if node.op == "Conv2D":
                    kernel = kernel.transpose(3, 2, 0, 1)
                else:
                    options["group"] = kernel.shape[2]
                    kernel = kernel.transpose(2, 3, 0, 1)
                inputs.append(self._weight(kernel))
                options["strides"] = list(node.attr["strides"].list.i)[1:3]
                same = node.attr["padding"].s == b"SAME"
                options["auto_pad"] = "SAME_UPPER" if same else "VALID"
            case "FusedBatchNorm":
                kind = "BatchNormalization"
                inputs += [self._weight(self._constant(name)) for name in node.input[1:5]]
                options["epsilon"] = node.attr["epsilon"].f
            case "Relu6":
                kind = "Clip"
                inputs += [self._weight(np.float32(bound)) for bound in (0, 6)]
            case "BiasAdd":
                kind = "Add"
                inputs.append(self._weight(self._constant(node.input[1]).reshape(1, -1, 1, 1)))
            case "Add":
                kind = "Add"
                inputs.append(self.tensor(node.input[1]))
            case _:
                raise UnknownLayer(f"{node.name} is a {node.op}")
        self.nodes.append(helper.make_node(kind, inputs, [node.name], **options))
        return node.name

    def _constant(self, name: str) -> np.ndarray:
        node = self._source[name]
        while node.op == "Identity":
            node = self._source[node.input[0]]
        stored = node.attr["value"].tensor
        shape = [dimension.size for dimension in stored.tensor_shape.dim]
        if stored.tensor_content:
            return np.frombuffer(stored.tensor_content, dtype="<f4").reshape(shape)
        # A tensor of one repeated value is stored as that value.
        return np.broadcast_to(np.array(stored.float_val, dtype=np.float32), shape)

    def _weight(self, value: np.ndarray | np.float32) -> str:
        from onnx import numpy_helper

        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, dtype=np.float32), name))
        return name
