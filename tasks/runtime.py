"""What a worker process has one of: stores, models, pixel budget, isolation and so on."""

import logging
import threading
from functools import cached_property, lru_cache
from typing import Any

import cv2

import models
from models.base import Model
from models.errors import ModelError
from pipeline.embeddings import TextEmbeddings
from pipeline.errors import ConfigurationError, ObjectMissing
from pipeline.pixel_budget import PixelBudget
from pipeline.rescoring import Rescoring, Space
from pipeline.scoring import Scorer
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores
from pipeline.text_spaces import BASE, fetch, text_spaces
from pipeline.vocabulary import WordWeights, current_background
from tasks.isolation import Isolation
from tasks.right_of_way import RightOfWay
from tasks.watchdog import Watchdog

log = logging.getLogger(__name__)


class Runtime:
    """Opened on first use, after any fork; models are loaded on first use and kept."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # By itself it takes all cores, and its threads spin for a while after each call.
        cv2.setNumThreads(settings.threads)
        self.isolation = Isolation()
        self.right_of_way = RightOfWay()
        self.pixels = PixelBudget(settings.pixels_in_flight)
        self._models: dict[str, Model] = {}
        self._lock = threading.RLock()
        self._scorers: dict[str, tuple[str, Scorer]] = {}
        self._rescorings: dict[str, Rescoring] = {}

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
        # Some thirty times an image.
        known = self._models.get(kind)
        return self._make_once(kind) if known is None else known

    def _make_once(self, kind: str) -> Any:
        names = {
            "enhancer": self.settings.enhancer,
            "text_enhancer": self.settings.text_enhancer,
            "face_restorer": self.settings.face_restorer,
            "image_text": self.settings.image_text_encoder,
            "describer": self.settings.describer,
            "text": self.settings.text_encoder,
            "reader": self.settings.text_reader,
            "detector": self.settings.people_detector,
            "quality": self.settings.quality,
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
                self._models[kind] = self._make(kind, names[kind], **options)
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

    def champion(self) -> Any:
        """The text model that serves: that of the settings, or the retrained one after a cut-over.

        Raises:
            ObjectMissing: it was never published.
        """
        name = text_spaces(self.stores.documents).serving
        if name == BASE:
            return self.model("text")
        folder = fetch(self.stores.objects, name, self.settings.model_dir)
        return self._make("text", "onnx", folder=folder, identity=name)

    def scorer(self, version: str = "") -> Scorer:
        """The scorer for the vocabulary as it stands.

        Args:
            version: of the vocabulary, where it has been read just now.
        """
        texts, names = self.text_embeddings, self.image_text_embeddings
        return self._current_scorer(BASE, texts, names, version)

    def rescorings(self) -> list[Rescoring]:
        """What writes images into the spaces of retrained text models, of each that is kept up.

        A model that cannot be had is left out unless it serves: a cut-over writes what is missing.
        """
        spaces = text_spaces(self.stores.documents)
        with self._lock:
            for name in self._rescorings.keys() - {*spaces.retrained}:
                del self._rescorings[name]
                self._scorers.pop(name, None)
        found = []
        for name in spaces.retrained:
            try:
                found.append(self.rescoring(name))
            except (ObjectMissing, ConfigurationError, ModelError) as error:
                if name == spaces.serving:
                    raise
                log.warning("nothing is written into the space of %s: %s", name, error)
        return found

    def rescoring(self, name: str) -> Rescoring:
        """What writes images into the space of a retrained text model.

        Raises:
            ObjectMissing: the model was never published.
        """
        with self._lock:
            if name not in self._rescorings:
                self._rescorings[name] = self._open_space(name)
            return self._rescorings[name]

    def _open_space(self, name: str) -> Rescoring:
        folder = fetch(self.stores.objects, name, self.settings.model_dir)
        own = self._make("text", "onnx", folder=folder, identity=name)
        base = self.model("image_text")
        options = self.settings.image_text_options()
        pictures = self._make(
            "image_text", self.settings.image_text_encoder, text_encoder=own, **options
        )
        vectors = self.stores.vectors
        text = TextEmbeddings(own, own.identity, vectors)
        image_text = TextEmbeddings(
            pictures.encode_names, pictures.space, vectors, pictures.classes
        )
        space = Space(
            name=name,
            encode=own,
            text=text,
            image_text=image_text,
            among_texts=pictures.among_texts,
            scorer=lambda: self._current_scorer(name, text, image_text),
        )
        return Rescoring(self.stores, space, base.space)

    def _make(self, kind: str, name: str, **options: Any) -> Any:
        weights, threads = self.settings.model_dir, self.settings.threads
        return models.create(kind, name, weights=weights, threads=threads, **options)

    def _current_scorer(
        self, space: str, text: TextEmbeddings, image_text: TextEmbeddings, version: str = ""
    ) -> Scorer:
        version = version or self.stores.directory.vocabulary_version()
        with self._lock:
            kept = self._scorers.get(space)
            if kept is None or kept[0] != version:
                vocabulary = self.stores.directory.vocabulary()
                background = current_background(
                    self.stores.documents,
                    vocabulary,
                    self.model("image_text").background_names(),
                    self.settings.background_size,
                    self.settings.background_least,
                )
                weights = WordWeights(vocabulary)
                scorer = Scorer(self.settings, background, text, image_text, weights)
                kept = self._scorers[space] = version, scorer
            return kept[1]


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """The runtime of this process."""
    return Runtime(settings())
