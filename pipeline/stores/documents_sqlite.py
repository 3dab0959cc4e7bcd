"""The document store on SQLite: key columns beside a JSON body.

The columns are what is searched by; the body is the whole record, and what is read back. A list
of keys travels as one JSON parameter, so that no page of businesses is too long for a statement.

``imgrel`` alone has no body: a page orders far more images than it shows, and reads what it orders
them by as plain values. What is the image's own lies once, in its row under ``ANY_CATEGORY``.
"""

import heapq
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, product
from typing import Any, NamedTuple, TypeVar, Unpack

from pydantic_core import from_json
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    select,
    text,
    tuple_,
    union,
)
from sqlalchemy.dialects.sqlite import Insert, insert

from pipeline import looks
from pipeline.queues import Lane, Stage
from pipeline.records import (
    ANY_CATEGORY,
    Business,
    Card,
    CatalogueImage,
    DeadLetter,
    ImageMetadata,
    ImageRelevance,
    ImageState,
    Record,
    StageRecord,
)
from pipeline.stores.database import Database
from pipeline.stores.decisions import acceptance, counted_up, of_one_image
from pipeline.stores.documents import (
    STAGE_RECORDS,
    DocumentStore,
    PixelFact,
    WantedLetters,
    WholeImage,
)
from pipeline.stores.json_set import JsonSet, encoded, json_set
from pipeline.stores.page_images import PageImages, PageScores
from pipeline.stores.patches import Patch, patched
from pipeline.stores.sqlite import driver_of, words

R = TypeVar("R", bound=Record)

# A message comes back within minutes; a count that nobody asked for in so long is of no use.
DELIVERIES_KEPT_SECONDS = 30 * 86400
# Businesses whose rows are removed in one transaction: other writers are let by in between.
DROPPED_AT_ONCE = 50

IMAGE_IDENTITY = ("docid", "product_id", "generation")
RELEVANCE_IDENTITY = (*IMAGE_IDENTITY, "space", "catid")

TABLES = MetaData()

_businesses = Table(
    "businesses",
    TABLES,
    Column("docid", String, primary_key=True),
    Column("folded_name", String, nullable=False),
    Column("body", Text, nullable=False),
)

