"""Claim: text is encoded in int8 as well as in full precision, faster and smaller; or faster still.

The default is MiniLM in int8 on ONNX Runtime; the small encoder is a vector for each piece of its
vocabulary. Baseline: sentence-transformers on torch in fp32, the weights that both were made from,
the same texts, as many threads; all take turns. Each is loaded once more in a process of its own,
for its memory. How good they are is Spearman's correlation with people's judgement of 1,500 pairs,
STS-B dev: `stsb/dev.csv` (sentence, sentence, 0..5; no header) below the folder
JUSTLENS_MEASURING_DATA.
"""

import csv
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from measuring import FULL, Entry, arguments, entry, figures, machine, ratio, report, versions
from scipy.stats import spearmanr

# Where the measuring data lies is said by the tests, which are not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import models
from models import artefacts
from models.export import minilm_source
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
ROUNDS = 12 if FULL else 8
QUERIES = 10 if FULL else 5
RESAMPLES = 500
SMALL_MS = 20
"""What the small encoder may take for all sentences."""

Encode = Callable[[Sequence[str]], np.ndarray]


def open_ours(name: str) -> Encode:
    """One of the text encoders that the settings can name."""
    encoder = models.create("text", name, weights=artefacts.default_weights(), threads=THREADS)
    encoder.load()
    return encoder  # type: ignore[return-value]  # of the kind text


