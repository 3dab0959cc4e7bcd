"""What a page reads of ``imgrel``: light rows, of which only what is served is decoded.

A page orders a thousand images and shows some hundred of them. What the order needs are plain
values; the rest of a row travels as its store keeps it, and ``DocumentStore.decoded`` reads it.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class PageImage(NamedTuple):
    """One image, before any category.

    ``looks`` are the bytes of its perceptual hash (8) and of its signature (32), see
    ``pipeline.looks``; what is not known is left out.
    """

    product_id: int
    quality: float  # 0..100
    one_class: bool | int | None
    findings: str  # what was found about it, ``Card.invalid``, with spaces between
    looks: bytes
    card: Any  # encoded: the fields of a ``Card``


PageScore = tuple[float | None, Any]
"""The score of an image under a category, 0..1, and encoded: each part beside its raw cosine."""


@dataclass(slots=True)
class PageImages:
    """The images of one business, and their scores by category and product_id."""

    images: list[PageImage] = field(default_factory=list)
    scores: dict[int, dict[int, PageScore]] = field(default_factory=dict)
