"""A question that the challenger was asked beside the champion, and what came of it."""

import hashlib
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.personal_data import without_personal_data


@dataclass(frozen=True)
class Question:
    """What a page was asked for; the arguments of ``Serving.page``."""

    docids: tuple[str, ...]
    category: str = ""
    catid: int | None = None
    query: str = ""
    limit: int = 10

    @property
    def key(self) -> str:
        """The same for the same question in every process: 32 hexadecimal digits.

        The businesses count: a query that is asked often is then neither always taken nor never.
        """
        asked = repr((self.category.strip(), self.catid, self.query.strip(), sorted(self.docids)))
        return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()

    @property
    def words(self) -> str:
        """The query, or the category's name, as it may be kept; empty: neither."""
        return without_personal_data(self.query or self.category)

    def options(self) -> dict[str, Any]:
        """For ``Serving.page``."""
        return asdict(self)


@dataclass(frozen=True)
class Likeness:
    """How far the answers of two models agree.

    Attributes:
        businesses: those for which at least one of the two has a picture.
        same_top: among them, those with the same first picture in ``dynamic``.
        overlap: mean rank-biased overlap of their ``dynamic`` orders, 0..1.
        champion_scores: relevance of first pictures, 0..1; what is not scored is left out.
        challenger_scores: the same.
    """

    businesses: int = 0
    same_top: int = 0
    overlap: float = 0.0
    champion_scores: tuple[float, ...] = ()
    challenger_scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A question that both models answered, or that the challenger failed at.

    Attributes:
        champion: identity of the text model that served.
        challenger: of the one that was only asked.
        question: ``Question.key``.
        query: ``Question.words``.
        champion_seconds: how long it took.
        challenger_seconds: the same.
        likeness: of the answers; none: the challenger failed.
        error: name of what it failed with; empty: it answered.
        is_replay: whether it was asked for the comparison alone.
        recorded_at: Unix time.
    """

    champion: str
    challenger: str
    question: str
    query: str
    champion_seconds: float
    challenger_seconds: float
    likeness: Likeness | None = None
    error: str = ""
    is_replay: bool = False
    recorded_at: float = field(default_factory=time.time)
