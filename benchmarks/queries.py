"""Claim: of queries as people type them, at least 92 % are taken for the right category.

500 are made from the names of a directory by slips of the finger and of the ear
(`measuring.slips`), the others were written by hand (`data/queries`). The claim is about those by
hand that nothing was tuned on, all together, another directory's among them. Baselines, on the same
queries: the embedding alone, the characters alone (rapidfuzz's ratio), and their plain sum; the
best of them counts. "Right" accepts every category of which a person would say that it is meant
("haircut": barbers or hair salons); "strict" only the first.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import arguments, figures, machine, paired_entry, ratio, report, versions
from measuring.slips import misspelt
from rapidfuzz import fuzz, process

import models
from pipeline.embeddings import TextEmbeddings
from pipeline.queries import QueryResolver, fold
from pipeline.settings import Settings
from pipeline.stores import open_stores

DATA = Path(__file__).parent / "data" / "queries"
OF_EACH_KIND = 100
SEED = 7
WARM_UP = 10
LARGE_VOCABULARY = 10_000

ANOTHER = "another directory, by hand"
UNTUNED = ("by hand, held out", "by hand, second hold-out", "by hand, third set", ANOTHER)
TARGET = 0.92


@dataclass(frozen=True)
class Query:
    """A text, and the categories that it may mean, the likeliest first."""

    text: str
    means: tuple[str, ...]


def lines(name: str) -> list[str]:
    """The lines of a file of `data/queries`, without comments."""
    text = (DATA / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def written(name: str) -> list[Query]:
    """Queries that were written by hand: a text, a tab, the categories between bars."""
    pairs = (line.split("\t") for line in lines(name))
    return [Query(text, tuple(means.split("|"))) for text, means in pairs]


def sets_of_queries(vocabulary: Sequence[str]) -> dict[str, list[Query]]:
    """All queries over the directory's vocabulary."""
    slips = misspelt(vocabulary, OF_EACH_KIND, SEED)
    by_hand = written("handwritten.tsv")
    return {
        "correctly spelt": [Query(name, (name,)) for name in vocabulary],
        **{
            f"slips: {kind}": [Query(text, (name,)) for own, text, name in slips if own == kind]
            for kind in dict.fromkeys(kind for kind, _, _ in slips)
        },
        "by hand, tuned on": by_hand[::2],
        "by hand, held out": by_hand[1::2],
        "by hand, second hold-out": written("second_holdout.tsv"),
        "by hand, third set": written("third_set.tsv"),
    }


Answer = Callable[[str], str | None]


def baselines(names: Sequence[str], embeddings: TextEmbeddings) -> dict[str, Answer]:
    """The embedding alone, the characters alone, their sum."""
    vectors = embeddings(names)
    folded = [fold(name) for name in names]

    def meaning(text: str) -> np.ndarray:
        return vectors @ embeddings([text])[0]

    def letters(text: str) -> np.ndarray:
        return process.cdist([fold(text)], folded, scorer=fuzz.ratio)[0] / 100

    return {
        "embedding alone": lambda text: names[int(meaning(text).argmax())],
        "characters alone": lambda text: names[int(letters(text).argmax())],
        "their sum": lambda text: names[int((meaning(text) + letters(text)).argmax())],
    }


def right(answer: Answer, queries: Sequence[Query], strict: bool = False) -> list[bool]:
    """Which queries get a right category."""
    return [answer(query.text) in query.means[: 1 if strict else None] for query in queries]


def judge(answers: Mapping[str, Answer], queries: Sequence[Query]) -> dict[str, list[bool]]:
    """Which queries each way gets right, and which the resolver does strictly."""
    found = {way: right(answer, queries) for way, answer in answers.items()}
    return {**found, "resolver, strict": right(answers["resolver"], queries, strict=True)}


def share(found: Sequence[bool]) -> float:
    """How many of them are right."""
    return round(float(np.mean(found)), 3)


def resolver(names: Sequence[str], embeddings: TextEmbeddings, pieces: Any) -> QueryResolver:
    """A resolver over names that lie in no store."""

    class Directory:
        def vocabulary(self) -> list[str]:
            return list(names)

        def vocabulary_version(self) -> str:
            return "1"

    made = QueryResolver(Directory(), embeddings, pieces, cache=Settings().model_dir)
    made.warm_up()
    return made


