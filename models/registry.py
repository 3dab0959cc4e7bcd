"""Which backend stands behind which name.

A new backend is one class and one line here; an operator's own backend needs no line, its name
is `some.module:Class`.
"""

import importlib
from pathlib import Path
from typing import Any

from models.base import Model
from models.errors import UnknownModel

BACKENDS: dict[str, dict[str, str]] = {
    "enhancer": {
        "compact": "models.enhancer.networks:Compact",
        "x4plus": "models.enhancer.networks:X4Plus",
    },
    "image_text": {
        "conse": "models.image_text:ConSE",
    },
    "describer": {
        "tags": "models.describer:TagDescriber",
    },
    "text": {
        "minilm": "models.text:MiniLM",
        "onnx": "models.text:SentenceOnnx",
    },
    "reader": {
        "rapidocr": "models.reader:RapidOCR",
    },
}


def create(kind: str, name: str, *, weights: Path, threads: int, **options: Any) -> Model:
    """Makes the backend `name` of a kind, not loaded yet.

    `options` go to the class's constructor. Raises `UnknownModel`, which lists the known names.
    """
    if kind not in BACKENDS:
        raise UnknownModel(f"no kind of model is called {kind!r}; known: {', '.join(BACKENDS)}")
    target = BACKENDS[kind].get(name, name)
    module, colon, attribute = target.partition(":")
    if not colon:
        known = ", ".join(BACKENDS[kind])
        raise UnknownModel(f"no {kind} is called {name!r}; known: {known}, or some.module:Class")
    try:
        backend = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UnknownModel(f"{kind} {name!r} cannot be imported: {error}") from error
    if not (isinstance(backend, type) and issubclass(backend, Model)):
        raise UnknownModel(f"{kind} {name!r} is not a subclass of models.base.Model")
    return backend(weights=weights, threads=threads, **options)
