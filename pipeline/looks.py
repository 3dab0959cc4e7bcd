"""How alike pictures look: by their perceptual hashes and by signatures of their vectors.

A perceptual hash tells one shot from another and bears resizing and recompression, but not much
cropping. The vector of the image-text encoder bears all of that, but takes two cups of coffee for
the same. Together they tell a copy from another photo of the same kind of thing.

A signature stands for a vector in the row that a page reads, so that it reads no vectors: the signs
of 256 projections on random directions (SimHash, Charikar 2002, doi:10.1145/509907.509965). The
share of bits in which two of them differ is the angle between the vectors, divided by pi.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

HASH_BITS = 64
SIGNATURE_BITS = 256
# Part of the key of what is stored: raised when the directions change.
SIGNATURE_VERSION = "simhash-256@1"

# Hashes of unrelated photos differ in half of their bits: so far apart, they are not alike at all.
UNRELATED_BITS = HASH_BITS // 2

_BY_HASH = np.clip(1 - np.arange(HASH_BITS + 1) / UNRELATED_BITS, 0.0, None)
_COSINES = np.cos(np.pi * np.arange(SIGNATURE_BITS + 1) / SIGNATURE_BITS)

# Bounds the memory of a comparison of all with all; a page of businesses is one.
PAIRS_AT_ONCE = 250_000

_HASH_BYTES = HASH_BITS // 8
_BYTES = _HASH_BYTES + SIGNATURE_BITS // 8


def signature(vector: np.ndarray) -> str:
    """The signature of a vector (D,) as 64 hexadecimal digits."""
    return np.packbits(vector @ _directions(vector.size) > 0).tobytes().hex()


def encoded(hash_digits: str, signature_digits: str) -> bytes:
    """A perceptual hash and a signature, in hexadecimal digits, as ``Looks`` takes them."""
    return bytes.fromhex(hash_digits + signature_digits) if hash_digits else b""


class Looks:
    """The looks of pictures in G groups, each picture compared with those of its own group.

    Arrays are (G, N), N the size of the largest group; what is beyond the end of a group is like
    nothing, as is a picture whose looks are not known.

    Args:
        groups: by group, the bytes of each picture's hash and signature; empty: not known.
    """

    def __init__(self, groups: Sequence[Sequence[bytes]]) -> None:
        self._given = groups
        every = [looks for group in groups for looks in group]
        sizes = [len(looks) for looks in every]
        if min(sizes, default=_BYTES) < _BYTES:
            every = [looks.ljust(_BYTES, b"\0") for looks in every]
        present = within([len(group) for group in groups])
        self._words = np.zeros((*present.shape, _BYTES // 8), np.uint64)
        self._words[present] = np.frombuffer(b"".join(every), np.uint64).reshape(-1, _BYTES // 8)
        known = np.zeros(present.shape, int)
        known[present] = sizes
        self._has_hash = known >= _HASH_BYTES
        self._has_signature = known == _BYTES
        self._all_known = bool(self._has_signature.all())
        self._groups = np.arange(len(groups))

    def twins(self, bits: int, likely_bits: int, cosine: float) -> list[dict[int, int]]:
        """By group: of pictures that look the same all but the first, with the first's place.

        A picture that is like a twin alone is none itself.

        Args:
            bits: hashes that differ in at most so many are of one picture.
            likely_bits: so are those up to here, if the vectors say the same.
            cosine: the least one at which they do.
        """
        groups, size = self._has_hash.shape
        if groups > 1 and groups * size * size > PAIRS_AT_ONCE:
            # One of them may be large: each by itself takes no more than its own size.
            return [Looks([group]).twins(bits, likely_bits, cosine)[0] for group in self._given]
        twins: list[dict[int, int]] = [{} for _ in range(groups)]
        left = self._has_hash.copy()
        at_once = max(1, PAIRS_AT_ONCE // max(1, groups * size))
        for start in range(0, size, at_once):
            rows = slice(start, start + at_once)
            for group, first, second in self._copies(rows, left, bits, likely_bits, cosine):
                if first not in twins[group]:
                    twins[group].setdefault(second, first)
            if rows.stop < size:
                for group, found in enumerate(twins):
                    left[group, list(found)] = False
        return twins

    def _copies(
        self, rows: slice, left: np.ndarray, bits: int, likely_bits: int, cosine: float
    ) -> Iterable[tuple[int, int, int]]:
        """Pictures (g, i) in ``rows`` and (g, j), i < j, that are copies of each other, in order.

        Args:
            left: which pictures (G, N) are looked at.
        """
        behind = slice(rows.start, None)
        hashes = self._words[:, behind, 0]
        of_rows = hashes[:, : rows.stop - rows.start, None]
        apart = np.bitwise_count(of_rows ^ hashes[:, None, :])  # (G, rows, N - start)
        places = np.arange(apart.shape[2])
        near = apart <= max(bits, likely_bits)
        near &= places[: apart.shape[1], None] < places
        near &= left[:, rows, None] & left[:, None, behind]
        groups, first, second = np.nonzero(near)
        near_bits = apart[groups, first, second]
        first, second = first + rows.start, second + rows.start
        words = self._words[groups, first] ^ self._words[groups, second]
        known = self._has_signature[groups, first] & self._has_signature[groups, second]
        same = (near_bits <= bits) | (known & (_cosines(np.bitwise_count(words)) >= cosine))
        return zip(*(part[same].tolist() for part in (groups, first, second)), strict=True)

    def likeness(self, places: np.ndarray) -> np.ndarray:
        """How much pictures (G, N) look like that at a place (G,) of their group, 0..1.

        By the hash or by the vector, whichever says more.
        """
        one = self._groups, places
        apart = np.bitwise_count(self._words ^ self._words[one][:, None])
        by_hash, by_vector = _BY_HASH[apart[..., 0]], _cosines(apart)
        if not self._all_known:
            by_hash *= self._has_hash & self._has_hash[one][:, None]
            by_vector *= self._has_signature & self._has_signature[one][:, None]
        return np.maximum(by_hash, by_vector)


def within(sizes: Sequence[int]) -> np.ndarray:
    """Which places (G, N) of an array are of members of groups; by it, a flat list is laid out."""
    return np.arange(max(sizes, default=0)) < np.array(sizes, int)[:, None]


def _cosines(apart: np.ndarray) -> np.ndarray:
    """Estimated cosines (...) of vectors, from the bits (..., 5) in which hash and words differ."""
    # Term by term: NumPy's sum over so short an axis takes ten times as long.
    bits = np.add(apart[..., 1], apart[..., 2], dtype=np.int16)
    bits += apart[..., 3]
    bits += apart[..., 4]
    return _COSINES[bits]


@lru_cache
def _directions(dimension: int) -> np.ndarray:
    """Random directions (D, 256), the same on every machine and with every release."""
    # The streams of RandomState are frozen (NEP 19); those of newer generators may change.
    directions = np.random.RandomState(509965).standard_normal((dimension, SIGNATURE_BITS))
    return directions.astype(np.float32)
