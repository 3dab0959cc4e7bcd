"""Forgetting images and businesses: nothing stays but tombstones, and events as counts.

The tombstone comes first, and keeps the hash that the rest is found by: after a kill half-way the
same call ends what is left, and so does the check of consistency. What was found in the pixels goes
last: it says where the objects were, of which a CDN may keep copies.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from pipeline.dead_letters import Withdraw, drop_letters
from pipeline.errors import (
    ConfigurationError,
    JustLensError,
    ObjectMissing,
    PurgeFailed,
    PurgeRefused,
)
from pipeline.records import DeadLetter, ImageState
from pipeline.stores import Stores

Purge = Callable[[Sequence[str]], None]
"""Makes a CDN forget objects by their keys; returns when it has said that it does."""

CDN_ERRORS = (PurgeFailed, PurgeRefused, ConfigurationError)

AT_ONCE = 500
ALL = 1_000_000


class Forgetting:
    """Removes all that is known. Every call is safe to repeat.

    Args:
        stores: what is removed from.
        withdraw: takes dead letters out of their error queues.
        purge: takes objects from the edges of a CDN.
    """

    def __init__(
        self, stores: Stores, withdraw: Withdraw, purge: Purge = lambda keys: None
    ) -> None:
        self._stores = stores
        self._withdraw = withdraw
        self._purge = purge

    def image(self, docid: str, product_id: int) -> Counter[str]:
        """Forget an image: what is in flight meets its tombstone and stops.

        Returns:
            How many images, objects, facts (found in the pixels), vectors, alt_texts and
            dead_letters were removed.

        Raises:
            StoreUnavailable, BrokerUnavailable: the same call ends what is left.
            PurgeFailed, PurgeRefused, ConfigurationError: all is forgotten here, and the CDN may
                still have it; the same call asks it again.
        """
        troubles: list[JustLensError] = []
        counts = self._image(docid, product_id, troubles)
        letters = self._stores.documents.dead_letters(docid=docid, limit=ALL)
        counts["dead_letters"] += self._drop(
            [letter for letter in letters if letter.product_id == product_id]
        )
        _raise_first(troubles)
        return counts

    def business(
        self, docid: str, step: Callable[[int], None] = lambda count: None
    ) -> Counter[str]:
        """Forget a business, its categories and all of its images; the business itself goes last.

        Args:
            step: is told how many more images are done.

        Returns:
            As for an image, and how many businesses and categories were removed.

        Raises:
            As for an image. The business stays until the CDN has been told.
        """
        troubles: list[JustLensError] = []
        documents, directory = self._stores.documents, self._stores.directory
        counts: Counter[str] = Counter()
        after = None
        while rows := documents.images([docid], after=after, limit=AT_ONCE, deleted=True):
            for row in rows:
                counts.update(self._image(row.docid, row.product_id, troubles))
                step(1)
            after = rows[-1].docid, rows[-1].product_id
        counts["dead_letters"] += self._drop(documents.dead_letters(docid=docid, limit=ALL))
        _raise_first(troubles)
        counts["categories"] += len(directory.categories([docid])[docid])
        directory.save_categories(docid, [])
        counts["businesses"] += documents.delete_business(docid)
        return counts

    def bytes(self, sha256: str, original_key: str = "") -> Counter[str]:
        """Forget the objects of a photo that is gone; see ``forget_bytes``."""
        return forget_bytes(self._stores, sha256, original_key, self._purge)

    def _image(self, docid: str, product_id: int, troubles: list[JustLensError]) -> Counter[str]:
        documents, vectors = self._stores.documents, self._stores.vectors
        key = docid, product_id
        counts = Counter(images=int(documents.delete_image(*key)))
        row = documents.image(*key)
        if row is not None and row.state is not ImageState.DELETED:
            # A new photo has come since: what is found under its name is its own.
            return counts
        if documents.metadata([key]) or documents.scored_images([key]):
            documents.drop_findings(*key)
        counts["vectors"] += sum(
            len(vectors.known_images(kind, [key])) for kind in ("picture", "description")
        )
        vectors.delete_image(*key)
        counts["alt_texts"] += self._stores.directory.delete_alt_text(*key)
        if row is not None:
            try:
                # A CDN that is away is not waited for with each image.
                purge = self._purge if not troubles else _refusing(troubles[0])
                counts.update(forget_bytes(self._stores, row.sha256, row.original_key, purge))
            except CDN_ERRORS as error:
                troubles.append(error)
        return counts

    def _drop(self, letters: list[DeadLetter]) -> int:
        return drop_letters(self._stores.documents, self._withdraw, letters)


def _refusing(error: JustLensError) -> Purge:
    def purge(keys: Sequence[str]) -> None:
        raise error

    return purge


def _raise_first(troubles: Sequence[JustLensError]) -> None:
    if troubles:
        raise troubles[0]


def forget_bytes(
    stores: Stores,
    sha256: str,
    original_key: str = "",
    purge: Purge = lambda keys: None,
) -> Counter[str]:
    """Remove the objects of a photo that is gone, and what was found in its pixels.

    Another photo with the same bytes keeps all of it.

    Args:
        sha256: of the bytes; empty: they were never fetched.
        purge: is told of the objects that no photo needs any more, once they are gone.

    Returns:
        How many objects and facts were removed.

    Raises:
        PurgeFailed, PurgeRefused, ConfigurationError: the facts are still there.
    """
    documents = stores.documents
    if not sha256 or documents.hashes_in_use([sha256]):
        return Counter()
    facts = documents.pixel_facts(sha256)
    keys = {original_key, *(fact.fact.get("key", "") for fact in facts)} - {""}
    # The facts say where the objects are, and go last.
    objects = sum(remove_object(stores, key) for key in sorted(keys))
    if objects or facts:
        purge([key for key in sorted(keys) if not documents.images_with(key, limit=1)])
    count = documents.drop_pixel_facts(sha256)
    if documents.hashes_in_use([sha256]):
        for fact in facts:
            documents.save_pixel_fact(sha256, *fact)
    return Counter(objects=objects, facts=count)


def remove_object(stores: Stores, key: str) -> bool:
    """Remove an object that belongs to no photo; False where it is needed, or not there.

    Names are hashes of contents: a photo that comes at the same moment may count on the object
    that is there. Its row is looked for again afterwards, and brings the object back.
    """
    if stores.documents.images_with(key, limit=1):
        return False
    try:
        content = stores.objects.get(key)
    except ObjectMissing:
        return False
    stores.objects.delete(key)
    if stores.documents.images_with(key, limit=1):
        stores.objects.put(key, content)
        return False
    return True
