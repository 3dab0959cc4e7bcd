"""All six stages of images in a process of its own, without a broker, with free models."""

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from .free_models import ENVIRONMENT

# The test's fast models are not installed.
ROOT = Path(__file__).resolve().parents[2]


def process(folder: Path) -> ProcessPoolExecutor:
    """One process over the stores of a data folder; it runs the functions below."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_enter, initargs=(folder,))


def _enter(folder: Path) -> None:
    os.environ.update(ENVIRONMENT | {"JUSTLENS_DATA_DIR": str(folder)})
    sys.path.append(str(ROOT))


def save_businesses(businesses: dict[str, Sequence[str]], catids: dict[str, int]) -> None:
    """Businesses by docid, each with the names of its categories."""
    from pipeline.records import Business, Category

    _intake().save_businesses(
        [
            (
                Business(docid=docid, name=f"Business {docid}"),
                [Category(catid=catids[name], name=name) for name in names],
            )
            for docid, names in businesses.items()
        ]
    )


def images(keys: Sequence[tuple[str, int]]) -> list[float]:
    """Seconds from the upload of each photo to the end of its last stage.

    Photos with one ``product_id`` are the same picture.
    """
    from pipeline.graph import STEPS, message_for
    from pipeline.records import ImageState
    from tasks import app
    from tasks.runtime import runtime
    from tests.pictures import green

    intake, documents = _intake(), runtime().stores.documents
    seconds = []
    for docid, product_id in keys:
        content = green(product_id)
        began = time.perf_counter()
        intake.accept_bytes(docid, product_id, content)
        body = message_for(_image(docid, product_id)).encode()
        for step in STEPS:
            for stage in step:
                app.tasks[stage.value].apply((body,)).get()
        seconds.append(time.perf_counter() - began)
        state = documents.image(docid, product_id).state  # type: ignore[union-attr]
        assert state is ImageState.DONE, state
    return seconds


def embedded(keys: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """Take photos in; how many embeddings of names and words were asked for, and computed."""
    from pipeline.embeddings import TextEmbeddings
    from tasks.runtime import runtime

    here = runtime()
    counts = {"asked": 0, "computed": 0}

    class Counting(TextEmbeddings):
        """Counts what it is asked for."""

        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            counts["asked"] += len(texts)
            return super().__call__(texts)

    def counted(encode: Any) -> Any:
        def counting(texts: Sequence[str]) -> np.ndarray:
            counts["computed"] += len(texts)
            return encode(texts)

        return counting

    text, image_text, vectors = here.model("text"), here.model("image_text"), here.stores.vectors
    # What is made once for each process would hide that it comes from the store.
    here._scorers.clear()
    here.text_embeddings = Counting(counted(text), text.identity, vectors)
    here.image_text_embeddings = Counting(
        counted(image_text.encode_names), image_text.space, vectors, image_text.classes
    )
    images(keys)
    return counts["asked"], counts["computed"]


def close() -> None:
    """Give connections back, so that the files hold everything."""
    from tasks.runtime import runtime

    runtime().close()
    runtime.cache_clear()


def _intake() -> Any:
    from pipeline.ingest import Intake
    from tasks.runtime import runtime

    here = runtime()
    return Intake(here.stores, here.settings, lambda _image, _start: None)


def _image(docid: str, product_id: int) -> Any:
    from tasks.runtime import runtime

    return runtime().stores.documents.image(docid, product_id)