def seconds(work: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """What each of the texts takes, the first few left out."""
    taken = []
    for text in texts:
        began = time.perf_counter()
        work(text)
        taken.append(time.perf_counter() - began)
    return taken[WARM_UP:]


class Unstored:
    """Embeddings without a store: what a query costs that nobody has asked before.

    Very many names get random vectors, which take as long to compare and no minutes to make.
    """

    def __init__(self, encoder: Any) -> None:
        self.model = encoder.identity
        self._encoder = encoder

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if len(texts) < LARGE_VOCABULARY:
            return self._encoder(texts)
        shape = len(texts), self._encoder.dimension
        vectors = np.random.default_rng(SEED).normal(size=shape).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    settings = Settings()
    encoder: Any = models.create(
        "text", settings.text_encoder, weights=settings.model_dir, threads=1
    )
    vocabulary = lines("vocabulary.txt")
    sets = sets_of_queries(vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        stores = open_stores(Settings(data_dir=Path(folder)))
        embeddings = TextEmbeddings(encoder, encoder.identity, stores.vectors)
        ours = resolver(vocabulary, embeddings, encoder.pieces)
        answers: dict[str, Answer] = {
            "resolver": lambda text: ours.resolve(text).category,
            **baselines(vocabulary, embeddings),
        }
        judged = {name: judge(answers, queries) for name, queries in sets.items()}
        others = written("other_trades.tsv")
        other_names = sorted({name for query in others for name in query.means})
        theirs = resolver(other_names, embeddings, encoder.pieces)
        judged[ANOTHER] = judge(
            {
                "resolver": lambda text: theirs.resolve(text).category,
                **baselines(other_names, embeddings),
            },
            others,
        )
        accuracy = {
            name: {"n": len(found["resolver"]), **{way: share(found[way]) for way in found}}
            for name, found in judged.items()
        }
        nonsense = lines("nonsense.txt")
        understood = [text for text in nonsense if ours.resolve(text).category]
        missed = {
            name: {
                query.text: answer
                for query in queries
                if (answer := answers["resolver"](query.text)) not in query.means
            }
            for name, queries in sets.items()
        }
    texts = [query.text for name, queries in sets.items() if "slips" in name for query in queries]
    unstored: Any = Unstored(encoder)
    small = resolver(vocabulary, unstored, encoder.pieces)
    dice = np.random.default_rng(SEED)
    words = sorted({word for name in [*vocabulary, *other_names] for word in fold(name).split()})
    many = sorted({" ".join(dice.choice(words, 3, replace=False)) for _ in range(11_000)})
    many = many[: LARGE_VOCABULARY - len(vocabulary)]
    large = resolver([*vocabulary, *many], unstored, encoder.pieces)
    chosen = texts[::3]
    latency = {
        "resolve": seconds(small.resolve, chosen),
        "one forward pass": seconds(lambda text: encoder([text]), chosen),
        "suggest": seconds(small.suggest, chosen),
        "resolve among 10,000": seconds(large.resolve, chosen),
        "suggest among 10,000": seconds(large.suggest, chosen),
    }
    results: dict[str, Any] = {
        "machine": where,
        "versions": versions(("rapidfuzz", "jellyfish", "symspellpy", "onnxruntime", "numpy")),
        "sizes": {
            "vocabulary": len(vocabulary),
            "generated": OF_EACH_KIND * 5,
            "handwritten": sum(len(sets[name]) for name in sets if "hand" in name),
            "nonsense": len(nonsense),
        },
        "accuracy": accuracy,
        "nonsense_taken_for_something": understood,
        "missed": missed,
        "latency": {name: figures(taken) for name, taken in latency.items()},
        "resolve_to_forward_pass": ratio(latency["resolve"], latency["one forward pass"]),
    }
    out = [
        f"{name:27} n {of['n']:3}: {of['resolver']:.3f} (strict {of['resolver, strict']:.3f}); "
        f"embedding {of['embedding alone']:.3f}, characters {of['characters alone']:.3f}, "
        f"sum {of['their sum']:.3f}"
        for name, of in accuracy.items()
    ]
    out.append(f"nonsense taken for something: {len(understood)} of {len(nonsense)}")
    out += [
        f"{name:27} {of['median_ms']:6.1f} ms median, {of['p99_ms']:6.1f} ms p99"
        for name, of in results["latency"].items()
    ]
    ways = ("resolver", "embedding alone", "characters alone", "their sum")
    untuned = {way: [one for name in UNTUNED for one in judged[name][way]] for way in ways}
    best = max(ways[1:], key=lambda way: share(untuned[way]))
    out.append(f"by hand and not tuned on, together: the best baseline is {best}")
    claimed = paired_entry(
        "queries_by_hand", untuned["resolver"], untuned[best], "share", TARGET, "ours"
    )
    report("queries", results, out, options.json, [claimed])


if __name__ == "__main__":
    main()
