"""What a page reads of ``imgrel``: columns of plain values, and what is shown as it is kept.

A page orders a thousand images and shows some hundred of them. What the order needs are plain
values in columns; the rest of a row travels as its store keeps it, and ``DocumentStore.decoded``
reads it.
"""

from collections.abc import Iterable, Sequence
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


@dataclass(slots=True)
class PageScores:
    """Scores of images by their product_ids.

    ``values`` are relevances, 0..1, None where there was nothing to score by; ``parts``, encoded,
    hold each part beside its raw cosine.
    """

    values: dict[int, float | None] = field(default_factory=dict)
    parts: dict[int, Any] = field(default_factory=dict)


@dataclass(slots=True)
class PageImages:
    """The images of one business, a column for each field of ``PageImage``, and their scores.

    ``scores`` are by category.
    """

    product_ids: Sequence[int] = ()
    qualities: Sequence[float] = ()
    one_class: Sequence[bool | int | None] = ()
    findings: Sequence[str] = ()
    looks: Sequence[bytes] = ()
    cards: Sequence[Any] = ()
    scores: dict[int, PageScores] = field(default_factory=dict)

    @classmethod
    def of(cls, images: Iterable[PageImage]) -> "PageImages":
        """Of single images, without scores."""
        columns: list[Any] = list(zip(*images, strict=True))
        return cls(*columns)

    @property
    def images(self) -> list[PageImage]:
        """Each image by itself."""
        columns = self.qualities, self.one_class, self.findings, self.looks, self.cards
        return list(map(PageImage, self.product_ids, *columns))
