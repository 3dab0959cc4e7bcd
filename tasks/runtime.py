"""What a worker process has one of: stores, models, pixel budget, isolation, watchdog."""

import threading
from functools import cached_property, lru_cache
from typing import Any

import models
from models.base import Model
from pipeline.embeddings import TextEmbeddings
from pipeline.pixel_budget import PixelBudget
from pipeline.scoring import Scorer
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores
from pipeline.vocabulary import WordWeights, current_background
from tasks.isolation import Isolation
from tasks.watchdog import Watchdog


class Runtime:
    """Opened on first use, after any fork; models are loaded on first use and kept."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.isolation = Isolation()
        self.pixels = PixelBudget(settings.pixels_in_flight)
        self._models: dict[str, Model] = {}
        self._lock = threading.RLock()
        self._scorer: tuple[str, Scorer] | None = None

    @cached_property
    def stores(self) -> Stores:
        """The stores of this process."""
        return open_stores(self.settings)

    @cached_property
    def watchdog(self) -> Watchdog:
        """Ends the process when a stage is stuck."""
        return Watchdog(self.stores.documents.note_delivery)

    def close(self) -> None:
        """Give connections back; stores that nobody has used are not opened for it."""
        if "stores" in vars(self):
            self.stores.close()

    def model(self, kind: str) -> Any:
        """The model of a kind that the settings choose: one copy in the process.

        Typed loosely, since each kind has an interface of its own (see ``models``).
        """
        names = {
            "enhancer": self.settings.enhancer,
            "text_enhancer": self.settings.text_enhancer,
            "face_restorer": self.settings.face_restorer,
            "image_text": self.settings.image_text_encoder,
            "describer": self.settings.describer,
            "text": self.settings.text_encoder,
            "reader": self.settings.text_reader,
            "detector": self.settings.people_detector,
        }
        with self._lock:
            if kind not in self._models:
                options: dict[str, Any] = {}
                if kind == "image_text":
                    options = {
                        "text_encoder": self.model("text"),
                        **self.settings.image_text_options(),
                    }
                elif kind == "describer":
                    options = self.settings.describer_options()
                elif kind in ("enhancer", "text_enhancer"):
                    options = self.settings.enhancer_options(kind)
                self._models[kind] = models.create(
                    kind,
                    names[kind],
                    weights=self.settings.model_dir,
                    threads=self.settings.threads,
                    **options,
                )
            return self._models[kind]

    @cached_property
    def text_embeddings(self) -> TextEmbeddings:
        """Texts in the space of descriptions."""
        encoder = self.model("text")
        return TextEmbeddings(encoder, encoder.identity, self.stores.vectors)

    @cached_property
    def image_text_embeddings(self) -> TextEmbeddings:
        """Names of categories and queries in the space of pictures."""
        encoder = self.model("image_text")
        return TextEmbeddings(
            encoder.encode_names, encoder.space, self.stores.vectors, encoder.classes
        )

    def scorer(self) -> Scorer:
        """The scorer for the vocabulary as it stands."""
        version = self.stores.directory.vocabulary_version()
        with self._lock:
            if self._scorer is None or self._scorer[0] != version:
                vocabulary = self.stores.directory.vocabulary()
                background = current_background(
                    self.stores.documents,
                    vocabulary,
                    self.model("image_text").background_names(),
                    self.settings.background_size,
                    self.settings.background_least,
                )
                scorer = Scorer(
                    self.settings,
                    background,
                    self.text_embeddings,
                    self.image_text_embeddings,
                    WordWeights(vocabulary),
                )
                self._scorer = (version, scorer)
            return self._scorer[1]


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """The runtime of this process."""
    return Runtime(settings())
