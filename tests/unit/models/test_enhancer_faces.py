"""Faces are drawn again where they are, and nothing else is touched."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import models
from models.enhancer.faces import LANDMARKS, OnnxFaceRestorer, paste
from models.errors import UnsuitableWeights, WeightsMissing

WIDTH, HEIGHT = 256, 192
SIDE = 64
# Where the face of a photo of that size is, px: eyes, nose, corners of the mouth.
FACE = np.array([[110, 80], [146, 80], [128, 100], [113, 118], [143, 118]], dtype=np.float32)


def save(path: Path, nodes: list, inputs: list, outputs: list, constants: list = []) -> None:  # noqa: B006
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), str(path))


def negative(path: Path) -> None:
    """A restorer that gives the negative of the face."""
    shape = [1, 3, SIDE, SIDE]
    given, drawn = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("face", "drawn")
    )
    save(path, [helper.make_node("Neg", ["face"], ["drawn"])], [given], [drawn])


def detector(path: Path) -> None:
    """A network with YuNet's outputs that finds one face at `FACE` in every photo."""
    nodes, constants, outputs = [], [], []
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    nodes.append(helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    for stride in (8, 16, 32):
        columns, rows = WIDTH // stride, HEIGHT // stride
        values = {
            name: np.zeros((1, columns * rows, size), np.float32)
            for name, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        }
        if stride == 16:
            column, row = 8, 6
            cell = row * columns + column
            values["cls"][0, cell] = values["obj"][0, cell] = 1
            values["bbox"][0, cell] = (0, 0, np.log(80 / stride), np.log(80 / stride))
            values["kps"][0, cell] = (FACE / stride - (column, row)).ravel()
        for name, value in values.items():
            name = f"{name}_{stride}"
            constants.append(onnx.numpy_helper.from_array(value, f"{name}_constant"))
            nodes.append(helper.make_node("Add", [f"{name}_constant", "nothing"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    photo = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    save(path, nodes, [photo], outputs, [zero, *constants])


@pytest.fixture
def restorer(tmp_path: Path) -> OnnxFaceRestorer:
    negative(tmp_path / "restorer.onnx")
    detector(tmp_path / OnnxFaceRestorer.detector_name)
    made = models.create(
        "face_restorer", f"onnx:{tmp_path}/restorer.onnx", weights=tmp_path, threads=1
    )
    assert isinstance(made, OnnxFaceRestorer)
    return made


def test_the_face_is_drawn_again_and_the_rest_is_left_alone(restorer: OnnxFaceRestorer) -> None:
    photo = np.full((HEIGHT, WIDTH, 3), (200, 150, 60), np.uint8)
    (result,) = restorer([photo])
    assert result.shape == photo.shape and result.dtype == np.uint8
    assert np.abs(result[100, 128].astype(int) - (55, 105, 195)).max() <= 2
    for side in (result[:8], result[-30:], result[:, :45], result[:, -45:]):
        assert (side == photo[0, 0]).all()


def test_a_face_is_aligned_before_it_is_drawn(
    restorer: OnnxFaceRestorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y in FACE.astype(int):
        cv2.circle(photo, (int(x), int(y)), 3, (255, 255, 255), -1)
    loaded = restorer.load()
    seen = []

    class Watching:
        def get_inputs(self):
            return loaded.session.get_inputs()

        def run(self, names, inputs):
            seen.append(inputs["face"])
            return loaded.session.run(names, inputs)

    monkeypatch.setattr(restorer, "_loaded", loaded._replace(session=Watching()))
    restorer([photo])
    (face,) = seen
    for x, y in (LANDMARKS * SIDE / 512).round().astype(int):
        assert face[0, 0, y - 2 : y + 3, x - 2 : x + 3].max() > 0.5
    assert face.min() == -1 and face.shape == (1, 3, SIDE, SIDE)


def test_a_restored_face_fades_into_the_photo() -> None:
    photo, face = np.zeros((200, 200, 3), np.uint8), np.full((SIDE, SIDE, 3), 255, np.uint8)
    moved = np.array([[1, 0, -60], [0, 1, -60]], np.float32)
    result = paste(photo, face, moved)[60 + SIDE // 2, 60 : 60 + SIDE // 2, 0].astype(int)
    assert result[0] == 0 and result[-1] == 255
    assert (np.diff(result) >= 0).all() and np.diff(result).max() < 60


def test_what_is_missing_or_no_restorer_is_named(tmp_path: Path) -> None:
    def load(name: str) -> None:
        models.create(
            "face_restorer", f"onnx:{tmp_path}/{name}", weights=tmp_path, threads=1
        ).load()

    with pytest.raises(WeightsMissing, match=r"absent\.onnx"):
        load("absent.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UnsuitableWeights, match=r"text\.onnx"):
        load("text.onnx")
    negative(tmp_path / "restorer.onnx")
    with pytest.raises(WeightsMissing, match=r"yunet\.onnx"):
        load("restorer.onnx")
