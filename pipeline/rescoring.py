"""Images in the space of another text model: their vectors and scores, from what is known of them.

No pixels are read for it. What a picture shows is known as probabilities of classes or as a vector
of its own; a new text model changes what classes, descriptions and categories mean.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import numpy as np

from pipeline.embeddings import Encode, TextEmbeddings
from pipeline.looks import signature
from pipeline.queues import Stage
from pipeline.records import (
    Category,
    ImageMetadata,
    ImageRelevance,
    ImageState,
)
from pipeline.scoring import Score, Scorer
from pipeline.stores import Stores
from pipeline.text_spaces import BASE

AT_ONCE = 200

Key = tuple[str, int]
"""(docid, product_id)."""


@dataclass(frozen=True)
class Space:
    """What computes in a text model's space.

    Attributes:
        name: of the space.
        encode: the text model.
        text: its embeddings of names and words.
        image_text: names in the space of pictures.
        among_texts: a picture's vector to the one among those of texts that stands for it.
        scorer: for the vocabulary as it stands.
    """

    name: str
    encode: Encode
    text: TextEmbeddings
    image_text: TextEmbeddings
    among_texts: Callable[[np.ndarray], np.ndarray]
    scorer: Callable[[], Scorer]


@dataclass(frozen=True)
class _Known:
    """What is known of an image that has scores by the settings' model."""

    own: ImageRelevance
    metadata: ImageMetadata
    picture: np.ndarray | None


class Rescoring:
    """Writes images into a space; again is harmless.

    Args:
        stores: read from and written to.
        space: the one to be filled.
        pictures: the model under which pictures have their vectors already.
    """

    def __init__(self, stores: Stores, space: Space, pictures: str) -> None:
        self._stores = stores
        self._space = space
        self._pictures = pictures

    @property
    def models(self) -> list[str]:
        """The models whose vectors are of this space alone."""
        found = (self._space.text.model, self._space.image_text.model)
        return [model for model in found if model != self._pictures]

    def fill(self, step: Callable[[int], None] = lambda count: None) -> int:
        """Write all images that are missing in the space; returns how many those were.

        A run that was killed goes on where it was, since what is there is not missing.

        Args:
            step: is told how many more images have been looked at.

        Raises:
            StoreUnavailable: the same call goes on.
        """
        written = 0
        images = self._standing()
        while keys := list(islice(images, AT_ONCE)):
            for docid, missing in groupby(self.missing(keys), itemgetter(0)):
                written += self.images(docid, [product_id for _, product_id in missing])
            step(len(keys))
        return written

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        """Those that have scores by the settings' model, and none of their photo in the space."""
        documents = self._stores.documents
        there = documents.scored_images(keys, self._space.name)
        base = documents.scored_images(keys, BASE)
        return sorted(key for key, generation in base.items() if there.get(key) != generation)

    def images(self, docid: str, product_ids: Collection[int]) -> int:
        """Write images of a business; returns how many were written.

        Those that have no scores by the settings' model are left out: they are about to get some,
        in every space.
        """
        left, written = set(product_ids), 0
        while left:
            known = self._known(docid, left)
            left = self._write(docid, known)
            written += len(known) - len(left)
            # The vectors of those are an older photo's: once more, or they are gone.
            for product_id in left:
                self._withdraw(docid, product_id)
        return written

    def _withdraw(self, docid: str, product_id: int) -> None:
        """Remove the vectors that were just written for an image that was deleted meanwhile."""
        row = self._stores.documents.image(docid, product_id)
        if row is None or row.state is ImageState.DELETED:
            self._stores.vectors.delete_image(docid, product_id)

    def _standing(self) -> Iterator[Key]:
        for row in self._stores.documents.every_image():
            if row.state is not ImageState.DELETED:
                yield row.docid, row.product_id

    def _known(self, docid: str, product_ids: Collection[int]) -> list[_Known]:
        documents = self._stores.documents
        rows = documents.own_rows([(docid, product_id) for product_id in product_ids], BASE)
        metadata = documents.metadata([(docid, row.product_id) for row in rows])
        pictures = self._stores.vectors.images_of(self._pictures, "picture", list(metadata))
        known = []
        for row in rows:
            key = docid, row.product_id
            about = metadata.get(key)
            if about is not None and about.generation == row.generation:
                # Where tagging has failed, a vector may be that of an older photo.
                is_tagged = Stage.TAG.value in about.models
                known.append(_Known(row, about, pictures.get(key) if is_tagged else None))
        return known

    def _write(self, docid: str, known: Sequence[_Known]) -> set[int]:
        """The product_ids of those that could not be written: their photos have moved on."""
        if not known:
            return set()
        descriptions = self._descriptions(known)
        self._save_vectors(docid, known, descriptions)
        categories = self._stores.directory.categories([docid]).get(docid, [])
        scorer = self._space.scorer()
        scores = self._scores(scorer, categories, known, descriptions)
        names = [category.name for category in categories]
        refused = set()
        for index, one in enumerate(known):
            own = self._own(scorer, one, names)
            rows = [own]
            for category, of_category in zip(categories, scores, strict=True):
                if (score := of_category[index]).value is not None:
                    found = {
                        "catid": category.catid,
                        "score": score.value,
                        "parts": score.parts,
                        "background": scorer.background.version,
                    }
                    rows.append(own.model_copy(update=found))
            if not self._stores.documents.save_relevance(rows):
                refused.add(own.product_id)
        return refused

    def _descriptions(self, known: Sequence[_Known]) -> list[np.ndarray | None]:
        texts = list(dict.fromkeys(one.metadata.description for one in known))
        encoded = dict(zip(texts, self._space.encode(texts), strict=True))
        return [
            encoded[one.metadata.description] if one.metadata.description else None for one in known
        ]

    def _save_vectors(
        self, docid: str, known: Sequence[_Known], descriptions: Sequence[np.ndarray | None]
    ) -> None:
        vectors, model = self._stores.vectors, self._space.image_text.model
        for one, about in zip(known, descriptions, strict=True):
            key = docid, one.own.product_id
            if about is not None:
                vectors.save_image(self._space.text.model, "description", *key, about)
            if one.picture is not None and model != self._pictures:
                vectors.save_image(model, "picture", *key, one.picture)

    def _scores(
        self,
        scorer: Scorer,
        categories: Sequence[Category],
        known: Sequence[_Known],
        descriptions: Sequence[np.ndarray | None],
    ) -> list[list[Score]]:
        """By category, the score of each image."""
        pictures = [one.picture for one in known]
        matches = [one.metadata.cat_match for one in known]
        targets = scorer.targets([category.name for category in categories])
        return scorer.scores(targets, pictures, descriptions, matches)

    def _own(self, scorer: Scorer, one: _Known, names: Sequence[str]) -> ImageRelevance:
        """The row of the image itself in the space."""
        changes: dict[str, Any] = {"space": self._space.name}
        if one.picture is not None:
            mark = signature(self._space.among_texts(one.picture))
            changes["card"] = one.own.card.model_copy(update={"signature": mark})
            changes["one_class"], _ = scorer.shows(one.picture, names)
        return one.own.model_copy(update=changes)