def open_torch() -> Encode:
    """The baseline."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    model = SentenceTransformer(str(minilm_source()), device="cpu")
    return lambda texts: model.encode(
        list(texts), batch_size=128, normalize_embeddings=True, show_progress_bar=False
    )


WAYS: dict[str, Callable[[], Encode]] = {
    "int8": partial(open_ours, "minilm"),
    "static": partial(open_ours, "static"),
    "fp32": open_torch,
}
BASELINE = "fp32"


def resident_mib(way: str) -> int:
    """Memory of this process once it has encoded all sentences."""
    encode = WAYS[way]()
    encode(SENTENCES)
    return round(psutil.Process().memory_info().rss / 2**20)


def seconds(encode: Encode, texts: Sequence[str]) -> float:
    began = time.perf_counter()
    encode(texts)
    return time.perf_counter() - began


class Quality:
    """How the cosines of each way agree with people, over the pairs of STS-B dev."""

    def __init__(self, encoders: Mapping[str, Encode]) -> None:
        with PAIRS.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        self.judged = np.array([float(row[2]) for row in rows])
        sides = {
            way: [encode([row[i] for row in rows]) for i in (0, 1)]
            for way, encode in encoders.items()
        }
        self.cosines = {way: (left * right).sum(axis=1) for way, (left, right) in sides.items()}
        self.to_exact = (sides["int8"][0] * sides[BASELINE][0]).sum(axis=1)

    def spearman(self, way: str, pairs: np.ndarray | slice = slice(None)) -> float:
        return float(spearmanr(self.cosines[way][pairs], self.judged[pairs]).statistic)

    def entry(self, name: str, way: str, target: float) -> Entry:
        """A way's correlation to the baseline's, with the interval over the pairs (seeded)."""
        random = np.random.default_rng(0)
        count = len(self.judged)
        drawn = [random.integers(0, count, count) for _ in range(RESAMPLES)]
        ratios = [self.spearman(way, some) / self.spearman(BASELINE, some) for some in drawn]
        low, high = np.percentile(ratios, (2.5, 97.5))
        ours, baseline = self.spearman(way), self.spearman(BASELINE)
        return Entry(
            name,
            round(ours, 4),
            round(baseline, 4),
            round(ours / baseline, 3),
            (round(float(low), 3), round(float(high), 3)),
            "Spearman",
            "higher",
            target,
        )


def draw(spent: Mapping[str, float], quality: Quality, path: Path) -> None:
    """Time against quality."""
    from measuring.plots import save, subplots

    figure, panel = subplots(figsize=(5.5, 3.4))
    for way, milliseconds in spent.items():
        panel.plot([milliseconds], [quality.spearman(way)], "o", markersize=8)
        panel.annotate(
            f"{way}, {milliseconds:.0f} ms",
            (milliseconds, quality.spearman(way)),
            xytext=(0, -14),
            textcoords="offset points",
            ha="center",
        )
    panel.axvline(SMALL_MS, color="grey", linewidth=1, linestyle="--", label=f"{SMALL_MS} ms")
    panel.legend(frameon=False)
    panel.set_xscale("log")
    panel.margins(x=0.2, y=0.25)
    panel.set_xlabel(f"{len(SENTENCES)} short sentences, ms (median)")
    panel.set_ylabel("Spearman, STS-B dev")
    save(figure, path)


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
    alone = {
        way: np.concatenate([encoders[way]([text]) for text in SENTENCES])
        for way in WAYS
        if way != BASELINE
    }
    changes = {
        way: float(np.abs(encoders[way](SENTENCES) - vectors).max())
        for way, vectors in alone.items()
    }
    weights = artefacts.default_weights()
    files = {
        way: artefacts.folder(weights, name) / "model.onnx"
        for way, name in (("int8", "minilm"), ("static", "static"))
    }
    quality = Quality(encoders) if PAIRS.is_file() else None

    results = {
        "machine": where,
        "versions": versions(("onnxruntime", "sentence-transformers", "torch", "numpy")),
        "sizes": {
            "threads": THREADS,
            "queries": ROUNDS * QUERIES,
            "rounds": ROUNDS,
            "sentences": len(SENTENCES),
            **{f"{way}_file_mb": round(file.stat().st_size / 1e6) for way, file in files.items()},
        },
        "resident_mib": memory,
        "one_query": {way: figures(one[way]) for way in WAYS},
        "one_query_to_fp32": {way: ratio(one[way], one[BASELINE]) for way in alone},
        "sentences": {way: figures(many[way]) for way in WAYS},
        "sentences_to_fp32": {way: ratio(many[way], many[BASELINE]) for way in alone},
        "largest_change_among_others": changes,
    }
    lines = []
    for what, title in (("one_query", "one query"), ("sentences", f"{len(SENTENCES)} sentences")):
        for way in WAYS:
            taken = results[what][way]
            lines.append(
                f"{title:14} {way:6} {taken['median_ms']:8.2f} ms (median), "
                f"{taken['p99_ms']:.2f} ms (p99)"
            )
        for way, to in results[f"{what}_to_fp32"].items():
            lines.append(
                f"{title:14} {way:6} to fp32: {to['ratio']:.3f} ({to['low']:.3f} to "
                f"{to['high']:.3f})"
            )
    lines += [
        "resident       " + ", ".join(f"{way} {mib} MiB" for way, mib in memory.items()),
        "alone or among others, apart at most: "
        + ", ".join(f"{way} {change:.1e}" for way, change in changes.items()),
    ]
    rates = {way: [len(SENTENCES) / taken for taken in many[way]] for way in WAYS}
    spent = {way: [1000 * taken for taken in many[way]] for way in WAYS}
    entries = [
        entry("text_int8", rates["int8"], rates[BASELINE], "sentences/s", "higher", 1.6),
        entry("text_small", spent["static"], spent[BASELINE], "ms", "lower", SMALL_MS, "ours"),
    ]
    if quality:
        entries += [
            # Within 0.01 of the baseline's 0.867.
            quality.entry("text_int8_spearman", "int8", 0.989),
            quality.entry("text_small_spearman", "static", 0.9),
        ]
        results["quality"] = {
            "pairs": len(quality.judged),
            "spearman": {way: round(quality.spearman(way), 4) for way in WAYS},
            "cosine_mean": round(float(quality.to_exact.mean()), 4),
            "cosine_least": round(float(quality.to_exact.min()), 4),
        }
        found = results["quality"]
        lines += [
            "Spearman       "
            + ", ".join(f"{way} {value}" for way, value in found["spearman"].items())
            + f" on {found['pairs']} pairs",
            f"cosine of int8 to fp32 {found['cosine_mean']} (mean), "
            f"{found['cosine_least']} (least)",
        ]
        if options.plots:
            medians = {way: float(np.median(values)) for way, values in spent.items()}
            draw(medians, quality, options.plots / "text_encoder.svg")
    else:
        lines.append(
            f"Spearman       not measured: {PAIRS} is absent; JUSTLENS_MEASURING_DATA "
            "names the folder that holds stsb/dev.csv"
        )
    report("text_encoder", results, lines, options.json, entries)


if __name__ == "__main__":
    main()
