"""The document store on MongoDB, without transactions: a server that stands alone will do.

Every change is one atomic write of one document, in three protocols:

*A row of the catalogue* is changed by compare-and-set on its ``version``. The row holds the rows of
``imgrel`` of its image as well, so that scores and patches of scores are fenced by the very write
that makes them: the generation stands in the same document.

*imgrel* is what pages read of that, a document for each category. Documents in it are only
replaced, by those of a higher version; one that has to go is emptied instead of removed. So
whatever reaches it last, from however slow a process, the highest version stands. A row that may
not have reached ``imgrel`` yet says so (``unsettled``), and what a killed process left behind is
finished by whoever comes by: the reconciler at the latest, each time it looks for waiting images.

*metadata* is written only where it has the writer's generation. A new photo and a deletion raise
the generation there before they return, in a document that stays, so that a slow write of the old
one finds nothing to change and no place to be inserted. The new generation's first write raises it
as well, should its photo's process have been killed before.
"""

import heapq
import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, product
from typing import Any, TypeVar, Unpack

from pymongo import ASCENDING, ReplaceOne, ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from pipeline import looks
from pipeline.errors import StoreUnavailable
from pipeline.queues import Lane, Stage
from pipeline.records import (
    ANY_CATEGORY,
    Business,
    CatalogueImage,
    DeadLetter,
    ImageMetadata,
    ImageRelevance,
    ImageState,
    Record,
    StageRecord,
)
from pipeline.stores.decisions import Acceptance, acceptance, counted_up, of_one_image
from pipeline.stores.documents import (
    STAGE_RECORDS,
    DocumentStore,
    PixelFact,
    WantedLetters,
    WholeImage,
)
from pipeline.stores.mongo import MongoServer, reaching
from pipeline.stores.mongo_collections import (
    INDEX_WITHOUT_SPACE,
    KINDS,
    PAGE_INDEX,
    RELEVANCE_KEY,
    Stored,
    StoredBusiness,
    StoredDeadLetter,
    StoredDeliveries,
    StoredImage,
    StoredLease,
    StoredMetadata,
    StoredPixelFact,
    StoredRelevance,
    StoredValue,
)
from pipeline.stores.page_images import PageImage, PageImages, PageScores
from pipeline.stores.patches import Patch, patched

R = TypeVar("R", bound=Record)
Fields = dict[str, Any]

# How long a change is tried again because others were faster; each time, one of them was.
TURN_SECONDS = 10.0
LONGEST_PAUSE = 0.05
# A page in one answer; the server's own first answer has 101 documents.
PAGE_BATCH = 10_000

IMAGE_IDENTITY = ("docid", "product_id", "generation")
RELEVANCE_IDENTITY = (*IMAGE_IDENTITY, "space", "catid")
METADATA_IDENTITY = ("_id", "generation", "dropped")

# Documents of a collection that is read from end to end, at a time.
WALKED_AT_ONCE = 1000

PAGE_FIELDS = ("docid", "catid", "product_id", "score", "parts", "quality", "one_class", "card")

KEY_FIELDS = {"docid": True, "product_id": True}

DUPLICATE_KEY = 11000


@dataclass(frozen=True)
class _Row:
    """A row of the catalogue as it was read or written; ``relevance``: what imgrel has to hold."""

    image: CatalogueImage
    version: int
    relevance: list[Fields]
    unsettled: int | None


