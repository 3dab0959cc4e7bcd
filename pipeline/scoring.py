"""The relevance of an image to a category: one formula for stored scores and for live queries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pipeline.embeddings import TextEmbeddings
from pipeline.settings import Settings
from pipeline.vocabulary import Background, WordWeights, weighted_mean

# A softmax share of 1 % and one of 10 % both mean "rather this than most"; the fourth root brings
# shares over several decades onto one scale of 0..1, as the weighted mean needs.
SHARE_EXPONENT = 0.25

MOST_LABELS = 10
# That a scorer keeps, some kilobytes each: more than a worker's images are listed under at a time.
MOST_TARGETS = 1024

# A text is about a business's photos if it fits the best of them better than so many of the
# directory's names fit theirs: what nine in ten unrelated texts do not reach.
STANDS_OUT = 0.9


@dataclass(frozen=True)
class Score:
    """A relevance in 0..1 and what it is made of."""

    value: float | None
    parts: dict[str, float]


@dataclass(frozen=True)
class Target:
    """What images are scored against: a category or a query, in both embedding spaces."""

    name: str
    text: np.ndarray  # (D,) for descriptions
    image: np.ndarray  # (D',) for pictures, or for the classes that they are mixtures of
    rivals: np.ndarray  # (B,) bool: names of the background that are not its near-synonyms
    # (K,) each, its share and cosine in every class, where pictures are mixtures of classes.
    classes: tuple[np.ndarray, np.ndarray] | None


def shares(own: np.ndarray, names: np.ndarray, rivals: np.ndarray, scale: float) -> np.ndarray:
    """Softmax (T, N) of the cosines of N vectors with T targets, each among those with its rivals.

    Args:
        own: cosines with the targets (T, N).
        names: cosines with the background's names (N, B).
        rivals: which of the names are a target's rivals (T, B).
        scale: inverse temperature of the softmax.
    """
    own = scale * own
    others = np.where(rivals[:, None], scale * names, -np.inf)
    peak = np.maximum(own, others.max(axis=2, initial=-np.inf))
    own = np.exp(own - peak)
    return own / (own + np.exp(others - peak[..., None]).sum(axis=2))


class Scorer:
    """Scores images against categories and queries.

    Args:
        settings: weights of the parts, scales, synonym limit, threshold.
        background: the set that cosines are held against.
        text: embeddings of the text encoder's space (descriptions).
        image_text: embeddings of texts in the image-text encoder's space (pictures).
        weights: TF-IDF weights over the directory's category names.
    """

    def __init__(
        self,
        settings: Settings,
        background: Background,
        text: TextEmbeddings,
        image_text: TextEmbeddings,
        weights: WordWeights,
    ) -> None:
        self._settings = settings
        self._text = text
        self._image_text = image_text
        self._weights = weights
        self.background = background
        self._targets: dict[str, Target] = {}
        self._background_text = self._text(background.names)
        self._background_image = self._image_text(background.names)
        self._classes = self._image_text.classes()
        if self._classes is not None:
            # (K, B): what classes have to do with the background is the same for every target.
            self._class_cosines = self._classes @ self._background_image.T

    def targets(self, names: Sequence[str]) -> list[Target]:
        """Categories or queries as targets; one read in each space for those not kept.

        What is a near-synonym is asked of the text encoder alone: cosines of names in the spaces of
        image-text encoders are all high, and higher in one than in another.
        """
        kept = self._targets
        found = {name: kept[name] for name in names if name in kept}
        missing = [name for name in dict.fromkeys(names) if name not in found]
        if missing:
            found |= {target.name: target for target in self._make_targets(missing)}
            if len(kept) + len(missing) > MOST_TARGETS:
                # Others may be looking at the one that is there.
                self._targets = kept = {}
            kept.update(found)
        return [found[name] for name in names]

    def _make_targets(self, names: Sequence[str]) -> list[Target]:
        weighted = [self._weights.of(name) for name in names]
        terms = list(dict.fromkeys([*(word for words in weighted for word in words), *names]))
        vectors = dict(zip(terms, self._text(terms), strict=True))
        images = self._image_text(names)
        targets = []
        for name, weights, image in zip(names, weighted, images, strict=True):
            text = weighted_mean(
                list(weights.values()) or [1.0],
                np.stack([vectors[word] for word in (weights or [name])]),
            )
            rivals = self._background_text @ vectors[name] < self._settings.synonym_cosine
            targets.append(Target(name, text, image, rivals, self._in_classes(image, rivals)))
        return targets

    def _in_classes(
        self, image: np.ndarray, rivals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        if self._classes is None:
            return None
        cosines = self._classes @ image
        scale = self._settings.image_softmax_scale
        return shares(cosines[None], self._class_cosines, rivals[None], scale)[0], cosines

    def scores(
        self,
        targets: Sequence[Target],
        pictures: Sequence[np.ndarray | None],
        descriptions: Sequence[np.ndarray | None],
        matches: Sequence[bool | None],
    ) -> list[list[Score]]:
        """By target, one score per image; the last three sequences run in parallel, none where a
        part is missing.

        Returns:
            Scores with parts ``description``, ``image`` and ``category_match`` in 0..1 and, for the
            first two, the raw cosine beside them. A score without any part has the value None.
        """
        if not targets:
            return []
        settings = self._settings
        told = _parts(descriptions, partial(self._told, targets), len(targets))
        shown = _parts(pictures, partial(self._shown, targets), len(targets))
        score = _weighted(
            settings.weight_description, settings.weight_image, settings.weight_category_match
        )
        return [[*map(score, *of_target, matches)] for of_target in zip(told, shown, strict=True)]

    def described(self, text: str, businesses: Sequence[np.ndarray]) -> list[list[Score] | None]:
        """Scores for a text that is no category, by descriptions alone.

        Args:
            text: as a person typed it.
            businesses: for each, unit vectors (N, D) of the descriptions of its photos.

        Returns:
            For each business a score per photo, or None: the text says nothing of its photos, for
            its share in the best of them is no larger than what ``STANDS_OUT`` of the background's
            names have in theirs.
        """
        (vector,) = self._text([text])
        rivals = self._background_text[
            self._background_text @ vector < self._settings.synonym_cosine
        ]
        scale = self._settings.softmax_scale
        results: list[list[Score] | None] = []
        for descriptions in businesses:
            cosines, against = descriptions @ vector, descriptions @ rivals.T
            totals = np.logaddexp.reduce(scale * against, axis=1)
            own = (scale * cosines - totals).max(initial=-np.inf)
            names = (scale * against - totals[:, None]).max(axis=0, initial=-np.inf)
            if np.mean(names < own) <= STANDS_OUT:
                results.append(None)
                continue
            everyone = np.ones((1, len(rivals)), bool)
            parts = shares(cosines[None], against, everyone, scale)[0] ** SHARE_EXPONENT
            results.append(
                [
                    Score(part, {"description": part, "description_cosine": cosine})
                    for part, cosine in zip(parts.tolist(), cosines.tolist(), strict=True)
                ]
            )
        return results

    def shows(self, picture: np.ndarray, names: Sequence[str]) -> tuple[bool, float]:
        """The one-class flag: whether a picture shows what the categories promise.

        Returns:
            The flag, and the largest softmax share (0..1) that any of ``names`` has in the picture.
        """
        targets = self.targets(names)
        best = float(self._shown(targets, picture[None])[0].max()) if targets else 0.0
        return best >= self._settings.one_class_threshold, best

    def labels(self, picture: np.ndarray, names: Sequence[str]) -> list[tuple[str, float]]:
        """Zero-shot classes of a picture: the background's names and ``names``.

        Returns:
            The ten most probable ones with their softmax shares (0..1), best first.
        """
        others = [name for name in dict.fromkeys(names) if name not in self.background.names]
        vectors = np.concatenate([self._background_image, self._image_text(others)])
        logits = self._settings.image_softmax_scale * (vectors @ picture)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        classes = [*self.background.names, *others]
        best = np.argsort(-probabilities)[:MOST_LABELS]
        return [(classes[i], float(probabilities[i])) for i in best]

    def _told(
        self, targets: Sequence[Target], descriptions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Shares and cosines, both (T, N), of targets in descriptions (N, D)."""
        cosines = np.stack([target.text for target in targets]) @ descriptions.T
        names, rivals = descriptions @ self._background_text.T, _rivals(targets)
        return shares(cosines, names, rivals, self._settings.softmax_scale), cosines

    def _shown(
        self, targets: Sequence[Target], pictures: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Shares and cosines, both (T, N), of targets in pictures (N, D').

        Where pictures are mixtures of classes, so are their shares: P(target | picture) is the sum
        over classes of P(class | picture) P(target | class).
        """
        if self._classes is None:
            cosines = np.stack([target.image for target in targets]) @ pictures.T
            names, rivals = pictures @ self._background_image.T, _rivals(targets)
            return shares(cosines, names, rivals, self._settings.image_softmax_scale), cosines
        mixed = (pictures / pictures.sum(axis=1, keepdims=True)).T
        in_classes, cosines = zip(*(target.classes for target in targets), strict=True)
        return np.stack(in_classes) @ mixed, np.stack(cosines) @ mixed


def _rivals(targets: Sequence[Target]) -> np.ndarray:
    return np.stack([target.rivals for target in targets])


_Part = tuple[float, float]
"""Its share on the scale of 0..1, and the cosine."""


def _weighted(
    told_weighs: float, shown_weighs: float, match_weighs: float
) -> Callable[[_Part | None, _Part | None, bool | None], Score]:
    """The score by its parts."""

    def score(told: _Part | None, shown: _Part | None, is_match: bool | None) -> Score:
        parts: dict[str, float] = {}
        total = value = 0.0
        if told is not None:
            parts["description"], parts["description_cosine"] = told
            total += told_weighs
            value += told_weighs * told[0]
        if shown is not None:
            parts["image"], parts["image_cosine"] = shown
            total += shown_weighs
            value += shown_weighs * shown[0]
        if is_match is not None:
            parts["category_match"] = float(is_match)
            total += match_weighs
            value += match_weighs * is_match
        return Score(value / total if total else None, parts)

    return score


def _parts(
    vectors: Sequence[np.ndarray | None],
    measure: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    count: int,
) -> list[list[_Part | None]]:
    """By target, of which there are so many, that of each vector; none where there is none."""
    present = [vector for vector in vectors if vector is not None]
    if not present:
        return [[None] * len(vectors)] * count
    found, cosines = measure(np.stack(present))
    parts = []
    for of_target in zip((found**SHARE_EXPONENT).tolist(), cosines.tolist(), strict=True):
        values = zip(*of_target, strict=True)
        parts.append([None if vector is None else next(values) for vector in vectors])
    return parts
