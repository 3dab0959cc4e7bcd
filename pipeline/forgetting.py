"""Forgetting images and businesses: nothing stays but tombstones, and events as counts.

The tombstone comes first, and keeps the hash that the rest is found by: after a kill half-way the
same call ends what is left, and so does the check of consistency.
"""

from collections import Counter
from collections.abc import Callable

from pipeline.dead_letters import Withdraw, drop_letters
from pipeline.errors import ObjectMissing
from pipeline.records import DeadLetter, ImageState
from pipeline.stores import Stores

AT_ONCE = 500
ALL = 1_000_000


class Forgetting:
    """Removes all that is known. Every call is safe to repeat.

    Args:
        stores: what is removed from.
        withdraw: takes dead letters out of their error queues.
    """

    def __init__(self, stores: Stores, withdraw: Withdraw) -> None:
        self._stores = stores
        self._withdraw = withdraw

    def image(self, docid: str, product_id: int) -> Counter[str]:
        """Forget an image: what is in flight meets its tombstone and stops.

        Returns:
            How many images, objects, facts (found in the pixels), vectors, alt_texts and
            dead_letters were removed.

        Raises:
            StoreUnavailable, BrokerUnavailable: the same call ends what is left.
        """
        counts = self._image(docid, product_id)
        letters = self._stores.documents.dead_letters(docid=docid, limit=ALL)
        counts["dead_letters"] += self._drop(
            [letter for letter in letters if letter.product_id == product_id]
        )
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
            StoreUnavailable, BrokerUnavailable: the same call ends what is left.
        """
        documents, directory = self._stores.documents, self._stores.directory
        counts: Counter[str] = Counter()
        after = None
        while rows := documents.images([docid], after=after, limit=AT_ONCE, deleted=True):
            for row in rows:
                counts.update(self._image(row.docid, row.product_id))
                step(1)
            after = rows[-1].docid, rows[-1].product_id
        counts["dead_letters"] += self._drop(documents.dead_letters(docid=docid, limit=ALL))
        counts["categories"] += len(directory.categories([docid])[docid])
        directory.save_categories(docid, [])
        counts["businesses"] += documents.delete_business(docid)
        return counts

    def _image(self, docid: str, product_id: int) -> Counter[str]:
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
            counts.update(forget_bytes(self._stores, row.sha256, row.original_key))
        return counts

    def _drop(self, letters: list[DeadLetter]) -> int:
        return drop_letters(self._stores.documents, self._withdraw, letters)


def forget_bytes(stores: Stores, sha256: str, original_key: str = "") -> Counter[str]:
    """Remove the objects of a photo that is gone, and what was found in its pixels.

    Another photo with the same bytes keeps all of it.

    Args:
        sha256: of the bytes; empty: they were never fetched.

    Returns:
        How many objects and facts were removed.
    """
    documents = stores.documents
    if not sha256 or documents.hashes_in_use([sha256]):
        return Counter()
    facts = documents.pixel_facts(sha256)
    keys = {original_key, *(fact.fact.get("key", "") for fact in facts)} - {""}
    # The facts say where the objects are, and go last.
    objects = sum(remove_object(stores, key) for key in sorted(keys))
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