class MongoDocuments(DocumentStore):
    """The document store of production.

    Parameters:
        url: MongoDB's form of address, with the name of the database; whatever the address does
            not say holds as in ``pipeline.stores.mongo.DEFAULTS``.

    Raises:
        ConfigurationError: the address cannot work.
    """

    def __init__(self, url: str) -> None:
        self._server = MongoServer(url, KINDS)

    # businesses

    @reaching
    def save_businesses(self, businesses: Iterable[Business]) -> None:
        writes = [
            ReplaceOne(
                {"_id": business.docid},
                {**_fields(business), "folded_name": business.name.casefold()},
                upsert=True,
            )
            for business in businesses
        ]
        if writes:
            self._primary(StoredBusiness).bulk_write(writes)

    @reaching
    def businesses(self, docids: Sequence[str]) -> dict[str, Business]:
        found = self._pages(StoredBusiness, docid__in=docids)
        return {business.docid: business for business in _read(Business, found)}

    @reaching
    def search_businesses(self, text: str = "", limit: int = 25) -> list[Business]:
        place = {"$indexOfCP": ["$folded_name", {"$literal": text.casefold()}]}
        found = self._pages(StoredBusiness, __raw__={"$expr": {"$gte": [place, 0]}})
        return _read(Business, found.order_by("docid").limit(limit))

    @reaching
    def delete_business(self, docid: str) -> bool:
        return self._primary(StoredBusiness).delete_one({"_id": docid}).deleted_count > 0

    def every_business(self) -> Iterator[Business]:
        for found in self._walk(StoredBusiness, "_id", _only(Business) | {"_id": True}):
            yield _decoded(Business, found)

    # catalogue_details

    @reaching
    def accept_image(self, image: CatalogueImage) -> tuple[CatalogueImage, bool]:
        for _ in _attempts():
            row = self._row(image.docid, image.product_id)
            accepted = acceptance(row.image if row else None, image)
            stored = self._accepted(row, accepted)
            if stored is not None:
                self._settle(stored)
                break
        return accepted.row, accepted.is_work

    @reaching
    def image(self, docid: str, product_id: int) -> CatalogueImage | None:
        found = self._primary(StoredImage).find_one(
            {"_id": _key(docid, product_id)}, _only(CatalogueImage)
        )
        return None if found is None else CatalogueImage.model_validate(found)

    @reaching
    def images(
        self,
        docids: Sequence[str],
        *,
        after: tuple[str, int] | None = None,
        limit: int | None = None,
        deleted: bool = False,
    ) -> list[CatalogueImage]:
        parts: list[Fields] = [{"docid__in": docids}]
        if after is not None:
            rest = {"docid": after[0], "product_id__gt": after[1]}
            later = {"docid__in": [docid for docid in docids if docid > after[0]]}
            parts = [rest, later] if after[0] in docids else [later]
        but = {} if deleted else {"state__ne": ImageState.DELETED.value}
        found: list[CatalogueImage] = []
        for part in parts:
            rows = self._pages(StoredImage, **part, **but).order_by("docid", "product_id")
            if limit is not None:
                if len(found) == limit:
                    break
                rows = rows.limit(limit - len(found))
            found += _read(CatalogueImage, rows)
        return found

    @reaching
    def images_of(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], CatalogueImage]:
        living = {
            "_id": {"$in": [_key(*key) for key in keys]},
            "state": {"$ne": ImageState.DELETED.value},
        }
        found = self._primary(StoredImage).find(living, _only(CatalogueImage))
        rows = [CatalogueImage.model_validate(one) for one in found.batch_size(PAGE_BATCH)]
        return {(row.docid, row.product_id): row for row in rows}

    @reaching
    def update_image(
        self,
        docid: str,
        product_id: int,
        generation: int,
        changes: Mapping[str, Any],
        *,
        only_in: ImageState | None = None,
    ) -> bool:
        for _ in _attempts():
            row = self._standing(docid, product_id, generation)
            if row is None or (only_in is not None and row.image.state is not only_in):
                return False
            if self._changed(row, patched(row.image, changes, IMAGE_IDENTITY)):
                break
        return True

    @reaching
    def delete_image(self, docid: str, product_id: int) -> bool:
        for _ in _attempts():
            row = self._row(docid, product_id)
            if row is None:
                return False
            if row.image.state is ImageState.DELETED:
                # The process that made the tombstone may have been killed before the rest.
                self._settle(row)
                return False
            tombstone = {
                "generation": row.image.generation + 1,
                "state": ImageState.DELETED,
                "moved_at": time.time(),
            }
            changed = self._changed(
                row, row.image.model_copy(update=tombstone), _emptied(row.relevance)
            )
            if changed:
                self._settle(changed)
                break
        return True

    @reaching
    def drop_findings(self, docid: str, product_id: int) -> bool:
        key = {"docid": docid, "product_id": product_id}
        for _ in _attempts():
            row = self._row(docid, product_id)
            if row is None:
                self._primary(StoredMetadata).delete_many({"_id": _key(docid, product_id)})
                self._primary(StoredRelevance).delete_many(key)
                break
            if row.image.state is not ImageState.DELETED:
                return False
            # What is emptied stays: it keeps what is late from taking its place.
            left = self._primary(StoredRelevance).find(key, dict.fromkeys(RELEVANCE_KEY, True))
            changed = self._changed(row, row.image, _emptied(left))
            if changed:
                self._settle(changed)
                break
        return True

    def every_image(self) -> Iterator[CatalogueImage]:
        for found in self._walk(StoredImage, "_id", _only(CatalogueImage) | {"_id": True}):
            yield _decoded(CatalogueImage, found)

    @reaching
    def add_images(self, images: Sequence[WholeImage]) -> None:
        rows = self._primary(StoredImage)
        keys = [_key(*whole.key) for whole in images]
        found = rows.find({"_id": {"$in": keys}}, {"_id": True}).batch_size(PAGE_BATCH)
        there = {one["_id"] for one in found}
        new = [whole for key, whole in zip(keys, images, strict=True) if key not in there]
        # The metadata first: a row that is there has all of it, whenever this is killed.
        metadata = [
            {"_id": _key(*whole.key), **_fields(whole.metadata), "dropped": False}
            for whole in new
            if whole.metadata
        ]
        _supersede(self._primary(StoredMetadata), metadata, ("_id",), "generation")
        for whole in new:
            relevance = [{**_fields(one), "dropped": False} for one in whole.relevance]
            row = _Row(whole.image, 1, relevance, 1)
            if _inserted(rows, _stored(row)):
                self._settle(row)
        for one in rows.find({"_id": {"$in": [*there]}, "unsettled": {"$exists": True}}):
            self._settle(_as_row(one))

    def every_object_key(self) -> Iterator[str]:
        living = {"state": {"$ne": ImageState.DELETED.value}}
        originals = self._strings(StoredImage, "original_key", living)
        enhanced = self._strings(StoredMetadata, "enhancement.key", {"dropped": False})
        for key, _ in groupby(heapq.merge(originals, enhanced)):
            yield key

    @reaching
    def images_with(self, object_key: str, limit: int | None = None) -> list[tuple[str, int]]:
        rows = self._primary(StoredImage)
        living = {"state": {"$ne": ImageState.DELETED.value}}
        facts = self._primary(StoredPixelFact).distinct("_id", {"object": object_key})
        key = {"_id": False, "docid": True, "product_id": True}
        among: list[tuple[Collection[Fields], Fields]] = [
            (rows, {"original_key": object_key, **living}),
            (
                self._primary(StoredMetadata),
                {"enhancement.key": object_key, "dropped": False},
            ),
            (rows, {"sha256": {"$in": [fact.partition("/")[0] for fact in facts]}, **living}),
        ]
        found: dict[tuple[str, int], None] = {}
        for collection, wanted in among:
            for one in collection.find(wanted, key).limit(limit or 0).batch_size(PAGE_BATCH):
                found[one["docid"], one["product_id"]] = None
            if limit is not None and len(found) >= limit:
                break
        return list(found)[:limit]

    @reaching
    def hashes_in_use(self, sha256s: Sequence[str]) -> set[str]:
        wanted = {"sha256": {"$in": list(sha256s)}, "state": {"$ne": ImageState.DELETED.value}}
        return set(self._primary(StoredImage).distinct("sha256", wanted))

    @reaching
    def waiting_images(
        self, state: ImageState, before: float, limit: int = 500
    ) -> list[CatalogueImage]:
        self._finish(limit)
        waiting = {"state": state.value, "moved_at": {"$lt": before}}
        found = self._primary(StoredImage).find(waiting, _only(CatalogueImage))
        oldest = found.sort("moved_at").limit(limit)
        return [CatalogueImage.model_validate(one) for one in oldest]

    @reaching
    def longest_waiting(self) -> dict[tuple[Stage, Lane], float]:
        waiting = {}
        for stage, lane in product(Stage, Lane):
            place = {"state": ImageState.QUEUED.value, "lane": lane.value, "stage": stage.value}
            found = self._primary(StoredImage).find_one(
                place, {"moved_at": True}, sort=[("moved_at", ASCENDING)]
            )
            if found is not None:
                waiting[stage, lane] = found["moved_at"]
        return waiting

    @reaching
    def count_states(self, docids: Sequence[str] | None = None) -> dict[ImageState, int]:
        among = {} if docids is None else {"docid": {"$in": list(docids)}}
        counting: list[Fields] = [
            {"$match": among},
            {"$group": {"_id": "$state", "count": {"$sum": 1}}},
        ]
        counts = dict.fromkeys(ImageState, 0)
        for found in self._primary(StoredImage).aggregate(counting):
            counts[ImageState(found["_id"])] = found["count"]
        return counts

    @reaching
    def finished_images(self, until: float, span: float, spans: int) -> list[int]:
        since = until - span * spans
        moved = {"$divide": [{"$subtract": ["$moved_at", since]}, span]}
        counting: list[Fields] = [
            {"$match": {"state": ImageState.DONE.value, "moved_at": {"$gte": since, "$lt": until}}},
            {"$group": {"_id": {"$floor": moved}, "count": {"$sum": 1}}},
        ]
        counts = [0] * spans
        for found in self._primary(StoredImage).aggregate(counting):
            # The last moment may be rounded up.
            counts[min(int(found["_id"]), spans - 1)] += found["count"]
        return counts

    @reaching
    def last_stages(self, limit: int = 200) -> list[dict[str, StageRecord]]:
        done = self._primary(StoredImage).find({"state": ImageState.DONE.value}, {"_id": True})
        keys = [found["_id"] for found in done.sort("moved_at", -1).limit(limit)]
        known = self._primary(StoredMetadata).find(
            {"_id": {"$in": keys}, "dropped": False}, {"stages": True}
        )
        stages = {found["_id"]: found["stages"] for found in known.batch_size(PAGE_BATCH)}
        return [STAGE_RECORDS.validate_python(stages[key]) for key in keys if key in stages]

    # metadata

    @reaching
    def metadata(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], ImageMetadata]:
        known = {"_id": {"$in": [_key(*key) for key in keys]}, "dropped": False}
        found = self._primary(StoredMetadata).find(known, _only(ImageMetadata))
        records = [ImageMetadata.model_validate(one) for one in found.batch_size(PAGE_BATCH)]
        return {(one.docid, one.product_id): one for one in records}

    def every_metadata(self) -> Iterator[tuple[str, int]]:
        for found in self._walk(StoredMetadata, "_id", KEY_FIELDS, {"dropped": False}):
            yield found["docid"], found["product_id"]

    @reaching
    def patch_metadata(self, docid: str, product_id: int, generation: int, patch: Patch) -> bool:
        blank = ImageMetadata(docid=docid, product_id=product_id, generation=generation)
        for _ in _attempts():
            # Checked before the metadata is read: if the row moves on after this, it raises the
            # generation of the metadata, and the write below finds another one than was read.
            if self._standing(docid, product_id, generation) is None:
                return False
            found = self._primary(StoredMetadata).find_one({"_id": _key(docid, product_id)})
            if found and found["generation"] > generation:
                return False
            if found and found["generation"] == generation and not found["dropped"]:
                is_written = self._patched(found, patch)
            else:
                is_written = self._begun(found, patched(blank, patch, IMAGE_IDENTITY))
            if is_written:
                break
        return True

    # what depends on the pixels alone

    @reaching
    def pixel_fact(self, sha256: str, kind: str, model: str) -> dict[str, Any] | None:
        return self._body(StoredPixelFact, f"{sha256}/{kind}/{model}")

    @reaching
    def save_pixel_facts(self, facts: Sequence[tuple[str, PixelFact]]) -> None:
        writes = [
            ReplaceOne({"_id": f"{sha256}/{kind}/{model}"}, _stored_fact(fact), upsert=True)
            for sha256, (kind, model, fact) in facts
        ]
        if writes:
            self._primary(StoredPixelFact).bulk_write(writes)

    @reaching
    def pixel_facts(self, sha256: str) -> list[PixelFact]:
        return [
            PixelFact(kind, model, json.loads(found["body"]))
            for found in self._primary(StoredPixelFact).find(_of_bytes(sha256))
            for _, kind, model in [found["_id"].split("/", 2)]
        ]

    @reaching
    def drop_pixel_facts(self, sha256: str) -> int:
        return self._primary(StoredPixelFact).delete_many(_of_bytes(sha256)).deleted_count

    def every_pixel_hash(self) -> Iterator[str]:
        facts = self._walk(StoredPixelFact, "_id", {"_id": True})
        for sha256, _ in groupby(found["_id"].partition("/")[0] for found in facts):
            yield sha256

    # imgrel

    @reaching
    def save_relevance(self, rows: Sequence[ImageRelevance]) -> bool:
        docid, product_id, generation = of_one_image(rows)
        space = rows[0].space
        new = {row.catid: {**_fields(row), "dropped": False} for row in rows}
        for _ in _attempts():
            row = self._standing(docid, product_id, generation)
            if row is None:
                return False
            others = [one for one in row.relevance if one["space"] != space]
            left = [
                one for one in row.relevance if one["space"] == space and one["catid"] not in new
            ]
            changed = self._changed(row, row.image, [*new.values(), *_emptied(left), *others])
            if changed:
                self._settle(changed)
                break
        return True

    @reaching
    def patch_relevance(self, docid: str, product_id: int, generation: int, patch: Patch) -> bool:
        for _ in _attempts():
            row = self._standing(docid, product_id, generation)
            if row is None:
                return False
            if all(one["dropped"] for one in row.relevance):
                break
            changed = self._changed(
                row, row.image, [_patched_relevance(one, patch) for one in row.relevance]
            )
            if changed:
                self._settle(changed)
                break
        return True

    @reaching
    def relevance(
        self, docids: Sequence[str], catids: Sequence[int], space: str = ""
    ) -> list[ImageRelevance]:
        found = self._pages(
            StoredRelevance, space=space, docid__in=docids, catid__in=catids, dropped=False
        )
        return _read(ImageRelevance, found.hint(PAGE_INDEX))

    @reaching
    def own_rows(self, keys: Sequence[tuple[str, int]], space: str = "") -> list[ImageRelevance]:
        return [_decoded(ImageRelevance, one) for one in self._own_rows(keys, space)]

    @reaching
    def relevance_of(
        self, keys: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], list[ImageRelevance]]:
        wanted = {"_id": {"$in": [_key(*key) for key in keys]}}
        found = self._primary(StoredImage).find(wanted).batch_size(PAGE_BATCH)
        rows = map(_as_row, found)
        scored = {
            (row.image.docid, row.image.product_id): [
                _decoded(ImageRelevance, one) for one in row.relevance if not one["dropped"]
            ]
            for row in rows
        }
        return {key: relevance for key, relevance in scored.items() if relevance}

    @reaching
    def scored_images(
        self, keys: Sequence[tuple[str, int]], space: str = ""
    ) -> dict[tuple[str, int], int]:
        return {
            (one["docid"], one["product_id"]): one["generation"]
            for one in self._own_rows(keys, space)
        }

    @reaching
    def drop_space(self, space: str) -> None:
        in_space = {"space": space, "catid": ANY_CATEGORY, "dropped": False}
        for found in self._walk(StoredRelevance, "_id", KEY_FIELDS, in_space):
            for _ in _attempts():
                row = self._row(found["docid"], found["product_id"])
                if row is None:
                    break
                own = [one for one in row.relevance if one["space"] == space]
                others = [one for one in row.relevance if one["space"] != space]
                changed = self._changed(row, row.image, [*others, *_emptied(own)])
                if changed:
                    self._settle(changed)
                    break

    def every_scored(self) -> Iterator[tuple[str, int]]:
        own = {"catid": ANY_CATEGORY, "dropped": False}
        for found in self._walk(StoredRelevance, "_id", KEY_FIELDS, own):
            yield found["docid"], found["product_id"]

    @reaching
    def page(self, wanted: Mapping[str, Iterable[int]], space: str = "") -> dict[str, PageImages]:
        if not wanted:  # MongoDB refuses an empty $or.
            return {}
        pairs = [
            {"space": space, "docid": docid, "catid": {"$in": [ANY_CATEGORY, *catids]}}
            for docid, catids in wanted.items()
        ]
        found = self._pages(StoredRelevance, __raw__={"$or": pairs, "dropped": False})
        # The one index that a page may be read by: a server without it says so at once.
        found = found.only(*PAGE_FIELDS).exclude("pk").hint(PAGE_INDEX)
        images: dict[str, list[PageImage]] = {docid: [] for docid in wanted}
        scores: dict[str, dict[int, PageScores]] = {docid: {} for docid in wanted}
        for one in found.batch_size(PAGE_BATCH).as_pymongo():
            docid, key = one["docid"], one["product_id"]
            if one["catid"] == ANY_CATEGORY:
                images[docid].append(_page_image(one))
            else:
                of_category = scores[docid].setdefault(one["catid"], PageScores())
                of_category.values[key] = one["score"]
                of_category.parts[key] = one["parts"]
        page = {docid: PageImages.of(found) for docid, found in images.items()}
        for docid, business in page.items():
            business.scores = scores[docid]
        return page

    def decoded(self, encoded: Sequence[Any]) -> list[dict[str, Any]]:
        return list(encoded)

    # deliveries

    @reaching
    def count_delivery(self, task_id: str) -> int:
        counted: Any = self._primary(StoredDeliveries).find_one_and_update(
            {"_id": task_id},
            {"$inc": {"count": 1}, "$set": {"counted_at": datetime.now(UTC)}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(counted["count"])

    @reaching
    def note_delivery(self, task_id: str, cause: str) -> None:
        new = {"count": 0, "counted_at": datetime.now(UTC)}
        self._primary(StoredDeliveries).update_one(
            {"_id": task_id}, {"$set": {"cause": cause}, "$setOnInsert": new}, upsert=True
        )

    @reaching
    def delivery_cause(self, task_id: str) -> str:
        found = self._primary(StoredDeliveries).find_one({"_id": task_id})
        return found.get("cause", "") if found else ""

    @reaching
    def forget_deliveries(self, task_id: str) -> None:
        self._primary(StoredDeliveries).delete_one({"_id": task_id})

    # dead_letters

    @reaching
    def park(self, letter: DeadLetter) -> DeadLetter:
        letters = self._primary(StoredDeadLetter)
        for _ in _attempts():
            found = letters.find_one({"_id": letter.key})
            earlier = DeadLetter.model_validate_json(found["body"]) if found else None
            parked = counted_up(earlier, letter)
            stored = {
                "_id": parked.key,
                "queue": parked.queue,
                "exception": parked.exception,
                "docid": parked.docid,
                "last_at": parked.last_at,
                "body": parked.model_dump_json(),
            }
            if found is None:
                is_written = _inserted(letters, stored)
            else:
                unchanged = {"_id": letter.key, "body": found["body"]}
                is_written = letters.replace_one(unchanged, stored).matched_count > 0
            if is_written:
                break
        return parked

    @reaching
    def dead_letters(self, limit: int = 100, **wanted: Unpack[WantedLetters]) -> list[DeadLetter]:
        newest = self._primary(StoredDeadLetter).find(_fitting(wanted)).sort("last_at", -1)
        return [DeadLetter.model_validate_json(found["body"]) for found in newest.limit(limit)]

    @reaching
    def dead_letter(self, key: str) -> DeadLetter | None:
        found = self._primary(StoredDeadLetter).find_one({"_id": key})
        return DeadLetter.model_validate_json(found["body"]) if found else None

    def every_dead_letter(self) -> Iterator[DeadLetter]:
        for found in self._walk(StoredDeadLetter, "_id", {"body": True}):
            yield DeadLetter.model_validate_json(found["body"])

    @reaching
    def count_dead_letters(self, **wanted: Unpack[WantedLetters]) -> dict[tuple[str, str], int]:
        cause = {"queue": "$queue", "exception": "$exception"}
        counting: list[Fields] = [
            {"$match": _fitting(wanted)},
            # Without an order the index would not be read instead of all the bodies.
            {"$sort": {"queue": 1, "exception": 1}},
            {"$group": {"_id": cause, "count": {"$sum": 1}}},
        ]
        return {
            (found["_id"]["queue"], found["_id"]["exception"]): found["count"]
            for found in self._primary(StoredDeadLetter).aggregate(counting)
        }

    @reaching
    def drop_dead_letter(self, key: str) -> bool:
        return self._primary(StoredDeadLetter).delete_one({"_id": key}).deleted_count > 0

    # small named values

    @reaching
    def value(self, name: str) -> Any | None:
        return self._body(StoredValue, name)

    @reaching
    def save_value(self, name: str, value: Any) -> None:
        stored = {"body": json.dumps(value, allow_nan=False)}
        self._primary(StoredValue).replace_one({"_id": name}, stored, upsert=True)

    def every_value(self) -> Iterator[tuple[str, Any]]:
        for found in self._walk(StoredValue, "_id", {"body": True}):
            yield found["_id"], json.loads(found["body"])

    # leases

    @reaching
    def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        now = time.time()
        free = {"_id": name, "$or": [{"until": {"$lt": now}}, {"holder": holder}]}
        held = {"$set": {"holder": holder, "until": now + seconds}}
        try:
            self._primary(StoredLease).update_one(free, held, upsert=True)
        except DuplicateKeyError:
            # There is one, and it is not free.
            return False
        return True

    @reaching
    def give_lease_back(self, name: str, holder: str) -> None:
        self._primary(StoredLease).delete_one({"_id": name, "holder": holder})

    # life

    @reaching
    def prepare(self) -> None:
        # What an earlier release, which knew no spaces, has left.
        scores = self._primary(StoredRelevance)
        scores.update_many({"space": {"$exists": False}}, {"$set": {"space": ""}})
        if INDEX_WITHOUT_SPACE in scores.index_information():
            scores.drop_index(INDEX_WITHOUT_SPACE)
        self._server.prepare()

    @reaching
    def version(self) -> str:
        return self._server.version()

    @reaching
    def check(self) -> None:
        self._server.check()

    def close(self) -> None:
        self._server.close()

    # one document

    def _pages(self, kind: type[Stored], **wanted: Any) -> Any:
        """What pages read: from a secondary, if the address says so."""
        return self._server.document(kind).objects(**wanted)

    def _primary(self, kind: type[Stored]) -> Collection[Fields]:
        """What stages decide by and write."""
        return self._server.collection(kind)

    def _walk(
        self,
        kind: type[Stored],
        order: str,
        fields: Fields,
        wanted: Fields | None = None,
        last: Any = None,
    ) -> Iterator[Fields]:
        """Documents in the order of an indexed field behind ``last``, read in pages.

        Of those that share a value some may be left out.
        """
        while True:
            page = self._walked(kind, order, fields, wanted or {}, last)
            yield from page
            if len(page) < WALKED_AT_ONCE:
                return
            last = _at(page[-1], order)

    def _strings(self, kind: type[Stored], field: str, wanted: Fields) -> Iterator[str]:
        """The values of an indexed field, in their order; empty ones are left out."""
        for found in self._walk(kind, field, {field: True}, wanted, ""):
            yield _at(found, field)

    @reaching
    def _walked(
        self, kind: type[Stored], order: str, fields: Fields, wanted: Fields, last: Any
    ) -> list[Fields]:
        behind = wanted if last is None else {**wanted, order: {"$gt": last}}
        found = self._primary(kind).find(behind, fields).sort(order, 1).limit(WALKED_AT_ONCE)
        return list(found.batch_size(PAGE_BATCH))

    def _body(self, kind: type[Stored], key: str) -> Any | None:
        found = self._primary(kind).find_one({"_id": key})
        return None if found is None else json.loads(found["body"])

    # rows of the catalogue

    def _row(self, docid: str, product_id: int) -> _Row | None:
        found = self._primary(StoredImage).find_one({"_id": _key(docid, product_id)})
        return None if found is None else _as_row(found)

    def _own_rows(self, keys: Sequence[tuple[str, int]], space: str) -> Iterable[Fields]:
        if not keys:  # MongoDB refuses an empty $or.
            return []
        own = [
            {"space": space, "docid": docid, "catid": ANY_CATEGORY, "product_id": product_id}
            for docid, product_id in keys
        ]
        found = self._primary(StoredRelevance).find({"$or": own, "dropped": False})
        return found.batch_size(PAGE_BATCH)

    def _standing(self, docid: str, product_id: int, generation: int) -> _Row | None:
        """The fence: the row, if it is of this generation and no tombstone."""
        row = self._row(docid, product_id)
        if row is None or row.image.generation != generation:
            return None
        return None if row.image.state is ImageState.DELETED else row

    def _accepted(self, row: _Row | None, accepted: Acceptance) -> _Row | None:
        if row is None:
            first = _Row(accepted.row, 1, [], None)
            is_first = _inserted(self._primary(StoredImage), _stored(first))
            return first if is_first else None
        if accepted.is_new_photo:
            return self._changed(row, accepted.row, _emptied(row.relevance))
        return self._changed(row, accepted.row) if accepted.is_changed else row

    def _changed(
        self, row: _Row, image: CatalogueImage, relevance: list[Fields] | None = None
    ) -> _Row | None:
        """The row as written, or none if it is not what was read any more."""
        version = row.version + 1
        if relevance is None:
            changed = _Row(image, version, row.relevance, row.unsettled)
        else:
            changed = _Row(image, version, relevance, version)
        as_read = {"_id": _key(image.docid, image.product_id), "version": row.version}
        written = self._primary(StoredImage).replace_one(as_read, _stored(changed))
        return changed if written.matched_count else None

    def _finish(self, limit: int) -> None:
        """Settle rows whose process may have been killed before it did."""
        left = self._primary(StoredImage).find({"unsettled": {"$exists": True}}).limit(limit)
        for found in left:
            self._settle(_as_row(found))

    def _settle(self, row: _Row) -> None:
        """Bring ``imgrel`` and the generation of the metadata to what the row says."""
        if row.unsettled is None:
            return
        image = row.image
        key = _key(image.docid, image.product_id)
        if image.generation > 1:
            identity = {field: getattr(image, field) for field in IMAGE_IDENTITY}
            blank = {"_id": key, **identity, "dropped": True}
            _supersede(self._primary(StoredMetadata), [blank], ("_id",), "generation")
        versions = [{**one, "version": row.unsettled} for one in row.relevance]
        _supersede(self._primary(StoredRelevance), versions, RELEVANCE_KEY, "version")
        self._primary(StoredImage).update_one(
            {"_id": key, "unsettled": row.unsettled}, {"$unset": {"unsettled": ""}}
        )

    # metadata of one image

    def _begun(self, found: Fields | None, metadata: ImageMetadata) -> bool:
        """Put the first metadata of a generation in place of ``found``, if that still stands."""
        key = _key(metadata.docid, metadata.product_id)
        stored = {"_id": key, **_fields(metadata), "dropped": False}
        documents = self._primary(StoredMetadata)
        if found is None:
            return _inserted(documents, stored)
        as_read = _part(found, METADATA_IDENTITY)
        return documents.replace_one(as_read, stored).matched_count > 0

    def _patched(self, found: Fields, patch: Patch) -> bool:
        """Set the paths of a patch that fits ``found``, if it fits what stands there by now.

        Others may have set other paths meanwhile; what a path leads through must be as it was
        read, or half a record would be made where another patch has taken the rest away.
        """
        new = _fields(patched(_decoded(ImageMetadata, found), patch, IMAGE_IDENTITY))
        ways = {path[:end] for path in patch for end, sign in enumerate(path) if sign == "."}
        as_read = _part(found, METADATA_IDENTITY)
        for way in ways:
            is_absent = _at(found, way) is None
            as_read[way] = {"$exists": False} if is_absent else {"$type": "object"}
        values = {path: _at(new, path) for path in patch}
        # MongoDB refuses an empty $set.
        change = {"$set": values or {"generation": found["generation"]}}
        return self._primary(StoredMetadata).update_one(as_read, change).matched_count > 0


def _fitting(wanted: WantedLetters) -> Fields:
    fields: Fields = {name: wanted.get(name) for name in ("queue", "docid", "exception")}
    bounds = {"$gte": wanted.get("after"), "$lt": wanted.get("before")}
    fields["last_at"] = _known(bounds) or None
    return _known(fields)


def _known(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _attempts() -> Iterator[None]:
    """Tries of a change that others may be faster with, with growing random pauses.

    Raises:
        StoreUnavailable: none of them was the last for ten seconds.
    """
    until = time.monotonic() + TURN_SECONDS
    longest = 0.001
    while time.monotonic() < until:
        yield
        time.sleep(random.uniform(0, longest))
        longest = min(2 * longest, LONGEST_PAUSE)
    raise StoreUnavailable("other writers keep a document of the document store busy")


def _inserted(collection: Collection[Fields], stored: Fields) -> bool:
    try:
        collection.insert_one(stored)
    except DuplicateKeyError:
        return False
    return True


def _supersede(
    collection: Collection[Fields], documents: Sequence[Fields], key: Sequence[str], stamp: str
) -> None:
    """Put documents under their keys, but none over one whose stamp is as high or higher."""
    below = [{**_part(one, key), stamp: {"$lt": one[stamp]}} for one in documents]
    upserts = [
        ReplaceOne(older, one, upsert=True) for older, one in zip(below, documents, strict=True)
    ]
    if not upserts:
        return
    try:
        collection.bulk_write(upserts, ordered=False)
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        if any(failure["code"] != DUPLICATE_KEY for failure in failures):
            raise
        # There is a document under the key: the stamp was as high, or another writer has just
        # inserted one, which may be lower. It stays for good, so that this is decided now.
        met = [failure["index"] for failure in failures]
        collection.bulk_write(
            [ReplaceOne(below[index], documents[index]) for index in met], ordered=False
        )


def _as_row(found: Fields) -> _Row:
    return _Row(
        _decoded(CatalogueImage, found),
        found["version"],
        # Earlier releases knew no spaces.
        [{"space": "", **one} for one in found["relevance"]],
        found.get("unsettled"),
    )


def _stored(row: _Row) -> Fields:
    image = row.image
    stored = {
        "_id": _key(image.docid, image.product_id),
        **_fields(image),
        "version": row.version,
        "relevance": row.relevance,
    }
    return stored if row.unsettled is None else {**stored, "unsettled": row.unsettled}


def _stored_fact(fact: Fields) -> Fields:
    named = {"object": fact["key"]} if "key" in fact else {}
    return {**named, "body": json.dumps(fact, allow_nan=False)}


def _emptied(relevance: Iterable[Fields]) -> list[Fields]:
    return [{**_part(one, RELEVANCE_KEY), "dropped": True} for one in relevance]


def _patched_relevance(one: Fields, patch: Patch) -> Fields:
    if one["dropped"]:
        return one
    new = patched(_decoded(ImageRelevance, one), patch, RELEVANCE_IDENTITY)
    return {**_fields(new), "dropped": False}


def _page_image(one: Fields) -> PageImage:
    card = one["card"]
    return PageImage(
        one["product_id"],
        one["quality"],
        one["one_class"],
        " ".join(card["invalid"]),
        looks.encoded(card["perceptual_hash"], card.get("signature", "")),
        card,
    )


def _part(document: Fields, names: Iterable[str]) -> Fields:
    return {name: document[name] for name in names}


def _key(docid: str, product_id: int) -> str:
    # No docid holds a slash.
    return f"{docid}/{product_id}"


def _of_bytes(sha256: str) -> Fields:
    """All facts of some bytes; what follows a slash in the order of characters is a zero."""
    return {"_id": {"$gte": f"{sha256}/", "$lt": f"{sha256}0"}}


def _at(document: Any, path: str) -> Any:
    """What a dotted path leads to; none where it leads nowhere."""
    for step in path.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _only(record: type[Record]) -> Fields:
    return {"_id": False, **dict.fromkeys(record.model_fields, True)}


def _fields(record: Record) -> Fields:
    return record.model_dump(mode="json")


def _decoded(record: type[R], found: Fields) -> R:
    # Fields of the store's own, and those of a newer release beside this one, are left out.
    return record.model_validate(_part(found, record.model_fields.keys() & found.keys()))


def _read(record: type[R], found: Any) -> list[R]:
    """The records of a queryset."""
    documents = found.only(*record.model_fields).exclude("pk").batch_size(PAGE_BATCH).as_pymongo()
    return [record.model_validate(one) for one in documents]
