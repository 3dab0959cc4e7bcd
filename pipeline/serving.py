"""Answers for a page of businesses: the pictures of each for one category or query.

A page costs three reads however many businesses are on it: businesses, categories, ``imgrel``.
Only a query that names no category of a business reads vectors, once for all such businesses, and
scores their images live with the formula that made the stored scores. A query that means no
category at all is held against what the photos are said to show; where it fits none of them, the
business shows what it is best known for.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.catalogue import WORDS, contract_reasons
from pipeline.embeddings import TextEmbeddings
from pipeline.errors import ConfigurationError, StoreUnavailable, UnknownBusiness
from pipeline.metrics import DEGRADED_ANSWERS
from pipeline.queries import QueryResolver, Resolution, fold
from pipeline.ranking import Asked, Fallback, Ranking, Wanted, nothing, rank
from pipeline.records import Business, Category
from pipeline.scoring import Scorer
from pipeline.settings import Settings
from pipeline.stores import Stores
from pipeline.stores.page_images import PageScores
from pipeline.text_spaces import BASE
from pipeline.vocabulary import BACKGROUND, WordWeights, current_background

log = logging.getLogger(__name__)

LIMIT = 10


@dataclass(slots=True)
class BusinessPictures(Ranking):
    """The pictures of one business."""

    docid: str
    name: str
    categories: Annotated[
        Sequence[Category], Field(description="That the business is listed under.")
    ]
    target: Annotated[str, Field(description="The category or query that `dynamic` answers.")]
    listed: Annotated[
        bool, Field(description="Whether the business is listed under that category.")
    ]
    fallback: Annotated[
        Fallback | None,
        Field(
            description="Of a query that means no category: `description`, the photos are ranked "
            "by what they are said to show; `static`, it fits none of them."
        ),
    ]


class Page(BaseModel):
    """The pictures of several businesses, in the order asked for."""

    model_config = ConfigDict(frozen=True)

    resolution: Resolution | None = Field(description="How the query was understood, if any.")
    businesses: list[BusinessPictures]
    unknown: list[str] = Field(description="Ids that the directory does not know.")
    degraded: list[str] = Field(description="What could not be had; the answer does without it.")


@dataclass(frozen=True)
class Request:
    """What a page is asked for: a category by id, or a text; neither: the hot categories."""

    catid: int | None = None
    text: str = ""
    resolution: Resolution | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing in particular is asked for."""
        return self.catid is None and not self.text

    @property
    def means_nothing(self) -> bool:
        """Whether it is a query that means no category."""
        return self.resolution is not None and self.resolution.category is None

    @property
    def name(self) -> str:
        """The category that was understood, or the query itself."""
        return (self.resolution and self.resolution.category) or self.text

    def among(self, categories: Sequence[Category]) -> Category | None:
        """The category of a business that is asked for."""
        name = _folded(self.name)
        return next(
            (c for c in categories if c.catid == self.catid or (name and _folded(c.name) == name)),
            None,
        )


