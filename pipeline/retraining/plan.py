"""What a retraining is made from."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from models.text_training.data import Example, Pair, as_retrieval
from models.text_training.recipe import Recipe
from models.text_training.train import Lesson
from pipeline.errors import ConfigurationError
from pipeline.retraining.datasets import read_examples, read_retrieval, read_sts, read_texts

HELD_OUT = 0.1
"""Share of the logs that is not learnt but checked by, where no file is for that."""

CHECK_PAIRS = 300
"""Replayed pairs that are not learnt but checked by, where there are five times as many."""


@dataclass(frozen=True)
class Plan:
    """Files and the recipe: the same ones make the same model.

    Attributes:
        logs: triplets that are learnt.
        test: triplets, or a folder in MS MARCO's format: what is decided by.
        check: triplets that early stopping goes by; none: a tenth of the logs.
        texts: texts and their counts, that the tokenizer learns from; none: the logs.
        replay: scored pairs by which general similarity is kept; none: by the logs' texts.
        sts, quora, msmarco: what is measured beside; none: it is not.
    """

    logs: Path
    test: Path
    recipe: Recipe
    check: Path | None = None
    texts: Path | None = None
    replay: Path | None = None
    sts: Path | None = None
    quora: Path | None = None
    msmarco: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Those that are given, by their part."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: path for name, path in found.items() if isinstance(path, Path)}

    @property
    def digest(self) -> str:
        """Of what the files hold and of the recipe, wherever the files lie.

        Raises:
            ConfigurationError: a file is not there.
        """
        parts: dict[str, Any] = {"recipe": asdict(self.recipe)}
        for name, path in self.files.items():
            found = sorted(path.glob("*.tsv")) if path.is_dir() else [path]
            try:
                parts[name] = [hashlib.sha256(each.read_bytes()).hexdigest() for each in found]
            except OSError as error:
                raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def described(self) -> dict[str, Any]:
        """As JSON; ``plan_of`` reads it."""
        files = {name: str(path.absolute()) for name, path in self.files.items()}
        return {**files, "recipe": asdict(self.recipe)}

    def lesson(self) -> Lesson:
        """What is learnt, and what it is checked by.

        Raises:
            UnreadableDataset: a file is not in its format.
        """
        examples: Sequence[Example] = read_examples(self.logs)
        if self.check:
            check = read_retrieval(self.check)
        else:
            examples, held_out = _held_out(examples, self.recipe.seed)
            check = as_retrieval(held_out)
        replay: Sequence[Pair] = read_sts(self.replay) if self.replay else []
        checked: Sequence[Pair] = []
        if len(replay) >= 5 * CHECK_PAIRS:
            order = np.random.default_rng(self.recipe.seed).permutation(len(replay))
            checked = [replay[at] for at in order[:CHECK_PAIRS]]
            replay = [replay[at] for at in order[CHECK_PAIRS:]]
        return Lesson(examples, replay, check, checked)

    def seen(self) -> dict[str, float]:
        """What the tokenizer learns from: texts and how often each was seen."""
        if self.texts:
            return read_texts(self.texts)
        found: Counter[str] = Counter()
        for example in self.lesson().examples:
            found.update(
                text for text in (example.anchor, example.positive, example.negative) if text
            )
        return {text: float(count) for text, count in found.items()}


def plan_of(described: dict[str, Any]) -> Plan:
    """What ``Plan.described`` gave."""
    files = {name: Path(path) for name, path in described.items() if name != "recipe"}
    return Plan(recipe=Recipe(**described["recipe"]), **files)


def _held_out(
    examples: Sequence[Example], seed: int
) -> tuple[Sequence[Example], Sequence[Example]]:
    """An anchor is on one side with all that it was learnt with."""
    anchors = sorted({example.anchor for example in examples})
    order = np.random.default_rng(seed).permutation(len(anchors))
    held = {anchors[at] for at in order[: max(1, round(HELD_OUT * len(anchors)))]}
    return (
        [example for example in examples if example.anchor not in held],
        [example for example in examples if example.anchor in held],
    )
