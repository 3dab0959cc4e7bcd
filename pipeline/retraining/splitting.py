"""Strata of queries, and the parts of the data: to train with, to choose by, to test with."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

# Shares of all that is asked: the most frequent queries that make up the first half are the head,
# those up to this share the torso, the long rest the tail.
HEAD = 0.5
TORSO = 0.8
# Shares of terms out of vocabulary. The primary metric is measured from the first one on.
SOME_OOV = 0.1
MOSTLY_OOV = 0.5
SHARE_OF_DEV = 0.1
SHARE_OF_TEST = 0.1
# Of its stratum: a larger group would make up most of the part that it falls into.
LARGEST_HELD_OUT = 0.05


class Part(StrEnum):
    """What rows are for."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


def frequencies(counts: Mapping[str, int]) -> dict[str, str]:
    """``head``, ``torso`` or ``tail`` for each query, by how often it was asked.

    Those asked equally often are in the same stratum; those asked once, in the tail.
    """
    queries: defaultdict[int, list[str]] = defaultdict(list)
    for query, count in counts.items():
        queries[count].append(query)
    total, before = sum(counts.values()), 0
    found: dict[str, str] = {}
    for count in sorted(queries, reverse=True):
        share = before / total if count > 1 else 1.0
        band = "head" if share < HEAD else "torso" if share < TORSO else "tail"
        found.update(dict.fromkeys(queries[count], band))
        before += count * len(queries[count])
    return found


def oov_band(share: float) -> str:
    """The stratum of a share (0..1) of terms out of vocabulary."""
    if share < SOME_OOV:
        return "known"
    return "some oov" if share < MOSTLY_OOV else "mostly oov"


def parts(
    members: Iterable[Sequence[str]], strata: Mapping[str, str], seed: int
) -> dict[str, Part]:
    """The part of each query; a group is never divided.

    Within each stratum groups are ordered by a hash of their first member and the seed, and the
    first tenth goes to the test, the next to dev; large groups are trained with. So every part has
    its share of every stratum, and a query stays in its part from night to night, up to those at
    the borders: what the champion was trained with does not become what it is tested with.

    Args:
        members: of each group; the first one stands for it.
        strata: of each first member.
    """
    by_stratum: defaultdict[str, list[Sequence[str]]] = defaultdict(list)
    for group in members:
        by_stratum[strata[group[0]]].append(group)
    found: dict[str, Part] = {}
    for stratum in sorted(by_stratum):
        own = sorted(by_stratum[stratum], key=lambda group: lot(group[0], seed))
        largest = max(1, LARGEST_HELD_OUT * sum(map(len, own)))
        small = [group for group in own if len(group) <= largest]
        found.update({text: Part.TRAIN for group in own for text in group})
        total, before = sum(map(len, small)), 0
        for group in small:
            part = _part((before + len(group) / 2) / total)
            found.update(dict.fromkeys(group, part))
            before += len(group)
    return found


def table(strata: Mapping[str, str], parts_of: Mapping[str, Part]) -> dict[str, dict[str, int]]:
    """How many queries of each stratum are in each part."""
    counts = Counter((stratum, parts_of[query]) for query, stratum in strata.items())
    names = sorted({stratum for stratum, _ in counts})
    return {name: {part.value: counts[name, part] for part in Part} for name in names}


def _part(place: float) -> Part:
    if place < SHARE_OF_TEST:
        return Part.TEST
    return Part.DEV if place < SHARE_OF_TEST + SHARE_OF_DEV else Part.TRAIN


def lot(text: str, seed: int) -> bytes:
    """What texts are ordered by where chance decides: the same in every night and process."""
    return hashlib.blake2b(text.encode(), key=str(seed).encode(), digest_size=8).digest()