class Serving:
    """Chooses pictures from what the stores hold.

    Args:
        stores: all four.
        text: embeddings of the text encoder's space, for queries and descriptions.
        image_text: embeddings of texts in the image-text encoder's space, for pictures.
        pieces: into how many pieces the text encoder breaks a word.
        fillers: names that fill up a small background set; asked for only when one is made.
        settings: weights and sizes.
        space: of the text model whose scores are stored.
    """

    def __init__(
        self,
        stores: Stores,
        text: TextEmbeddings,
        image_text: TextEmbeddings,
        pieces: Callable[[str], int],
        fillers: Callable[[], Sequence[str]],
        settings: Settings,
        space: str = BASE,
    ) -> None:
        self._stores = stores
        self._space = space
        self._text = text
        self._image_text = image_text
        self._fillers = fillers
        self._settings = settings
        self._scorer: tuple[str, Scorer] | None = None
        self._lock = threading.Lock()
        self.resolver = QueryResolver(stores.directory, text, pieces, cache=settings.model_dir)

    @property
    def text_model(self) -> str:
        """Identity of the text model that it answers by."""
        return self._text.model

    def warm_up(self) -> None:
        """Make the scorer for the vocabulary in force, so that no query waits for it."""
        if self.resolver.vocabulary()[1]:
            self.resolver.warm_up()
            self._current_scorer()

    def business(
        self,
        docid: str,
        *,
        category: str = "",
        catid: int | None = None,
        query: str = "",
        limit: int = LIMIT,
    ) -> Page:
        """A page of one business.

        Raises:
            UnknownBusiness: the directory has none under that id.
            StoreUnavailable: as for ``page``.
        """
        page = self.page([docid], category=category, catid=catid, query=query, limit=limit)
        if page.unknown:
            raise UnknownBusiness(f"the directory has no business {docid!r}")
        return page

    def page(
        self,
        docids: Sequence[str],
        *,
        category: str = "",
        catid: int | None = None,
        query: str = "",
        limit: int = LIMIT,
    ) -> Page:
        """The pictures of businesses for a category (by name or id), a query, or neither.

        Args:
            docids: of the businesses, in the order of the answer; repeated ones count once.
            category: a name, compared without case and punctuation; one that the vocabulary
                does not have is scored live as it stands.
            catid: the id of a category of one of the businesses.
            query: free text.
            limit: most pictures of a business in ``dynamic``.

        Raises:
            StoreUnavailable: documents cannot be read. Categories, vectors and models are done
                without: ``degraded`` says so.
        """
        docids = list(dict.fromkeys(docids))
        known = self._stores.documents.businesses(docids)
        degraded: list[str] = []
        try:
            categories = self._stores.directory.categories(docids)
            request = self._request(category, catid, query, categories, degraded)
        except (StoreUnavailable, ConfigurationError) as error:
            log.warning("no categories: %s", error)
            degraded.append(f"Categories cannot be read, only the rule-set answers: {error}.")
            categories, request = {}, Request()
        now = time.time()
        views = [
            _View(known[docid], categories.get(docid, []), request, now)
            for docid in docids
            if docid in known
        ]
        shown = [view for view in views if not view.closed]
        documents = self._stores.documents
        images = documents.page({view.docid: view.catids for view in shown}, self._space)
        unlisted = [view.docid for view in shown if not view.is_listed]
        live = self._live(unlisted, request, degraded)
        aims = {view.docid: view.aim(live.get(view.docid)) for view in views}
        asked = [Asked(images[v.docid], _wanted(v.hot), aims[v.docid]) for v in shown]
        rankings = iter(rank(asked, documents.decoded, self._settings, limit))
        if degraded:
            DEGRADED_ANSWERS.inc()
        return Page(
            resolution=request.resolution,
            businesses=[
                view.pictures(
                    aims[view.docid], nothing(view.closed) if view.closed else next(rankings)
                )
                for view in views
            ],
            unknown=[docid for docid in docids if docid not in known],
            degraded=degraded,
        )

    def _request(
        self,
        category: str,
        catid: int | None,
        query: str,
        categories: Mapping[str, Sequence[Category]],
        degraded: list[str],
    ) -> Request:
        if catid is not None:
            listed = (c for own in categories.values() for c in own if c.catid == catid)
            name = next((c.name for c in listed), "")
            return Request(catid=catid, text=name)
        if category.strip():
            return Request(text=self.resolver.exact(category) or category.strip())
        if query.strip():
            resolution = self.resolver.resolve(query.strip())
            if resolution.degraded:
                degraded.append(f"The query was read by its characters: {resolution.degraded}.")
            return Request(text=query.strip(), resolution=resolution)
        return Request()

    def _live(
        self, docids: Sequence[str], request: Request, degraded: list[str]
    ) -> dict[str, PageScores]:
        """Scores of the businesses' images for what is asked for, from stored vectors.

        A business is left out where a query means no category and says nothing of its photos.
        """
        if not docids or not request.name:
            return {}
        score = self._described if request.means_nothing else self._scored
        try:
            return score(docids, request.name)
        except (StoreUnavailable, ConfigurationError) as error:
            log.warning("no live scores for %r: %s", request.name, error)
            degraded.append(f"Nothing could be scored for {request.name!r}: {error}.")
            return {}

    def _scored(self, docids: Sequence[str], text: str) -> dict[str, PageScores]:
        """By the formula that made the stored scores."""
        scorer = self._current_scorer()
        vectors = self._stores.vectors
        pictures = vectors.images(self._image_text.model, "picture", docids)
        descriptions = vectors.images(self._text.model, "description", docids)
        keys = sorted(pictures.keys() | descriptions.keys())
        (scores,) = scorer.scores(
            scorer.targets([text]),
            [pictures.get(key) for key in keys],
            [descriptions.get(key) for key in keys],
            [None] * len(keys),
        )
        live = {docid: PageScores() for docid in docids}
        for (docid, product_id), score in zip(keys, scores, strict=True):
            live[docid].values[product_id] = score.value
            live[docid].parts[product_id] = score.parts
        return live

    def _described(self, docids: Sequence[str], text: str) -> dict[str, PageScores]:
        """By what the photos are said to show; businesses that it does not fit are left out."""
        scorer = self._current_scorer()
        found = self._stores.vectors.images(self._text.model, "description", docids)
        by_business: dict[str, dict[int, np.ndarray]] = {}
        for (docid, product_id), vector in found.items():
            by_business.setdefault(docid, {})[product_id] = vector
        groups = [np.stack(list(vectors.values())) for vectors in by_business.values()]
        described = scorer.described(text, groups)
        return {
            docid: PageScores(
                values={key: score.value for key, score in zip(vectors, scores, strict=True)},
                parts={key: score.parts for key, score in zip(vectors, scores, strict=True)},
            )
            for (docid, vectors), scores in zip(by_business.items(), described, strict=True)
            if scores is not None
        }

    def _current_scorer(self) -> Scorer:
        """The scorer for the vocabulary in force, made once for each version."""
        version, names = self.resolver.vocabulary()
        with self._lock:
            if self._scorer is None or self._scorer[0] != version:
                documents = self._stores.documents
                least = self._settings.background_least
                few = len(names) < least and documents.value(BACKGROUND) is None
                background = current_background(
                    documents,
                    names,
                    self._fillers() if few else [],
                    self._settings.background_size,
                    least,
                )
                weights = WordWeights(names)
                scorer = Scorer(self._settings, background, self._text, self._image_text, weights)
                self._scorer = version, scorer
            return self._scorer[1]


