"""The collections of the document store on MongoDB, as mongoengine documents.

The fields are those that are searched by, or that are the store's own; the others are those of the
records, which are checked there. Indexes are made by ``MongoServer.prepare`` and never in passing.
"""

from typing import Any, ClassVar

from mongoengine import (
    BooleanField,
    DateTimeField,
    DynamicDocument,
    FloatField,
    IntField,
    ListField,
    StringField,
)

from pipeline.records import ImageState

# A message comes back within minutes; a count that nobody asked for in so long is of no use.
DELIVERIES_KEPT_SECONDS = 30 * 86400

RELEVANCE_KEY = ("space", "docid", "catid", "product_id")
PAGE_INDEX = "page_of_space"
# Unique, so that it would let in one space only.
INDEX_WITHOUT_SPACE = "page"


class Stored(DynamicDocument):
    """Base of all: abstract, since a connection binds subclasses of its own."""

    meta: ClassVar[dict[str, Any]] = {"abstract": True, "auto_create_index": False}


class StoredBusiness(Stored):
    """A ``Business`` under its docid."""

    key = StringField(primary_key=True)
    docid = StringField(required=True)
    folded_name = StringField(required=True)
    meta: ClassVar[dict[str, Any]] = {"abstract": True, "collection": "businesses"}


class StoredImage(Stored):
    """A ``CatalogueImage`` under docid/product_id, with its rows of ``imgrel``.

    ``unsettled`` is the version that may not have reached ``imgrel`` and ``metadata`` yet.
    """

    key = StringField(primary_key=True)
    docid = StringField(required=True)
    product_id = IntField(required=True)
    generation = IntField(required=True)
    state = StringField(required=True)
    moved_at = FloatField(required=True)
    version = IntField(required=True)
    unsettled = IntField()
    relevance = ListField()
    meta: ClassVar[dict[str, Any]] = {
        "abstract": True,
        "collection": "catalogue_details",
        "indexes": [
            ("docid", "product_id"),
            ("docid", "state"),
            ("state", "moved_at"),
            {
                "fields": ["lane", "stage", "moved_at"],
                "partialFilterExpression": {"state": ImageState.QUEUED.value},
            },
            "original_key",
            "sha256",
            {"fields": ["unsettled"], "sparse": True},
        ],
    }


class StoredMetadata(Stored):
    """An ``ImageMetadata`` under docid/product_id; ``dropped``: nothing is known of it yet."""

    key = StringField(primary_key=True)
    docid = StringField(required=True)
    product_id = IntField(required=True)
    generation = IntField(required=True)
    dropped = BooleanField(required=True)
    meta: ClassVar[dict[str, Any]] = {
        "abstract": True,
        "collection": "metadata",
        "indexes": [{"fields": ["enhancement.key"], "sparse": True}],
    }


class StoredRelevance(Stored):
    """An ``ImageRelevance`` of a version of its image; ``dropped``: emptied."""

    space = StringField(required=True)
    docid = StringField(required=True)
    catid = IntField(required=True)
    product_id = IntField(required=True)
    version = IntField(required=True)
    dropped = BooleanField(required=True)
    meta: ClassVar[dict[str, Any]] = {
        "abstract": True,
        "collection": "imgrel",
        "indexes": [{"fields": RELEVANCE_KEY, "unique": True, "name": PAGE_INDEX}],
    }


class StoredPixelFact(Stored):
    """A fact as JSON text, under sha256/kind/model; ``object``: the one that it names."""

    key = StringField(primary_key=True)
    object = StringField()
    body = StringField(required=True)
    meta: ClassVar[dict[str, Any]] = {
        "abstract": True,
        "collection": "pixel_facts",
        "indexes": [{"fields": ["object"], "sparse": True}],
    }


class StoredDeliveries(Stored):
    """The count and the cause, under the id of the task."""

    key = StringField(primary_key=True)
    count = IntField(required=True)
    cause = StringField()
    counted_at = DateTimeField(required=True)
    meta: ClassVar[dict[str, Any]] = {
        "abstract": True,
        "collection": "deliveries",
        "indexes": [{"fields": ["counted_at"], "expireAfterSeconds": DELIVERIES_KEPT_SECONDS}],
    }


class StoredDeadLetter(Stored):
    """A ``DeadLetter`` as JSON text, beside what letters are listed by.

    A foreign message may hold what BSON cannot: integers of any length, names with a NUL.
    """

    key = StringField(primary_key=True)
    queue = StringField(required=True)
    exception = StringField(required=True)
    docid = StringField(required=True)
    last_at = FloatField(required=True)
    body = StringField(required=True)
    meta: ClassVar[dict[str, Any]] = {
        "abstract": True,
        "collection": "dead_letters",
        "indexes": [
            "-last_at",
            ("queue", "-last_at"),
            ("docid", "-last_at"),
            ("queue", "exception", "-last_at"),
        ],
    }


class StoredValue(Stored):
    """A named value as JSON text."""

    key = StringField(primary_key=True)
    body = StringField(required=True)
    meta: ClassVar[dict[str, Any]] = {"abstract": True, "collection": "values"}


class StoredLease(Stored):
    """Who holds a name, and until when (Unix time)."""

    key = StringField(primary_key=True)
    holder = StringField(required=True)
    until = FloatField(required=True)
    meta: ClassVar[dict[str, Any]] = {"abstract": True, "collection": "leases"}


KINDS = (
    StoredBusiness,
    StoredImage,
    StoredMetadata,
    StoredRelevance,
    StoredPixelFact,
    StoredDeliveries,
    StoredDeadLetter,
    StoredValue,
    StoredLease,
)
