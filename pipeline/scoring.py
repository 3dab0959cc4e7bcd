"""The relevance of an image to a category: one formula for stored scores and for live queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.embeddings import TextEmbeddings
from pipeline.settings import Settings
from pipeline.vocabulary import Background, WordWeights, weighted_mean

# A softmax share of 1 % and one of 10 % both mean "rather this than most"; the fourth root brings
# shares over several decades onto one scale of 0..1, as the weighted mean needs.
SHARE_EXPONENT = 0.25

MOST_LABELS = 10


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
    image: np.ndarray  # (D',) for pictures
    rivals: np.ndarray  # (B,) bool: names of the background that are not its near-synonyms


def log_share(
    vectors: np.ndarray, target: np.ndarray, rivals: np.ndarray, scale: float
) -> np.ndarray:
    """Log-softmax (N,) of each vector's cosine with the target among those with its rivals.

    Args:
        vectors: unit vectors (N, D) of photos or descriptions.
        target: unit vector (D,).
        rivals: unit vectors (B, D).
        scale: inverse temperature of the softmax.
    """
    own = scale * (vectors @ target)
    logits = np.concatenate([own[:, None], scale * (vectors @ rivals.T)], axis=1)
    peak = logits.max(axis=1)
    return own - peak - np.log(np.exp(logits - peak[:, None]).sum(axis=1))


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
        self._background_text = self._text(background.names)
        self._background_image = self._image_text(background.names)

    def targets(self, names: Sequence[str]) -> list[Target]:
        """Categories or queries as targets; one read in each space.

        What is a near-synonym is asked of the text encoder alone: cosines of names in the spaces of
        image-text encoders are all high, and higher in one than in another.
        """
        weighted = [self._weights.of(name) for name in names]
        terms = list(dict.fromkeys([*(word for words in weighted for word in words), *names]))
        vectors = dict(zip(terms, self._text(terms), strict=True))
        images = self._image_text(names)
        return [
            Target(
                name,
                weighted_mean(
                    list(weights.values()) or [1.0],
                    np.stack([vectors[word] for word in (weights or [name])]),
                ),
                image,
                self._background_text @ vectors[name] < self._settings.synonym_cosine,
            )
            for name, weights, image in zip(names, weighted, images, strict=True)
        ]

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
        description = self._part(
            descriptions,
            target.text,
            self._background_text[target.rivals],
            self._settings.softmax_scale,
        )
        image = self._part(pictures, target.image, *self._picture_rivals(target))
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

    def shows(self, picture: np.ndarray, names: Sequence[str]) -> tuple[bool, float]:
        """The one-class flag: whether a picture shows what the categories promise.

        Returns:
            The flag, and the largest softmax share (0..1) that any of ``names`` has in the picture.
        """
        shares = [
            float(np.exp(log_share(picture[None], target.image, *self._picture_rivals(target))[0]))
            for target in self.targets(names)
        ]
        best = max(shares, default=0.0)
        return best >= self._settings.one_class_threshold, best

    def labels(self, picture: np.ndarray, names: Sequence[str]) -> list[tuple[str, float]]:
        """Zero-shot classes of a picture: the background's names and ``names``.

        Returns:
            The ten most probable ones with their softmax shares (0..1), best first.
        """
        others = [name for name in dict.fromkeys(names) if name not in self.background.names]
        vectors = np.concatenate([self._background_image, self._image_text(others)])
        logits = self._settings.image_softmax_scale * (vectors @ picture)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        classes = [*self.background.names, *others]
        return [(classes[i], float(shares[i])) for i in np.argsort(-shares)[:MOST_LABELS]]

    def _picture_rivals(self, target: Target) -> tuple[np.ndarray, float]:
        return self._background_image[target.rivals], self._settings.image_softmax_scale

    @staticmethod
    def _part(
        vectors: Sequence[np.ndarray | None],
        target: np.ndarray,
        rivals: np.ndarray,
        scale: float,
    ) -> list[tuple[float, float] | None]:
        present = [index for index, vector in enumerate(vectors) if vector is not None]
        part: list[tuple[float, float] | None] = [None] * len(vectors)
        if present:
            matrix = np.stack([v for v in vectors if v is not None])
            shares = np.exp(SHARE_EXPONENT * log_share(matrix, target, rivals, scale))
            cosines = matrix @ target
            for index, share, cosine in zip(present, shares, cosines, strict=True):
                part[index] = (float(share), float(cosine))
        return part
