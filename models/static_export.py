"""Makes a static encoder out of a sentence encoder: a vector for each piece of its vocabulary.

After Model2Vec (Tulkens and van Dongen 2024, github.com/MinishLab/model2vec): every piece goes
through the encoder once, by itself, and a text's vector is the mean of its pieces' vectors. What
all pieces have in common is taken away (Mu and Viswanath 2018, All-but-the-Top, arXiv:1702.01417),
and frequent pieces weigh less (Arora et al. 2017, SIF). Nothing is trained.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COMMON = 8
"""Principal directions of the pieces that are taken away."""

SMOOTHING = 1e-3
"""SIF's a: a piece of relative frequency p weighs a / (a + p)."""

FAINT = 1e-6
"""Length of the vector of a text's beginning, by which a text without any piece has a direction."""

PIECES_PER_PASS = 512


def definitions() -> list[str]:
    """22,000 sentences that say what a thing is: how often a piece occurs is counted in them."""
    import timm

    file = Path(timm.__file__).parent / "data" / "_info" / "imagenet_synset_to_definition.txt"
    return [line.partition("\t")[2] for line in file.read_text(encoding="utf-8").splitlines()]


def static_encoder(source: Path, target: Path, texts: Callable[[], Sequence[str]]) -> None:
    """Writes what `models.text.SentenceOnnx` serves, from a sentence-transformers folder.

    Parameters
    ----------
    source:
        A BERT-like model with mean pooling.
    target:
        Gets `model.onnx` (weights in 8 bits, a scale for each piece), `tokenizer.json` and
        `encoder.json`.
    texts:
        In which the pieces' frequencies are counted.

    Raises `ArtefactDiffers` when the graph does not compute what the table says.
    """
    import onnx
    from transformers import AutoModel, AutoTokenizer

    from models.export import run_onnx, verified

    source, target = Path(source), Path(target)
    # From a folder: there is no revision to pin.
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)  # nosec B615
    transformer = AutoModel.from_pretrained(source, local_files_only=True).eval()  # nosec B615
    special = np.array(tokenizer.all_special_ids)
    counts = np.bincount(
        np.concatenate([_ids(tokenizer, text) for text in texts()]), minlength=len(tokenizer)
    )
    rows = table(_pieces(transformer, tokenizer), counts, special, tokenizer.cls_token_id)

    scales = np.abs(rows).max(axis=1, keepdims=True) / 127
    whole = np.round(rows / np.where(scales > 0, scales, 1)).astype(np.int8)
    onnx.save(_graph(whole, scales), target / "model.onnx")
    tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))
    described = {
        "dimension": int(rows.shape[1]),
        "max_tokens": int(transformer.config.max_position_embeddings),
    }
    (target / "encoder.json").write_text(json.dumps(described, indent=1))

    probes = [
        np.array([tokenizer(text)["input_ids"]]) for text in ("freshly baked bread", "dentist", "")
    ]
    sums = np.concatenate([(whole[ids] * scales[ids]).sum(axis=1) for ids in probes])
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    got = run_onnx(target / "model.onnx", *({"input_ids": ids} for ids in probes))
    verified("static encoder", got, expected)


def table(pieces: np.ndarray, counts: np.ndarray, special: np.ndarray, first: int) -> np.ndarray:
    """Vectors of the pieces as they are summed, float32 (V, D).

    Parameters
    ----------
    pieces:
        What the sentence encoder makes of each piece alone, (V, D).
    counts:
        How often each occurs, (V,).
    special:
        Pieces that are no part of a text; they count for nothing.
    first:
        The one with which every text begins.
    """
    mean = pieces.mean(axis=0)
    centred = pieces - mean
    # The eigenvectors of the largest eigenvalues, which come last.
    common = np.linalg.eigh(centred.T @ centred)[1][:, -COMMON:]
    own = centred - (centred @ common) @ common.T
    frequencies = (counts + 1) / (counts.sum() + counts.size)
    rows = own * (SMOOTHING / (SMOOTHING + frequencies))[:, None]
    rows[special] = 0
    rows[first] = FAINT * mean / np.linalg.norm(mean)
    return rows.astype(np.float32)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _pieces(transformer: Any, tokenizer: Any) -> np.ndarray:
    """Every piece as a text of its own, the mean over its tokens: float32 (V, D)."""
    import torch

    framed = torch.full((len(tokenizer), 3), tokenizer.cls_token_id)
    framed[:, 1] = torch.arange(len(tokenizer))
    framed[:, 2] = tokenizer.sep_token_id
    with torch.inference_mode():
        passes = [
            transformer(input_ids=some)[0].mean(dim=1) for some in framed.split(PIECES_PER_PASS)
        ]
    return torch.cat(passes).float().numpy()


def _graph(whole: np.ndarray, scales: np.ndarray) -> Any:
    """`input_ids` (1, length) to `sentence_embedding` (1, D) of length 1."""
    from onnx import TensorProto, helper, numpy_helper

    from models.export import OPSET

    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["rows"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "input_ids"], ["scale"]),
        helper.make_node("Mul", ["rows", "scale"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["sentence_embedding"], axis=1, p=2),
    ]
    body = helper.make_graph(
        nodes,
        "static",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "length"])],
        [
            helper.make_tensor_value_info(
                "sentence_embedding", TensorProto.FLOAT, [1, whole.shape[1]]
            )
        ],
        [
            numpy_helper.from_array(whole, "table"),
            numpy_helper.from_array(scales.astype(np.float32), "scales"),
        ],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
