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


def shares(own: np.ndarray, rivals: np.ndarray, scale: float) -> np.ndarray:
    """Softmax (N,) of N cosines with a target, each among those with its rivals, (N, B).

    Args:
        own: cosines (N,).
        rivals: cosines (N, B).
        scale: inverse temperature of the softmax.
    """
    own, rivals = scale * own, scale * rivals
    peak = np.maximum(own, rivals.max(axis=1, initial=-np.inf))
    own = np.exp(own - peak)
    return own / (own + np.exp(rivals - peak[:, None]).sum(axis=1))


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
        return shares(cosines, self._class_cosines[:, rivals], scale), cosines

    def scores(
        self,
        target: Target,
        pictures: Sequence[np.ndarray | None],
        descriptions: Sequence[np.ndarray | None],
        matches: Sequence[bool | None],
    ) -> list[Score]:
        """One score per image; the three sequences run in parallel, none where a part is missing.

        Returns:
            Scores with parts ``description``, ``image`` and ``category_match`` in 0..1 and, for the
            first two, the raw cosine beside them. A score without any part has the value None.
        """
        description = _part(descriptions, partial(self._told, target))
        image = _part(pictures, partial(self._shown, target))
        results = []
        for about, shown, match in zip(description, image, matches, strict=True):
            parts: dict[str, float] = {}
            weighted = []
            if about is not None:
                parts["description"], parts["description_cosine"] = about
                weighted.append((self._settings.weight_description, about[0]))
            if shown is not None:
                parts["image"], parts["image_cosine"] = shown
                weighted.append((self._settings.weight_image, shown[0]))
            if match is not None:
                parts["category_match"] = float(match)
                weighted.append((self._settings.weight_category_match, float(match)))
            total = sum(weight for weight, _ in weighted)
            value = sum(weight * part for weight, part in weighted) / total if total else None
            results.append(Score(value, parts))
        return results

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
            parts = shares(cosines, against, scale) ** SHARE_EXPONENT
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
        best = max(
            (float(self._shown(target, picture[None])[0][0]) for target in self.targets(names)),
            default=0.0,
        )
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

    def _told(self, target: Target, descriptions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shares and cosines, both (N,), of a target in descriptions (N, D)."""
        cosines = descriptions @ target.text
        rivals = (descriptions @ self._background_text.T)[:, target.rivals]
        return shares(cosines, rivals, self._settings.softmax_scale), cosines

    def _shown(self, target: Target, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shares and cosines, both (N,), of a target in pictures (N, D').

        Where pictures are mixtures of classes, so are their shares: P(target | picture) is the sum
        over classes of P(class | picture) P(target | class).
        """
        if target.classes is None:
            cosines = pictures @ target.image
            rivals = (pictures @ self._background_image.T)[:, target.rivals]
            return shares(cosines, rivals, self._settings.image_softmax_scale), cosines
        mixed = pictures / pictures.sum(axis=1, keepdims=True)
        in_classes, cosines = target.classes
        return mixed @ in_classes, mixed @ cosines


def _part(
    vectors: Sequence[np.ndarray | None],
    measure: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> list[tuple[float, float] | None]:
    """Part and cosine of each vector; none where there is no vector."""
    present = [index for index, vector in enumerate(vectors) if vector is not None]
    part: list[tuple[float, float] | None] = [None] * len(vectors)
    if present:
        found, cosines = measure(np.stack([v for v in vectors if v is not None]))
        for index, share, cosine in zip(present, found**SHARE_EXPONENT, cosines, strict=True):
            part[index] = (float(share), float(cosine))
    return part