_images = Table(
    "catalogue_details",
    TABLES,
    Column("docid", String, primary_key=True),
    Column("product_id", BigInteger, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("moved_at", Double, nullable=False),
    Column("body", Text, nullable=False),
    Index("states_of_images", "docid", "state"),
)
# A partial index serves only a query with the very same condition, hence not a parameter.
_IS_WAITING = text(f"state IN ('{ImageState.ACCEPTED}', '{ImageState.QUEUED}')")
Index("images_that_wait", _images.c.state, _images.c.moved_at, sqlite_where=_IS_WAITING)
_IS_QUEUED = text(f"state = '{ImageState.QUEUED}'")
_lane = func.json_extract(_images.c.body, text("'$.lane'"))
_stage = func.json_extract(_images.c.body, text("'$.stage'"))
Index("images_in_queues", _lane, _stage, _images.c.moved_at, sqlite_where=_IS_QUEUED)
_IS_DONE = text(f"state = '{ImageState.DONE}'")
# With the state in it the index alone answers.
Index("finished_images", _images.c.moved_at, _images.c.state, sqlite_where=_IS_DONE)

_IS_THERE = text(f"state <> '{ImageState.DELETED}'")
# A path is no parameter, for the same reason.
_original = func.json_extract(_images.c.body, text("'$.original_key'"))
_sha256 = func.json_extract(_images.c.body, text("'$.sha256'"))
for _name, _searched in (("images_by_original", _original), ("images_by_bytes", _sha256)):
    Index(_name, _searched, _images.c.docid, _images.c.product_id, sqlite_where=_IS_THERE)

_metadata = Table(
    "metadata",
    TABLES,
    Column("docid", String, primary_key=True),
    Column("product_id", BigInteger, primary_key=True),
    Column("body", Text, nullable=False),
)
_enhanced = func.json_extract(_metadata.c.body, text("'$.enhancement.key'"))
Index("metadata_by_enhanced", _enhanced, _metadata.c.docid, _metadata.c.product_id)

_pixel_facts = Table(
    "pixel_facts",
    TABLES,
    Column("sha256", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("body", Text, nullable=False),
)
_fact_object = func.json_extract(_pixel_facts.c.body, text("'$.key'"))
_HAS_OBJECT = text("json_extract(body, '$.key') IS NOT NULL")
Index("facts_by_object", _fact_object, _pixel_facts.c.sha256, sqlite_where=_HAS_OBJECT)

_relevance = Table(
    "imgrel",
    TABLES,
    Column("docid", String, primary_key=True),
    Column("catid", BigInteger, primary_key=True),
    # Not in front: who asks for images by their keys would have a whole space looked through.
    Column("space", String, primary_key=True, server_default=""),
    Column("product_id", BigInteger, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("score", Double),
    Column("parts", Text, nullable=False),
    Column("background", String, nullable=False),
    # The image's own, null but under ANY_CATEGORY.
    Column("quality", Double),
    Column("one_class", Boolean),
    Column("findings", String),
    Column("looks", LargeBinary),
    Column("card", Text),
    Index("imgrel_of_image", "docid", "product_id"),
    Index("imgrel_of_space", "space", "docid", sqlite_where=text("space <> ''")),
    # The rows lie in the order of their key: a page is read in half the time.
    sqlite_with_rowid=False,
)

_deliveries = Table(
    "deliveries",
    TABLES,
    Column("task_id", String, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("cause", Text, nullable=False),
    Column("counted_at", Double, nullable=False, index=True),
)

_dead_letters = Table(
    "dead_letters",
    TABLES,
    Column("key", String, primary_key=True),
    Column("queue", String, nullable=False),
    Column("docid", String, nullable=False),
    Column("last_at", Double, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Index("dead_letters_of_queue", "queue", "last_at"),
    Index("dead_letters_of_business", "docid", "last_at"),
)

_exception = func.json_extract(_dead_letters.c.body, text("'$.exception'"))
Index("causes_of_dead_letters", _dead_letters.c.queue, _exception, _dead_letters.c.last_at)

_values = Table(
    "named_values",
    TABLES,
    Column("name", String, primary_key=True),
    Column("body", Text, nullable=False),
)


_leases = Table(
    "leases",
    TABLES,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("until", Double, nullable=False),
)


def _among(searched: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """Whether a column's value is in the JSON list given as ``parameter``."""
    listed = func.json_each(bindparam(parameter)).table_valued("value")
    return searched.in_(select(listed.c.value))


def _is_image(table: FromClause) -> ColumnElement[bool]:
    return (table.c.docid == bindparam("of_docid")) & (
        table.c.product_id == bindparam("of_product_id")
    )


def _upsert(table: Table) -> Insert:
    """Insert a row, or replace the one under the same primary key."""
    statement = insert(table)
    replaced = {
        column.name: statement.excluded[column.name] for column in table.c if not column.primary_key
    }
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=replaced)


def _is_behind(table: Table) -> ColumnElement[bool]:
    """Whether a row comes after (docid, product_id), which is where its index is entered."""
    after = tuple_(bindparam("docid"), bindparam("product_id"))
    return tuple_(table.c.docid, table.c.product_id) > after


def _every_key(table: Table) -> Select[Any]:
    key = (table.c.docid, table.c.product_id)
    return select(*key).distinct().where(_is_behind(table)).order_by(*key)


def _every_body(table: Table) -> Select[Any]:
    """All of a table with a key of one column; the parameter is ``after``."""
    (key,) = table.primary_key
    return select(key, table.c.body).where(key > bindparam("after")).order_by(key)


_BEFORE_ALL = {"docid": "", "product_id": 0}

# Statements are made once: building one costs as much as running it.
_SAVE_BUSINESS = _upsert(_businesses)
_DROP_BUSINESS = delete(_businesses).where(_businesses.c.docid == bindparam("of_docid"))
_READ_BUSINESSES = words(select(_businesses.c.body).where(_among(_businesses.c.docid, "docids")))
_EVERY_BUSINESS = _every_body(_businesses)
_SEARCH_BUSINESSES = (
    select(_businesses.c.body)
    .where(func.instr(_businesses.c.folded_name, bindparam("folded")) > 0)
    .order_by(_businesses.c.docid)
    .limit(bindparam("most"))
)
_SAVE_IMAGE = words(_upsert(_images))
_READ_IMAGE = words(select(_images.c.body).where(_is_image(_images)))
_READ_FENCE = words(select(_images.c.generation, _images.c.state).where(_is_image(_images)))
_READ_IMAGES = (
    select(_images.c.body)
    .where(_among(_images.c.docid, "docids"), _images.c.state != bindparam("but"))
    .order_by(_images.c.docid, _images.c.product_id)
    .limit(bindparam("most"))
)
_READ_IMAGES_BEHIND = (
    select(_images.c.body)
    .where(
        _images.c.docid == bindparam("of_docid"),
        _images.c.product_id > bindparam("of_product_id"),
        _images.c.state != bindparam("but"),
    )
    .order_by(_images.c.product_id)
    .limit(bindparam("most"))
)
_EVERY_IMAGE = (
    select(_images.c.docid, _images.c.product_id, _images.c.body)
    .where(_is_behind(_images))
    .order_by(_images.c.docid, _images.c.product_id)
)
_EVERY_ORIGINAL = (
    select(_original.label("object_key"))
    .distinct()
    .where(_IS_THERE, _original > bindparam("object_key"))
    .order_by("object_key")
)
_EVERY_ENHANCED = (
    select(_enhanced.label("object_key"))
    .distinct()
    .where(_enhanced > bindparam("object_key"))
    .order_by("object_key")
)
_IMAGES_WITH = union(
    select(_images.c.docid, _images.c.product_id).where(
        _IS_THERE, _original == bindparam("object_key")
    ),
    select(_metadata.c.docid, _metadata.c.product_id).where(_enhanced == bindparam("object_key")),
    select(_images.c.docid, _images.c.product_id).where(
        _IS_THERE,
        # As a column it would have an affinity, and the index none.
        _sha256.in_(
            select(_pixel_facts.c.sha256 + "").where(
                _HAS_OBJECT, _fact_object == bindparam("object_key")
            )
        ),
    ),
).limit(bindparam("most"))
_HASHES_IN_USE = select(_sha256).distinct().where(_IS_THERE, _among(_sha256, "sha256s"))
_READ_WAITING = (
    select(_images.c.body)
    .where(
        _IS_WAITING,
        _images.c.state == bindparam("in_state"),
        _images.c.moved_at < bindparam("before"),
    )
    .order_by(_images.c.moved_at)
    .limit(bindparam("most"))
)
_READ_LONGEST_WAITING = select(func.min(_images.c.moved_at)).where(
    _IS_QUEUED, _lane == bindparam("in_lane"), _stage == bindparam("at_stage")
)
_COUNT_STATES = select(_images.c.state, func.count()).group_by(_images.c.state)
_COUNT_STATES_OF = _COUNT_STATES.where(_among(_images.c.docid, "docids"))
_span = cast((_images.c.moved_at - bindparam("since")) / bindparam("span"), Integer)
_COUNT_FINISHED = (
    select(_span, func.count())
    .where(
        _IS_DONE,
        _images.c.moved_at >= bindparam("since"),
        _images.c.moved_at < bindparam("until"),
    )
    .group_by(_span)
)
_READ_LAST_STAGES = (
    select(func.json_extract(_metadata.c.body, "$.stages"))
    .join_from(
        _images,
        _metadata,
        (_metadata.c.docid == _images.c.docid) & (_metadata.c.product_id == _images.c.product_id),
    )
    .where(_IS_DONE)
    .order_by(_images.c.moved_at.desc())
    .limit(bindparam("most"))
)
_SAVE_METADATA = words(_upsert(_metadata))
_READ_METADATA_OF_ONE = words(select(_metadata.c.body).where(_is_image(_metadata)))
_pairs = func.json_each(bindparam("pairs")).table_valued("value")


def _is_of_pair(table: FromClause) -> ColumnElement[bool]:
    return (table.c.docid == func.json_extract(_pairs.c.value, "$[0]")) & (
        table.c.product_id == func.json_extract(_pairs.c.value, "$[1]")
    )


_READ_IMAGES_OF = (
    select(_images.c.body)
    .join_from(_pairs, _images, _is_of_pair(_images))
    .where(_images.c.state != ImageState.DELETED.value)
)
_READ_METADATA = select(_metadata.c.body).join_from(_pairs, _metadata, _is_of_pair(_metadata))
_EVERY_METADATA = _every_key(_metadata)
_DROP_METADATA = words(delete(_metadata).where(_is_image(_metadata)))
_SAVE_PIXEL_FACT = words(_upsert(_pixel_facts))
_READ_PIXEL_FACT = words(
    select(_pixel_facts.c.body).where(
        _pixel_facts.c.sha256 == bindparam("sha256"),
        _pixel_facts.c.kind == bindparam("kind"),
        _pixel_facts.c.model == bindparam("model"),
    )
)
_READ_PIXEL_FACTS = words(
    select(_pixel_facts.c.kind, _pixel_facts.c.model, _pixel_facts.c.body).where(
        _pixel_facts.c.sha256 == bindparam("sha256")
    )
)
_DROP_PIXEL_FACTS = delete(_pixel_facts).where(_pixel_facts.c.sha256 == bindparam("of_sha256"))
_EVERY_PIXEL_HASH = (
    select(_pixel_facts.c.sha256)
    .distinct()
    .where(_pixel_facts.c.sha256 > bindparam("sha256"))
    .order_by(_pixel_facts.c.sha256)
)
_ADD_RELEVANCE = words(insert(_relevance))
_IN_SPACE = _relevance.c.space == bindparam("of_space")
_own = _relevance.alias("own")
# Outer, though there always is one: so the rows are searched before it, by the best index for them.
_READ_RELEVANCE = select(_relevance, _own.c.quality, _own.c.one_class, _own.c.card).outerjoin_from(
    _relevance,
    _own,
    (_own.c.space == _relevance.c.space)
    & (_own.c.docid == _relevance.c.docid)
    & (_own.c.catid == ANY_CATEGORY)
    & (_own.c.product_id == _relevance.c.product_id),
)
_READ_RELEVANCE_OF = _READ_RELEVANCE.where(
    _IN_SPACE, _among(_relevance.c.docid, "docids"), _among(_relevance.c.catid, "catids")
)
_keys = _relevance.alias("keys")
# By way of the keys, which an index has: else all rows of the business would be looked through.
_READ_RELEVANCE_OF_IMAGE = _READ_RELEVANCE.where(
    tuple_(*_relevance.primary_key).in_(select(*_keys.primary_key).where(_is_image(_keys)))
)
_READ_RELEVANCE_OF_IMAGES = _READ_RELEVANCE.where(
    tuple_(*_relevance.primary_key).in_(
        select(*_keys.primary_key).join_from(_pairs, _keys, _is_of_pair(_keys))
    )
)
# For the driver itself, in two rows of columns: the images of businesses, and their scores under
# the categories asked for, each with its place in the list. The driver gives the interpreter away
# at every row and has to get it back: with a row for each of a thousand images, requests that are
# answered at the same time would do little else.
_READ_PAGE = """
SELECT json_group_array(asked.key), json_group_array(product_id), json_group_array(quality),
    json_group_array(one_class), json_group_array(findings), json_group_array(hex(looks)),
    group_concat(card, char(10))
FROM json_each(:docids) AS asked
CROSS JOIN imgrel ON docid = asked.value AND catid = 0 AND space = :space
UNION ALL
SELECT json_group_array(asked.key), json_group_array(product_id), json_group_array(score),
    NULL, NULL, NULL, group_concat(parts, char(10))
FROM json_each(:pairs) AS asked
CROSS JOIN imgrel ON docid = asked.value ->> '$[0]' AND catid = asked.value ->> '$[1]'
    AND space = :space
"""
_READ_SCORED = (
    select(_relevance.c.docid, _relevance.c.product_id, _relevance.c.generation)
    .join_from(_pairs, _relevance, _is_of_pair(_relevance))
    .where(_relevance.c.catid == ANY_CATEGORY, _IN_SPACE)
)
_READ_OWN_ROWS = _READ_RELEVANCE.join(_pairs, _is_of_pair(_relevance)).where(
    _relevance.c.catid == ANY_CATEGORY, _IN_SPACE
)
_EVERY_SCORED = _every_key(_relevance)
_drop_relevance = delete(_relevance).where(_is_image(_relevance))
_DROP_RELEVANCE = words(_drop_relevance)
_DROP_RELEVANCE_IN_SPACE = words(_drop_relevance.where(_IN_SPACE))
# The row of the image itself has its card, in every space.
_SHOW_ALT_TEXT = """
UPDATE imgrel SET card = json_set(card, '$.alt', :alt)
WHERE docid = :of_docid AND product_id = :of_product_id AND catid = 0
"""
_SOME_OF_SPACE = (
    select(_relevance.c.docid)
    .distinct()
    .where(_IN_SPACE, text("space <> ''"))
    .limit(DROPPED_AT_ONCE)
)
_DROP_SPACE_OF = delete(_relevance).where(_IN_SPACE, _among(_relevance.c.docid, "docids"))
_new_delivery = insert(_deliveries)
_COUNT_DELIVERY = _new_delivery.on_conflict_do_update(
    index_elements=["task_id"],
    set_={
        "count": _deliveries.c.count + _new_delivery.excluded["count"],
        "counted_at": _new_delivery.excluded.counted_at,
    },
).returning(_deliveries.c.count)
_NOTE_DELIVERY = _new_delivery.on_conflict_do_update(
    index_elements=["task_id"], set_={"cause": _new_delivery.excluded.cause}
)
_READ_CAUSE = select(_deliveries.c.cause).where(_deliveries.c.task_id == bindparam("task_id"))
_FORGET_OLD_DELIVERIES = delete(_deliveries).where(_deliveries.c.counted_at < bindparam("before"))
_FORGET_DELIVERIES = delete(_deliveries).where(_deliveries.c.task_id == bindparam("of_task"))
_SAVE_DEAD_LETTER = _upsert(_dead_letters)
_READ_DEAD_LETTER = select(_dead_letters.c.body).where(_dead_letters.c.key == bindparam("of_key"))
_EVERY_DEAD_LETTER = _every_body(_dead_letters)
_COUNT_DEAD_LETTERS = select(_dead_letters.c.queue, _exception, func.count()).group_by(
    _dead_letters.c.queue, _exception
)
_DROP_DEAD_LETTER = delete(_dead_letters).where(_dead_letters.c.key == bindparam("of_key"))
_SAVE_VALUE = _upsert(_values)
_new_lease = insert(_leases)
_TAKE_LEASE = _new_lease.on_conflict_do_update(
    index_elements=["name"],
    set_={"holder": _new_lease.excluded.holder, "until": _new_lease.excluded.until},
    where=(_leases.c.until < bindparam("now")) | (_leases.c.holder == bindparam("by")),
)
_GIVE_LEASE_BACK = delete(_leases).where(
    _leases.c.name == bindparam("of_name"), _leases.c.holder == bindparam("by")
)
_EVERY_VALUE = _every_body(_values)
_READ_IMAGE_AND_METADATA = f"SELECT ({_READ_IMAGE}), ({_READ_METADATA_OF_ONE})"
# What a patch is put into, to be run by the driver.
_CHANGE_IMAGE = """
UPDATE catalogue_details
SET body = {body}, state = coalesce(:state, state), moved_at = coalesce(:moved_at, moved_at)
WHERE docid = :docid AND product_id = :product_id AND generation = :generation
    AND state <> 'deleted' AND coalesce(:only_in, state) = state
"""
_CHANGE_METADATA = """
UPDATE metadata SET body = {body}
WHERE docid = :of_docid AND product_id = :of_product_id AND {fits}
"""
_READ_VALUE = words(select(_values.c.body).where(_values.c.name == bindparam("name")))


class SqliteDocuments(DocumentStore):
    """The embedded document store, in one file.

    Parameters:
        url: ``sqlite:///`` and the path of the file.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, TABLES, "JUSTLENS_DOCUMENTS_URL")

    # businesses

    def save_businesses(self, businesses: Iterable[Business]) -> None:
        rows = [
            {
                "docid": business.docid,
                "folded_name": business.name.casefold(),
                "body": business.model_dump_json(),
            }
            for business in businesses
        ]
        if rows:
            with self._database.writing() as connection:
                connection.execute(_SAVE_BUSINESS, rows)

    def businesses(self, docids: Sequence[str]) -> dict[str, Business]:
        rows = self._database.rows(_READ_BUSINESSES, {"docids": _listed(docids)})
        found = _decoded(Business, (body for (body,) in rows))
        return {business.docid: business for business in found}

    def search_businesses(self, text: str = "", limit: int = 25) -> list[Business]:
        return self._read(Business, _SEARCH_BUSINESSES, folded=text.casefold(), most=limit)

    def delete_business(self, docid: str) -> bool:
        with self._database.writing() as connection:
            return connection.execute(_DROP_BUSINESS, {"of_docid": docid}).rowcount > 0

    def every_business(self) -> Iterator[Business]:
        for row in self._database.walk(_EVERY_BUSINESS, {"after": ""}):
            yield Business.model_validate_json(row.body)

    # catalogue_details

    def accept_image(self, image: CatalogueImage) -> tuple[CatalogueImage, bool]:
        def accept(driver: sqlite3.Connection) -> tuple[CatalogueImage, bool]:
            known = _image(driver, image.docid, image.product_id)
            accepted = acceptance(known, image)
            if accepted.is_new_photo:
                _drop_findings(driver, image.docid, image.product_id)
            if accepted.is_changed:
                _save_image(driver, accepted.row)
            return accepted.row, accepted.is_work

        return self._database.together(accept)

    def image(self, docid: str, product_id: int) -> CatalogueImage | None:
        rows = self._database.rows(_READ_IMAGE, _of(docid, product_id))
        return CatalogueImage.model_validate_json(rows[0][0]) if rows else None

    def images(
        self,
        docids: Sequence[str],
        *,
        after: tuple[str, int] | None = None,
        limit: int | None = None,
        deleted: bool = False,
    ) -> list[CatalogueImage]:
        but = "" if deleted else ImageState.DELETED.value
        # A negative limit is none.
        left = -1 if limit is None else limit
        found: list[CatalogueImage] = []
        if after is not None and after[0] in docids:
            found = self._read(
                CatalogueImage, _READ_IMAGES_BEHIND, **_of(*after), but=but, most=left
            )
            left -= len(found) if limit is not None else 0
        later = [docid for docid in docids if after is None or docid > after[0]]
        if later and left:
            found += self._read(
                CatalogueImage, _READ_IMAGES, docids=_listed(later), but=but, most=left
            )
        return found

    def images_of(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], CatalogueImage]:
        found = self._read(CatalogueImage, _READ_IMAGES_OF, pairs=_listed(keys))
        return {(one.docid, one.product_id): one for one in found}

    def update_image(
        self,
        docid: str,
        product_id: int,
        generation: int,
        changes: Mapping[str, Any],
        *,
        only_in: ImageState | None = None,
    ) -> bool:
        changed = _image_set(changes)
        fence = docid, product_id, generation
        return self._database.together(
            lambda driver: _change_image(driver, fence, changed, only_in)
        )

    def delete_image(self, docid: str, product_id: int) -> bool:
        def delete(driver: sqlite3.Connection) -> bool:
            row = _image(driver, docid, product_id)
            if row is None or row.state is ImageState.DELETED:
                return False
            tombstone = {
                "generation": row.generation + 1,
                "state": ImageState.DELETED,
                "moved_at": time.time(),
            }
            _save_image(driver, row.model_copy(update=tombstone))
            _drop_findings(driver, docid, product_id)
            return True

        return self._database.together(delete)

    def drop_findings(self, docid: str, product_id: int) -> bool:
        def drop(driver: sqlite3.Connection) -> bool:
            row = _image(driver, docid, product_id)
            if row is not None and row.state is not ImageState.DELETED:
                return False
            _drop_findings(driver, docid, product_id)
            return True

        return self._database.together(drop)

    def every_image(self) -> Iterator[CatalogueImage]:
        for *_, body in self._database.walk(_EVERY_IMAGE, _BEFORE_ALL):
            yield CatalogueImage.model_validate_json(body)

    def add_images(self, images: Sequence[WholeImage]) -> None:
        def add(driver: sqlite3.Connection) -> None:
            for whole in images:
                if _image(driver, *whole.key) is not None:
                    continue
                _save_image(driver, whole.image)
                if whole.metadata is not None:
                    _save_metadata(driver, whole.metadata)
                if whole.relevance:
                    _add_relevance(driver, whole.relevance)

        self._database.together(add)

    def every_object_key(self) -> Iterator[str]:
        start = {"object_key": ""}
        named = (self._database.walk(each, start) for each in (_EVERY_ORIGINAL, _EVERY_ENHANCED))
        for key, _ in groupby(row.object_key for row in heapq.merge(*named)):
            yield key

    def images_with(self, object_key: str, limit: int | None = None) -> list[tuple[str, int]]:
        wanted = {"object_key": object_key, "most": -1 if limit is None else limit}
        with self._database.reading() as connection:
            rows = connection.execute(_IMAGES_WITH, wanted)
            return [(docid, product_id) for docid, product_id in rows]

    def hashes_in_use(self, sha256s: Sequence[str]) -> set[str]:
        with self._database.reading() as connection:
            found = connection.execute(_HASHES_IN_USE, {"sha256s": _listed(sha256s)})
            return set(found.scalars())

    def waiting_images(
        self, state: ImageState, before: float, limit: int = 500
    ) -> list[CatalogueImage]:
        return self._read(
            CatalogueImage, _READ_WAITING, in_state=state.value, before=before, most=limit
        )

    def longest_waiting(self) -> dict[tuple[Stage, Lane], float]:
        waiting = {}
        with self._database.reading() as connection:
            for stage, lane in product(Stage, Lane):
                place = {"in_lane": lane.value, "at_stage": stage.value}
                moved_at = connection.execute(_READ_LONGEST_WAITING, place).scalar()
                if moved_at is not None:
                    waiting[stage, lane] = moved_at
        return waiting

    def count_states(self, docids: Sequence[str] | None = None) -> dict[ImageState, int]:
        with self._database.reading() as connection:
            if docids is None:
                rows = connection.execute(_COUNT_STATES).all()
            else:
                rows = connection.execute(_COUNT_STATES_OF, {"docids": _listed(docids)}).all()
        counts = dict.fromkeys(ImageState, 0)
        counts.update((ImageState(state), count) for state, count in rows)
        return counts

    def finished_images(self, until: float, span: float, spans: int) -> list[int]:
        period = {"since": until - span * spans, "until": until, "span": span}
        counts = [0] * spans
        with self._database.reading() as connection:
            for number, count in connection.execute(_COUNT_FINISHED, period):
                # The last moment may be rounded up.
                counts[min(number, spans - 1)] += count
        return counts

    def last_stages(self, limit: int = 200) -> list[dict[str, StageRecord]]:
        with self._database.reading() as connection:
            found = connection.execute(_READ_LAST_STAGES, {"most": limit}).scalars().all()
        return [STAGE_RECORDS.validate_json(stages) for stages in found]

    # metadata

    def metadata(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], ImageMetadata]:
        found = self._read(ImageMetadata, _READ_METADATA, pairs=_listed(keys))
        return {(one.docid, one.product_id): one for one in found}

    def every_metadata(self) -> Iterator[tuple[str, int]]:
        rows = self._database.walk(_EVERY_METADATA, _BEFORE_ALL)
        yield from ((row.docid, row.product_id) for row in rows)

    def patch_metadata(self, docid: str, product_id: int, generation: int, patch: Patch) -> bool:
        fence = docid, product_id, generation
        changed = _metadata_set(patch)

        def change(driver: sqlite3.Connection) -> bool:
            if not _stands(driver, *fence):
                return False
            _patch_metadata(driver, fence, patch, changed)
            return True

        return self._database.together(change)

    # both at once

    def image_and_metadata(
        self, docid: str, product_id: int
    ) -> tuple[CatalogueImage | None, ImageMetadata | None]:
        ((image, known),) = self._database.rows(_READ_IMAGE_AND_METADATA, _of(docid, product_id))
        return (
            None if image is None else CatalogueImage.model_validate_json(image),
            None if known is None else ImageMetadata.model_validate_json(known),
        )

    def write_findings(
        self,
        docid: str,
        product_id: int,
        generation: int,
        patch: Patch,
        changes: Mapping[str, Any],
        facts: Sequence[tuple[str, PixelFact]] = (),
        relevance: Sequence[ImageRelevance] = (),
    ) -> bool:
        fence = docid, product_id, generation
        row = _image_set(changes)
        found = _metadata_set(patch)
        scored = _scored(relevance) if relevance else None

        def write(driver: sqlite3.Connection) -> bool:
            _save_pixel_facts(driver, facts)
            if not (_change_image(driver, fence, row) if changes else _stands(driver, *fence)):
                return False
            if scored:
                _save_relevance(driver, scored)
            if "alt_text" in patch:
                driver.execute(_SHOW_ALT_TEXT, {**_of(docid, product_id), "alt": patch["alt_text"]})
            if patch:
                _patch_metadata(driver, fence, patch, found)
            return True

        return self._database.together(write)

    def show_alt_text(self, docid: str, product_id: int, generation: int, text: str) -> bool:
        return self.write_findings(docid, product_id, generation, {"alt_text": text}, {})

    # what depends on the pixels alone

    def pixel_fact(self, sha256: str, kind: str, model: str) -> dict[str, Any] | None:
        key = {"sha256": sha256, "kind": kind, "model": model}
        rows = self._database.rows(_READ_PIXEL_FACT, key)
        return json.loads(rows[0][0]) if rows else None

    def save_pixel_facts(self, facts: Sequence[tuple[str, PixelFact]]) -> None:
        if facts:
            self._database.together(lambda driver: _save_pixel_facts(driver, facts))

    def pixel_facts(self, sha256: str) -> list[PixelFact]:
        rows = self._database.rows(_READ_PIXEL_FACTS, {"sha256": sha256})
        return [PixelFact(kind, model, json.loads(body)) for kind, model, body in rows]

    def drop_pixel_facts(self, sha256: str) -> int:
        with self._database.writing() as connection:
            return connection.execute(_DROP_PIXEL_FACTS, {"of_sha256": sha256}).rowcount

    def every_pixel_hash(self) -> Iterator[str]:
        rows = self._database.walk(_EVERY_PIXEL_HASH, {"sha256": ""})
        yield from (sha256 for (sha256,) in rows)

    # imgrel

    def save_relevance(self, rows: Sequence[ImageRelevance]) -> bool:
        scored = _scored(rows)

        def save(driver: sqlite3.Connection) -> bool:
            if not _stands(driver, *scored.fence):
                return False
            _save_relevance(driver, scored)
            return True

        return self._database.together(save)

    def patch_relevance(self, docid: str, product_id: int, generation: int, patch: Patch) -> bool:
        with self._database.writing() as connection:
            driver = driver_of(connection)
            if not _stands(driver, docid, product_id, generation):
                return False
            found = connection.execute(_READ_RELEVANCE_OF_IMAGE, _of(docid, product_id)).all()
            changed = [patched(_relevance_of(row), patch, RELEVANCE_IDENTITY) for row in found]
            if changed:
                driver.execute(_DROP_RELEVANCE, _of(docid, product_id))
                _add_relevance(driver, changed)
            return True

    def relevance(
        self, docids: Sequence[str], catids: Sequence[int], space: str = ""
    ) -> list[ImageRelevance]:
        asked = {"docids": _listed(docids), "catids": _listed(catids), "of_space": space}
        with self._database.reading() as connection:
            return [_relevance_of(row) for row in connection.execute(_READ_RELEVANCE_OF, asked)]

    def own_rows(self, keys: Sequence[tuple[str, int]], space: str = "") -> list[ImageRelevance]:
        asked = {"pairs": _listed(keys), "of_space": space}
        with self._database.reading() as connection:
            return [_relevance_of(row) for row in connection.execute(_READ_OWN_ROWS, asked)]

    def relevance_of(
        self, keys: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], list[ImageRelevance]]:
        found: dict[tuple[str, int], list[ImageRelevance]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(_READ_RELEVANCE_OF_IMAGES, {"pairs": _listed(keys)}):
                found.setdefault((row.docid, row.product_id), []).append(_relevance_of(row))
        return found

    def scored_images(
        self, keys: Sequence[tuple[str, int]], space: str = ""
    ) -> dict[tuple[str, int], int]:
        asked = {"pairs": _listed(keys), "of_space": space}
        with self._database.reading() as connection:
            rows = connection.execute(_READ_SCORED, asked)
            return {(docid, product_id): generation for docid, product_id, generation in rows}

    def drop_space(self, space: str) -> None:
        of_space = {"of_space": space}
        while True:
            with self._database.writing() as connection:
                docids = connection.execute(_SOME_OF_SPACE, of_space).scalars().all()
                if not docids:
                    return
                connection.execute(_DROP_SPACE_OF, {**of_space, "docids": _listed(docids)})

    def every_scored(self) -> Iterator[tuple[str, int]]:
        rows = self._database.walk(_EVERY_SCORED, _BEFORE_ALL)
        yield from ((row.docid, row.product_id) for row in rows)

    def page(self, wanted: Mapping[str, Iterable[int]], space: str = "") -> dict[str, PageImages]:
        page = {docid: PageImages() for docid in wanted}
        pairs = [(docid, catid) for docid in page for catid in {*wanted[docid]} - {ANY_CATEGORY}]
        asked = {"docids": _listed(page), "pairs": _listed(pairs), "space": space}
        images, scores = self._database.rows(_READ_PAGE, asked)
        docids = list(page)
        places, *columns, looks = map(from_json, images[:-1])
        columns += [list(map(bytes.fromhex, looks)), _texts(images)]
        for place, rows in _runs(places):
            page[docids[place]] = PageImages(*(column[rows] for column in columns))
        places, product_ids, values = map(from_json, scores[:3])
        parts = _texts(scores)
        for docid, catid in pairs:
            page[docid].scores[catid] = PageScores()
        for place, rows in _runs(places):
            docid, catid = pairs[place]
            found = page[docid].scores[catid]
            found.values.update(zip(product_ids[rows], values[rows], strict=True))
            found.parts.update(zip(product_ids[rows], parts[rows], strict=True))
        return page

    def decoded(self, encoded: Sequence[Any]) -> list[dict[str, Any]]:
        return from_json(f"[{','.join(encoded)}]")

    # deliveries

    def count_delivery(self, task_id: str) -> int:
        now = time.time()
        row = {"task_id": task_id, "count": 1, "cause": "", "counted_at": now}
        with self._database.writing() as connection:
            connection.execute(_FORGET_OLD_DELIVERIES, {"before": now - DELIVERIES_KEPT_SECONDS})
            return connection.execute(_COUNT_DELIVERY, row).scalar_one()

    def note_delivery(self, task_id: str, cause: str) -> None:
        row = {"task_id": task_id, "count": 0, "cause": cause, "counted_at": time.time()}
        with self._database.writing() as connection:
            connection.execute(_NOTE_DELIVERY, row)

    def delivery_cause(self, task_id: str) -> str:
        with self._database.reading() as connection:
            return connection.execute(_READ_CAUSE, {"task_id": task_id}).scalar() or ""

    def forget_deliveries(self, task_id: str) -> None:
        with self._database.writing() as connection:
            connection.execute(_FORGET_DELIVERIES, {"of_task": task_id})

    # dead_letters

    def park(self, letter: DeadLetter) -> DeadLetter:
        with self._database.writing() as connection:
            body = connection.execute(_READ_DEAD_LETTER, {"of_key": letter.key}).scalar()
            earlier = None if body is None else DeadLetter.model_validate_json(body)
            parked = counted_up(earlier, letter)
            row = {
                "key": parked.key,
                "queue": parked.queue,
                "docid": parked.docid,
                "last_at": parked.last_at,
                "body": parked.model_dump_json(),
            }
            connection.execute(_SAVE_DEAD_LETTER, row)
        return parked

    def dead_letters(self, limit: int = 100, **wanted: Unpack[WantedLetters]) -> list[DeadLetter]:
        newest = select(_dead_letters.c.body).order_by(_dead_letters.c.last_at.desc())
        return self._read(DeadLetter, newest.where(*_fitting(wanted)).limit(limit))

    def dead_letter(self, key: str) -> DeadLetter | None:
        return next(iter(self._read(DeadLetter, _READ_DEAD_LETTER, of_key=key)), None)

    def every_dead_letter(self) -> Iterator[DeadLetter]:
        for row in self._database.walk(_EVERY_DEAD_LETTER, {"after": ""}):
            yield DeadLetter.model_validate_json(row.body)

    def count_dead_letters(self, **wanted: Unpack[WantedLetters]) -> dict[tuple[str, str], int]:
        with self._database.reading() as connection:
            rows = connection.execute(_COUNT_DEAD_LETTERS.where(*_fitting(wanted))).all()
        return {(queue, exception): count for queue, exception, count in rows}

    def drop_dead_letter(self, key: str) -> bool:
        with self._database.writing() as connection:
            return connection.execute(_DROP_DEAD_LETTER, {"of_key": key}).rowcount > 0

    # small named values

    def value(self, name: str) -> Any | None:
        rows = self._database.rows(_READ_VALUE, {"name": name})
        return json.loads(rows[0][0]) if rows else None

    def save_value(self, name: str, value: Any) -> None:
        with self._database.writing() as connection:
            connection.execute(_SAVE_VALUE, {"name": name, "body": encoded(value)})

    def every_value(self) -> Iterator[tuple[str, Any]]:
        for row in self._database.walk(_EVERY_VALUE, {"after": ""}):
            yield row.name, json.loads(row.body)

    # leases

    def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        now = time.time()
        row = {"name": name, "holder": holder, "until": now + seconds}
        with self._database.writing() as connection:
            taken = connection.execute(_TAKE_LEASE, {**row, "now": now, "by": holder})
            return taken.rowcount > 0

    def give_lease_back(self, name: str, holder: str) -> None:
        with self._database.writing() as connection:
            connection.execute(_GIVE_LEASE_BACK, {"of_name": name, "by": holder})

    # life

    def version(self) -> str:
        return self._database.version()

    def check(self) -> None:
        self._database.check()

    def close(self) -> None:
        self._database.close()

    def _read(self, record: type[R], statement: Any, **parameters: Any) -> list[R]:
        with self._database.reading() as connection:
            bodies = connection.execute(statement, parameters).scalars().all()
        return _decoded(record, bodies)


def _image(driver: sqlite3.Connection, docid: str, product_id: int) -> CatalogueImage | None:
    found = driver.execute(_READ_IMAGE, _of(docid, product_id)).fetchone()
    return CatalogueImage.model_validate_json(found[0]) if found else None


def _change_image(
    driver: sqlite3.Connection,
    fence: tuple[str, int, int],
    changed: JsonSet,
    only_in: ImageState | None = None,
) -> bool:
    """Whether it was of this generation, in the state ``only_in`` and no tombstone."""
    row = {
        **dict(zip(IMAGE_IDENTITY, fence, strict=True)),
        **changed.parameters,
        "state": changed.patch.get("state"),
        "moved_at": changed.patch.get("moved_at"),
        "only_in": only_in,
    }
    return driver.execute(_CHANGE_IMAGE.format(body=changed.body), row).rowcount > 0


def _image_set(changes: Patch) -> JsonSet:
    return json_set(changes, CatalogueImage, IMAGE_IDENTITY)


def _metadata_set(patch: Patch) -> JsonSet | None:
    """None where only the record itself says whether the patch fits, and how."""
    try:
        return json_set(patch, ImageMetadata, IMAGE_IDENTITY) if patch else None
    except ValueError:
        return None


def _patch_metadata(
    driver: sqlite3.Connection, fence: tuple[str, int, int], patch: Patch, changed: JsonSet | None
) -> None:
    docid, product_id, generation = fence
    key = _of(docid, product_id)
    if changed:
        statement = _CHANGE_METADATA.format(body=changed.body, fits=changed.fits)
        if driver.execute(statement, {**key, **changed.parameters}).rowcount:
            return
    found = driver.execute(_READ_METADATA_OF_ONE, key).fetchone()
    known = (
        ImageMetadata.model_validate_json(found[0])
        if found
        else ImageMetadata(docid=docid, product_id=product_id, generation=generation)
    )
    _save_metadata(driver, patched(known, patch, IMAGE_IDENTITY))


def _save_image(driver: sqlite3.Connection, image: CatalogueImage) -> None:
    row = {
        "docid": image.docid,
        "product_id": image.product_id,
        "generation": image.generation,
        "state": image.state.value,
        "moved_at": image.moved_at,
        "body": image.model_dump_json(),
    }
    driver.execute(_SAVE_IMAGE, row)


def _save_metadata(driver: sqlite3.Connection, metadata: ImageMetadata) -> None:
    row = {
        "docid": metadata.docid,
        "product_id": metadata.product_id,
        "body": metadata.model_dump_json(),
    }
    driver.execute(_SAVE_METADATA, row)


def _save_pixel_facts(driver: sqlite3.Connection, facts: Sequence[tuple[str, PixelFact]]) -> None:
    for sha256, (kind, model, fact) in facts:
        row = {"sha256": sha256, "kind": kind, "model": model, "body": encoded(fact)}
        driver.execute(_SAVE_PIXEL_FACT, row)


def _drop_findings(driver: sqlite3.Connection, docid: str, product_id: int) -> None:
    driver.execute(_DROP_METADATA, _of(docid, product_id))
    driver.execute(_DROP_RELEVANCE, _of(docid, product_id))


class _Scored(NamedTuple):
    """Rows of one image in one space, and what drops those that were there, for the driver."""

    fence: tuple[str, int, int]
    before: dict[str, Any]
    rows: list[dict[str, Any]]


def _scored(rows: Sequence[ImageRelevance]) -> _Scored:
    docid, product_id, generation = of_one_image(rows)
    before = {**_of(docid, product_id), "of_space": rows[0].space}
    return _Scored((docid, product_id, generation), before, [_relevance_row(row) for row in rows])


def _save_relevance(driver: sqlite3.Connection, scored: _Scored) -> None:
    driver.execute(_DROP_RELEVANCE_IN_SPACE, scored.before)
    driver.executemany(_ADD_RELEVANCE, scored.rows)


def _add_relevance(driver: sqlite3.Connection, rows: Iterable[ImageRelevance]) -> None:
    driver.executemany(_ADD_RELEVANCE, [_relevance_row(row) for row in rows])


def _relevance_row(row: ImageRelevance) -> dict[str, Any]:
    is_own = row.catid == ANY_CATEGORY
    return {
        "space": row.space,
        "docid": row.docid,
        "catid": row.catid,
        "product_id": row.product_id,
        "generation": row.generation,
        "score": row.score,
        "parts": encoded(row.parts),
        "background": row.background,
        "quality": row.quality if is_own else None,
        "one_class": row.one_class if is_own else None,
        "findings": " ".join(row.card.invalid) if is_own else None,
        "looks": looks.encoded(row.card.perceptual_hash, row.card.signature) if is_own else None,
        "card": row.card.model_dump_json() if is_own else None,
    }


def _relevance_of(row: Any) -> ImageRelevance:
    """The record of a row of ``_READ_RELEVANCE``, whose last columns are the image's own."""
    *_, quality, one_class, card = row
    return ImageRelevance(
        space=row.space,
        docid=row.docid,
        catid=row.catid,
        product_id=row.product_id,
        generation=row.generation,
        score=row.score,
        parts=json.loads(row.parts),
        background=row.background,
        quality=quality,
        one_class=one_class,
        card=Card.model_validate_json(card),
    )


def _stands(driver: sqlite3.Connection, docid: str, product_id: int, generation: int) -> bool:
    """The fence: whether the row is of this generation and no tombstone."""
    row = driver.execute(_READ_FENCE, _of(docid, product_id)).fetchone()
    return row is not None and row[0] == generation and row[1] != ImageState.DELETED


def _fitting(wanted: WantedLetters) -> Iterator[ColumnElement[bool]]:
    letters = _dead_letters.c
    if (queue := wanted.get("queue")) is not None:
        yield letters.queue == queue
    if (docid := wanted.get("docid")) is not None:
        yield letters.docid == docid
    if (exception := wanted.get("exception")) is not None:
        yield _exception == exception
    if (after := wanted.get("after")) is not None:
        yield letters.last_at >= after
    if (before := wanted.get("before")) is not None:
        yield letters.last_at < before


def _of(docid: str, product_id: int) -> dict[str, Any]:
    return {"of_docid": docid, "of_product_id": product_id}


def _runs(places: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """Each place with the rows, one behind the other, that are of it."""
    start = 0
    for place, rows in groupby(places):
        stop = start + len(list(rows))
        yield place, slice(start, stop)
        start = stop


def _texts(row: Sequence[Any]) -> list[str]:
    # JSON holds no line break.
    return row[-1].split("\n") if row[-1] else []


def _listed(keys: Iterable[Any]) -> str:
    return json.dumps(list(keys))


def _decoded(record: type[R], bodies: Iterable[str]) -> list[R]:
    # Faster than one parse of them all, and than any way around the checks: 6 us for an imgrel row.
    return [record.model_validate_json(body) for body in bodies]
