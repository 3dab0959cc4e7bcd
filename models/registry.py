"""Which backend stands behind which name.

A new backend is one class and one line here; an operator's own backend needs no line, its name
is `some.module:Class`. A name that ends in a colon here is followed by the path of a file.
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
        "x4plus_anime": "models.enhancer.networks:X4PlusAnime",
        "path:": "models.enhancer.networks:FromFile",
    },
    "face_restorer": {
        "onnx:": "models.enhancer.faces:OnnxFaceRestorer",
    },
    "image_text": {
        "conse": "models.image_text:ConSE",
        "open_clip": "models.open_clip_encoder:OpenClip",
    },
    "describer": {
        "tags": "models.describer:TagDescriber",
        "triton": "models.triton_describer:TritonDescriber",
        "openai": "models.openai_describer:OpenAIDescriber",
    },
    "text": {
        "minilm": "models.text:MiniLM",
        "static": "models.text:Static",
        "onnx": "models.text:SentenceOnnx",
    },
    "reader": {
        "rapidocr": "models.reader:RapidOCR",
    },
    "detector": {
        "ssdlite": "models.detector:SSDLite",
        "none": "models.detector:NoDetector",
    },
    "quality": {
        "no_reference": "models.quality:NoReference",
    },
}
# Another choice among the same, for pictures that are mostly text.
BACKENDS["text_enhancer"] = BACKENDS["enhancer"]


def create(kind: str, name: str, *, weights: Path, threads: int, **options: Any) -> Model:
    """Makes the backend `name` of a kind, not loaded yet.

    `options` go to the class's constructor. Raises `UnknownModel`, which lists the known names.
    """
    if kind not in BACKENDS:
        raise UnknownModel(f"no kind of model is called {kind!r}; known: {', '.join(BACKENDS)}")
    head, _, file = name.partition(":")
    target = BACKENDS[kind].get(name, name)
    if f"{head}:" in BACKENDS[kind]:
        if not file:
            raise UnknownModel(f"{kind} {name!r} names no file; {head}:/path/to/it would")
        target, options = BACKENDS[kind][f"{head}:"], {**options, "file": Path(file)}
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
