"""What depends on the pixels alone: found once for each (bytes, model), shared by all who ask.

Tagging and describing run side by side and both need the labels: whoever comes first computes them.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
from propcache.api import cached_property

from models.image_text import ImageEmbedding, Label
from models.reader import ReadText, TextLine
from pipeline.imaging import Photo, perceptual_hash
from pipeline.metrics import ENCODED
from pipeline.stores.documents import PixelFact
from tasks.batcher import Batcher
from tasks.enhance import original
from tasks.runtime import runtime
from tasks.stage import Run


@lru_cache(maxsize=1)
def encodings() -> Batcher[np.ndarray, ImageEmbedding]:
    """The batcher of this process in front of its one copy of the image-text encoder."""
    here = runtime()

    def forward(_: Hashable, prepared: Sequence[np.ndarray]) -> Sequence[ImageEmbedding]:
        return here.model("image_text").embed(prepared)

    chosen = here.settings
    size, wait = chosen.image_text_batch_size, chosen.batch_wait
    return Batcher(forward, size, wait, ENCODED.observe, announced=True)


class Pixels:
    """The pixels of one run's image, decoded only when something has to be computed.

    A context manager: on leaving it, the pixels go back to the budget, and what was found in them
    is kept: by the run, together with the rest, or at once where an error ends it.
    """

    def __init__(self, run: Run) -> None:
        self._held = ExitStack()
        self._run = run
        self._documents = run.runtime.stores.documents
        self._new: list[tuple[str, PixelFact]] = []

    def __enter__(self) -> "Pixels":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._held.close()
        if error is not None:
            self._keep()
        self._run.facts.extend(self._new)

    @cached_property
    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, on white where the photo is transparent."""
        here = self._run.runtime
        _, content = original(self._run)
        photo = Photo(content, here.settings.max_pixels)
        self._held.enter_context(here.pixels.take(photo.pixels))
        return photo.decode().on_white()

    def embedding(self, names: Sequence[str]) -> ImageEmbedding:
        """Vector and labels by the image-text encoder.

        Args:
            names: of the business's categories; with the background set they are the classes of an
                encoder that has none of its own.
        """
        encoder = self._run.runtime.model("image_text")

        def compute() -> dict[str, Any]:
            prepared = encoder.prepare(self.rgb)
            with self._run.runtime.right_of_way.waiting():
                found = encodings()(prepared)
            return {
                "vector": found.vector.tolist(),
                "labels": [asdict(label) for label in found.labels],
            }

        fact = self._fact("labels", encoder.identity, compute)
        # At once: the other stage that needs them may be about to ask.
        self._keep()
        vector = np.asarray(fact["vector"], dtype=np.float32)
        labels = tuple(Label(**label) for label in fact["labels"])
        if not labels:
            shares = self._run.scorer.labels(vector, names)
            labels = tuple(Label(name, share) for name, share in shares)
        return ImageEmbedding(vector, labels)

    def text(self) -> ReadText:
        """The text read in the image."""
        reader = self._run.runtime.model("reader")
        fact = self._fact(
            "text",
            reader.identity,
            lambda: {"lines": [asdict(line) for line in reader(self.rgb).lines]},
        )
        return ReadText(tuple(TextLine(**line) for line in fact["lines"]))

    def measures(self) -> dict[str, Any]:
        """``score``, ``parts``, ``flags``, the ``measures`` behind them and ``perceptual_hash``."""
        assess = self._run.runtime.model("quality")
        return self._fact(
            "measures",
            assess.identity,
            lambda: {**asdict(assess(self.rgb)), "perceptual_hash": perceptual_hash(self.rgb)},
        )

    def people(self) -> float | None:
        """How sure the detector is that a person can be seen, 0..1; none: it cannot know."""
        detector = self._run.runtime.model("detector")
        fact = self._fact("people", detector.identity, lambda: {"people": detector(self.rgb)})
        return fact["people"]

    @cached_property
    def _known(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What was found in these bytes before, by kind and model; one read."""
        facts = self._documents.pixel_facts(self._run.image.sha256)
        return {(found.kind, found.model): found.fact for found in facts}

    def _fact(self, kind: str, model: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        fact = self._known.get((kind, model))
        if fact is None:
            self._run.runtime.right_of_way.give_way()
            fact = self._known[kind, model] = compute()
            self._new.append((self._run.image.sha256, PixelFact(kind, model, fact)))
        return fact

    def _keep(self) -> None:
        """Store what was found since the last time, in one write."""
        self._documents.save_pixel_facts(self._new)
        self._new.clear()