class _View:
    """What of one business a page shows."""

    def __init__(
        self, business: Business, categories: Sequence[Category], request: Request, now: float
    ) -> None:
        self._business = business
        self._categories = categories
        self._request = request
        self.docid = business.docid
        # The directory lists hot ones first.
        self.hot = categories[0] if categories else None
        self._found = self.hot if request.is_open else request.among(categories)
        # A contract ends by the clock: the cards, written when the images were scored, cannot know.
        self.closed = " ".join(WORDS[one] for one in contract_reasons(business.contract, now))

    @property
    def is_listed(self) -> bool:
        """Whether stored scores can answer, or nothing in particular is asked for."""
        return self._found is not None or self._request.is_open

    @property
    def catids(self) -> set[int]:
        """The categories whose scores are read."""
        return {category.catid for category in (self._found, self.hot) if category}

    def aim(self, live: PageScores | None) -> Wanted:
        """What its images are ranked for, with the scores made at the query, if any."""
        if self.is_listed:
            return _wanted(self._found)
        request = self._request
        if request.means_nothing and live is None:
            return replace(_wanted(self.hot), fallback="static")
        return Wanted(
            request.name or f"category {request.catid}",
            live=live,
            fallback="description" if request.means_nothing else None,
        )

    def pictures(self, aim: Wanted, ranking: Ranking) -> BusinessPictures:
        """Its part of the page."""
        return BusinessPictures(
            static=ranking.static,
            dynamic=ranking.dynamic,
            carousel=ranking.carousel,
            enhanced=ranking.enhanced,
            source=ranking.source,
            reason=ranking.reason,
            docid=self.docid,
            name=self._business.name,
            categories=self._categories,
            target=aim.name,
            listed=self._found is not None,
            fallback=aim.fallback,
        )


def _wanted(category: Category | None) -> Wanted:
    return Wanted(category.name, category.catid) if category else Wanted("")


# A page compares the same names again and again.
_folded = lru_cache(maxsize=65_536)(fold)
