"""What a training is done by."""

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from models.errors import UnsuitableInput


@dataclass(frozen=True)
class Recipe:
    """What makes a training the training that it is, its data aside.

    Attributes
    ----------
    seed:
        Of everything that is drawn.
    pieces:
        Most pieces that are added to the tokenizer; 0: none.
    pieces_least:
        Occurrences of pieces that a new one must save over all texts.
    passes:
        Over the examples.
    batch:
        Examples in a step; the other ones' positives and negatives are an example's negatives, too.
    learning_rate:
        Of AdamW, at its highest.
    pieces_rate:
        How many times as far as by that rate the vectors of new pieces go in a step.
    warmup:
        Share of the steps until then; it falls linearly to 0 afterwards.
    scale:
        Inverse temperature of the examples' softmax.
    noise:
        Share of an anchor's longer words that are misspelt, in its negative alike, anew in each
        pass.
    replay:
        Pairs, for each example, by which general similarity is kept.
    trained:
        Share of the trained weights in the result; the rest is of those before. Vectors of new
        pieces are as trained.
    patience:
        Checks in a row without a better score that end the training.
    """

    seed: int = 0
    pieces: int = 500
    pieces_least: float = 3.0
    passes: int = 6
    batch: int = 16
    learning_rate: float = 5e-5
    pieces_rate: float = 50.0
    warmup: float = 0.1
    scale: float = 20.0
    noise: float = 0.1
    replay: float = 1.0
    trained: float = 0.64
    patience: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            wanted = int if field.type in (int, "int") else (int, float)
            if isinstance(value, bool) or not isinstance(value, wanted):
                raise UnsuitableInput(f"a recipe's {field.name} is a number, not {value!r}")
        for name, least in (("passes", 1), ("batch", 2), ("patience", 1), ("pieces", 0)):
            if getattr(self, name) < least:
                raise UnsuitableInput(f"a recipe's {name} must be at least {least}")
        for name in ("learning_rate", "pieces_rate", "scale"):
            if not getattr(self, name) > 0:
                raise UnsuitableInput(f"a recipe's {name} must be above 0")
        for name, most in (("warmup", 1.0), ("noise", 1.0), ("trained", 1.0), ("replay", 1e6)):
            if not 0 <= getattr(self, name) <= most:
                raise UnsuitableInput(f"a recipe's {name} must be between 0 and {most:g}")


def read_recipe(path: Path) -> Recipe:
    """A recipe from a TOML or JSON file; what it leaves out is as by default.

    Raises `UnsuitableInput`, which names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UnsuitableInput(f"the recipe {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UnsuitableInput(f"the recipe {path} is not what its name says: {error}") from error
    known = [field.name for field in fields(Recipe)]
    if not isinstance(found, dict) or (unknown := sorted(set(found) - set(known))):
        named = "no table" if not isinstance(found, dict) else f"unknown: {', '.join(unknown)}"
        raise UnsuitableInput(f"the recipe {path}: {named}; known: {', '.join(known)}")
    try:
        return Recipe(**found)
    except UnsuitableInput as error:
        raise UnsuitableInput(f"the recipe {path}: {error}") from error
