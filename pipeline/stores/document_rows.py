"""The rows of a document store as they are carried to another one.

An image travels whole: its row, its metadata and its scores, as they stood at one moment. What
keeps two runs apart, leases and counts of deliveries, does not travel.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.records import (
    Business,
    CatalogueImage,
    DeadLetter,
    ImageMetadata,
    ImageRelevance,
    Record,
)
from pipeline.stores.portable import Row

if TYPE_CHECKING:
    from pipeline.stores.documents import DocumentStore

Key = tuple[str, int]

# Metadata and scores of so many images are read at once.
READ_AT_ONCE = 200


class PixelFact(NamedTuple):
    """What a model found in some bytes; ``fact["key"]``, if there is one, names an object."""

    kind: str
    model: str
    fact: dict[str, Any]


class WholeImage(NamedTuple):
    """A row of ``catalogue_details`` with all that the document store has of its generation."""

    image: CatalogueImage
    metadata: ImageMetadata | None
    relevance: list[ImageRelevance]

    @property
    def key(self) -> Key:
        """Its docid and product_id."""
        return self.image.docid, self.image.product_id

    @property
    def own(self) -> "WholeImage":
        """The same without what is of another generation than the row."""
        own = self.image.generation
        metadata = self.metadata if self.metadata and self.metadata.generation == own else None
        return WholeImage(
            self.image, metadata, [one for one in self.relevance if one.generation == own]
        )


def every_whole_image(documents: "DocumentStore") -> Iterator[WholeImage]:
    """All images. Rows are read before the rest, which they are written after."""
    rows = documents.every_image()
    while page := list(islice(rows, READ_AT_ONCE)):
        for whole in _whole(documents, page):
            yield _of_one_moment(documents, whole)


def _of_one_moment(documents: "DocumentStore", whole: WholeImage) -> WholeImage:
    while whole != whole.own:
        image = documents.image(*whole.key)
        if image is None or image.generation == whole.image.generation:
            # What an earlier photo has left: it is about to be removed.
            return whole.own
        # Another photo came, or a deletion, between the reads.
        (whole,) = _whole(documents, [image])
    return whole


def _whole(documents: "DocumentStore", page: Sequence[CatalogueImage]) -> Iterator[WholeImage]:
    keys = [(image.docid, image.product_id) for image in page]
    metadata, relevance = documents.metadata(keys), documents.relevance_of(keys)
    for key, image in zip(keys, page, strict=True):
        yield WholeImage(image, metadata.get(key), relevance.get(key, []))


def _read_images(documents: "DocumentStore") -> Iterator[Row]:
    for whole in every_whole_image(documents):
        yield {
            "image": _row(whole.image),
            "metadata": _row(whole.metadata) if whole.metadata else None,
            "relevance": sorted(map(_row, whole.relevance), key=_place),
        }


def _place(relevance: Row) -> tuple[str, int]:
    return relevance["space"], relevance["catid"]


def _add_images(documents: "DocumentStore", rows: Sequence[Row]) -> None:
    documents.add_images(
        [
            WholeImage(
                CatalogueImage.model_validate(row["image"]),
                ImageMetadata.model_validate(row["metadata"]) if row["metadata"] else None,
                [ImageRelevance.model_validate(one) for one in row["relevance"]],
            )
            for row in rows
        ]
    )


def _add_businesses(documents: "DocumentStore", rows: Sequence[Row]) -> None:
    known = documents.businesses([row["docid"] for row in rows])
    documents.save_businesses(
        Business.model_validate(row) for row in rows if row["docid"] not in known
    )


def _read_facts(documents: "DocumentStore") -> Iterator[Row]:
    for sha256 in documents.every_pixel_hash():
        for found in documents.pixel_facts(sha256):
            yield {"sha256": sha256, **found._asdict()}


def _add_facts(documents: "DocumentStore", rows: Sequence[Row]) -> None:
    # What a model finds in the same bytes is the same: it does not matter which one stays.
    documents.save_pixel_facts(
        [(row["sha256"], PixelFact(row["kind"], row["model"], row["fact"])) for row in rows]
    )


def _add_letters(documents: "DocumentStore", rows: Sequence[Row]) -> None:
    for row in rows:
        letter = DeadLetter.model_validate(row)
        if documents.dead_letter(letter.key) is None:
            documents.park(letter)


def _add_values(documents: "DocumentStore", rows: Sequence[Row]) -> None:
    for row in rows:
        if documents.value(row["name"]) is None:
            documents.save_value(row["name"], row["value"])


def _row(record: Record) -> Row:
    return record.model_dump(mode="json")


READ: Mapping[str, Callable[["DocumentStore"], Iterator[Row]]] = {
    "businesses": lambda documents: map(_row, documents.every_business()),
    "images": _read_images,
    "pixel_facts": _read_facts,
    "dead_letters": lambda documents: map(_row, documents.every_dead_letter()),
    "named_values": lambda documents: (
        {"name": name, "value": value} for name, value in documents.every_value()
    ),
}
ADD: Mapping[str, Callable[["DocumentStore", Sequence[Row]], None]] = {
    "businesses": _add_businesses,
    "images": _add_images,
    "pixel_facts": _add_facts,
    "dead_letters": _add_letters,
    "named_values": _add_values,
}
