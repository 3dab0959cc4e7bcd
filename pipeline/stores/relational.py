"""The relational store: the categories of the directory and the alt texts.

One implementation on SQLAlchemy serves SQLite and, by its address, MySQL and MariaDB.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import dropwhile, product
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    Insert,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import mysql, sqlite

from pipeline.records import AltSource, AltTag, Category, ReviewState
from pipeline.stores.database import SqlStore
from pipeline.stores.portable import Row

K = TypeVar("K")

# An indexed utf8mb4 string may take 767 bytes in the older row formats of MySQL, 4 a character.
NAME_LENGTH = 191
# SQLite and MySQL take tens of thousands of parameters; short statements let other writers by.
DOCIDS_AT_ONCE = 500

TABLES = MetaData()

# On a server these are made by the migrations, which say what SQLite has no words for.
_categories = Table(
    "categories",
    TABLES,
    Column("docid", String(64), primary_key=True),
    Column("catid", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("is_hot", Boolean, nullable=False),
    Index("categories_by_name", "name"),
)

_vocabulary = Table(
    "vocabulary",
    TABLES,
    Column("name", String(NAME_LENGTH), primary_key=True),
)

_alttags = Table(
    "alttags",
    TABLES,
    Column("docid", String(64), primary_key=True),
    Column("product_id", BigInteger, primary_key=True, autoincrement=False),
    Column("alttag", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("review_state", String(32), nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("source", String(32), nullable=False),
    Column("generation", BigInteger, nullable=False, server_default=text("0")),
    Index("alttags_to_review", "review_state", "source", "docid", "product_id"),
)

_ALTTAG_KEY = tuple_(_alttags.c.docid, _alttags.c.product_id)

_versions = Table(
    "versions",
    TABLES,
    Column("name", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
_VOCABULARY = "vocabulary"

# Statements of every image are made once: building one costs more than running it.
_in_order = select(_categories).order_by(
    _categories.c.docid, _categories.c.is_hot.desc(), _categories.c.catid
)
_READ_CATEGORIES = _in_order.where(_categories.c.docid.in_(bindparam("docids", expanding=True)))
# On SQLite.
_READ_CATEGORIES_LISTED = _in_order.where(
    _categories.c.docid.in_(
        select(func.json_each(bindparam("docids")).table_valued("value").c.value)
    )
)
_READ_CATEGORIES_OF_ONE = _in_order.where(_categories.c.docid == bindparam("of_docid"))
_READ_VERSION = select(_versions.c.number).where(_versions.c.name == bindparam("of_name"))
_READ_LISTING = (
    select(_versions.c.number, _categories.c.catid, _categories.c.name, _categories.c.is_hot)
    .join_from(_versions, _categories, _categories.c.docid == bindparam("of_docid"), isouter=True)
    .where(_versions.c.name == bindparam("of_name"))
    .order_by(_categories.c.is_hot.desc(), _categories.c.catid)
)
_READ_ALT_TEXT = select(_alttags).where(
    _alttags.c.docid == bindparam("of_docid"), _alttags.c.product_id == bindparam("of_product_id")
)
_earlier = _alttags.alias("earlier")
# Unless there is one.
_NEW_ALT_TEXT = _alttags.insert().from_select(
    _alttags.c.keys(),
    select(*(bindparam(column.name) for column in _alttags.c)).where(
        ~exists().where(
            _earlier.c.docid == bindparam("docid"), _earlier.c.product_id == bindparam("product_id")
        )
    ),
)


@dataclass(frozen=True)
class AltTexts:
    """Which alt texts are meant; nothing said: all.

    Parameters:
        docid: of their business.
        state: of their review.
        source: who wrote them.
    """

    docid: str = ""
    state: ReviewState | None = None
    source: AltSource | None = None


class AltPlace(NamedTuple):
    """Where an alt text stands in the list of all."""

    state: ReviewState
    source: AltSource
    docid: str
    product_id: int


class Directory(SqlStore):
    """Categories, their vocabulary, and alt texts. All methods may raise ``StoreUnavailable``."""

    def __init__(self, url: str) -> None:
        super().__init__(url, TABLES)
        # What is left tells the processes of one installation that its names have changed.
        self.parts = ("categories", "vocabulary", "alttags")

    # categories

    def save_categories(self, docid: str, categories: Sequence[Category]) -> None:
        """Replace the list of one business; see ``save_many_categories``."""
        self.save_many_categories({docid: categories})

    def save_many_categories(self, lists: Mapping[str, Sequence[Category]]) -> None:
        """Replace the lists of businesses, each atomically; an empty list removes them all.

        Raises:
            ValueError: a name is empty or longer than ``NAME_LENGTH``, or a list names a category
                twice; nothing has been changed then.
        """
        for docid, categories in lists.items():
            _check_names(category.name for category in categories)
            if len({category.catid for category in categories}) != len(categories):
                raise ValueError(f"a category is listed twice for {docid}")
        for docids in _portions(sorted(lists)):
            self._database.write(_save_lists, {docid: lists[docid] for docid in docids})

    def categories(self, docids: Sequence[str]) -> dict[str, list[Category]]:
        """The categories of each business, hot ones first, then by catid; empty where unknown."""
        if len(docids) == 1:
            rows = self._database.read(_READ_CATEGORIES_OF_ONE, {"of_docid": docids[0]})
            return {docids[0]: [_category(*row) for row in rows]}
        if self._database.is_embedded:
            listed = json.dumps(list(docids))
            return _by_docid(
                docids, self._database.read(_READ_CATEGORIES_LISTED, {"docids": listed})
            )
        found: dict[str, list[Category]] = {}
        with self._database.reading() as connection:
            for portion in _portions(docids):
                found.update(_read_categories(connection, portion))
        return found

    def listing(self, docid: str) -> tuple[list[Category], str]:
        """The categories of a business, in order, and the vocabulary's version; one short read."""
        asked = {"of_name": _VOCABULARY, "of_docid": docid}
        rows = self._database.read(_READ_LISTING, asked)
        # Without a number nothing was ever listed.
        listed = [_category(docid, *row[1:]) for row in rows if row[1] is not None]
        return listed, str(rows[0][0] if rows else 0)

    # vocabulary

    def add_vocabulary(self, names: Iterable[str]) -> None:
        """Make names known that no business needs to be listed under.

        Raises:
            ValueError: a name is empty or longer than ``NAME_LENGTH``; nothing is added then.
        """
        wanted = sorted(set(names))
        _check_names(wanted)
        for portion in _portions(wanted):
            self._database.write(_add_names, portion)

    def vocabulary(self) -> list[str]:
        """All names known: of categories and of the vocabulary, each once, sorted."""
        names = select(_vocabulary.c.name).union(select(_categories.c.name))
        with self._database.reading() as connection:
            return sorted(connection.execute(names).scalars())

    def vocabulary_version(self) -> str:
        """Another text whenever the vocabulary may have changed; one short read."""
        rows = self._database.read(_READ_VERSION, {"of_name": _VOCABULARY})
        return str(rows[0][0] if rows else 0)

    # alt texts

    def save_alt_text(self, alt_text: AltTag) -> AltTag:
        """Insert or replace, by these rules; returns the row as it stands then.

        - What a person wrote is replaced by a person only. A run for a newer photo opens it for
          review again, since nobody has said that it fits that photo.
        - What a person approved stands until there is a newer photo.
        - What is about an older photo replaces nothing that a run made for a newer one; written by
          a person, it is open for review.
        """
        # That of a new photo, which has none to look at, takes one round trip.
        if self._database.add(_NEW_ALT_TEXT, alt_text.model_dump(mode="json")):
            return alt_text
        return self._database.write(_save_alt_text, alt_text)

    def alt_text(self, docid: str, product_id: int) -> AltTag | None:
        """That of one image."""
        rows = self._database.read(_READ_ALT_TEXT, _of(docid, product_id))
        return _alt_tag(rows[0]) if rows else None

    def alt_texts_of(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], AltTag]:
        """Those of (docid, product_id) pairs; unknown ones are left out."""
        found: dict[tuple[str, int], AltTag] = {}
        with self._database.reading() as connection:
            for portion in _portions(keys):
                query = select(_alttags).where(_ALTTAG_KEY.in_(portion))
                for row in connection.execute(query).mappings():
                    found[row["docid"], row["product_id"]] = AltTag(**row)
        return found

    def alt_texts(
        self, wanted: AltTexts, after: AltPlace | None = None, limit: int = 100
    ) -> list[AltTag]:
        """Those that fit: open ones first, among them those of people, then by (docid, product_id).

        At most ``limit`` behind ``after``. Each of the few reads takes a part of an index from its
        start, however many rows there are.
        """
        found: list[AltTag] = []
        with self._database.reading() as connection:
            for part in _parts(wanted, after):
                query = (
                    select(_alttags)
                    .where(*part)
                    .order_by(_alttags.c.docid, _alttags.c.product_id)
                    .limit(limit - len(found))
                )
                found.extend(AltTag(**row) for row in connection.execute(query).mappings())
                if len(found) == limit:
                    break
        return found

    def count_alt_texts(self, wanted: AltTexts, most: int) -> int:
        """How many fit, counted no further than ``most``."""
        count = 0
        with self._database.reading() as connection:
            for part in _parts(wanted):
                some = select(_alttags.c.docid).where(*part).limit(most - count)
                count += connection.execute(
                    select(func.count()).select_from(some.subquery())
                ).scalar_one()
        return count

    def approve_alt_texts(self, alt_texts: Sequence[AltTag]) -> int:
        """Mark as approved those that still say what is given here; how many did."""
        return self._database.write(_approve, alt_texts) if alt_texts else 0

    def every_alt_text(self) -> Iterator[AltTag]:
        """All of them, read in pages."""
        docid: ColumnElement[str] = bindparam("docid")
        product_id: ColumnElement[int] = bindparam("product_id")
        columns = [column for column in _alttags.c if column.name not in ("docid", "product_id")]
        query = (
            select(_alttags.c.docid, _alttags.c.product_id, *columns)
            # In this form MySQL begins at the key, too.
            .where(
                _alttags.c.docid >= docid,
                (_alttags.c.docid > docid) | (_alttags.c.product_id > product_id),
            )
            .order_by(_alttags.c.docid, _alttags.c.product_id)
        )
        for row in self._database.walk(query, {"docid": "", "product_id": 0}):
            yield AltTag(**row._mapping)

    def delete_alt_text(self, docid: str, product_id: int) -> bool:
        """Remove it, whoever wrote it; False where there is none."""
        one = (_alttags.c.docid == docid) & (_alttags.c.product_id == product_id)
        return self._database.write(
            lambda connection: connection.execute(delete(_alttags).where(one)).rowcount > 0
        )

    # to another directory

    def add_rows(self, part: str, rows: Sequence[Row]) -> None:
        super().add_rows(part, rows)
        if part != "alttags":
            self._database.write(_lock_and_raise_version)


def _save_lists(connection: Connection, lists: Mapping[str, Sequence[Category]]) -> None:
    _lock_vocabulary(connection)
    known = _read_categories(connection, list(lists))
    changed = [docid for docid in lists if _differ(known[docid], lists[docid])]
    _replace_categories(connection, {docid: lists[docid] for docid in changed})
    if any(_names(known[docid]) != _names(lists[docid]) for docid in changed):
        _raise_version(connection)


def _add_names(connection: Connection, names: Sequence[str]) -> None:
    _lock_vocabulary(connection)
    query = select(_vocabulary.c.name).where(_vocabulary.c.name.in_(names))
    known = set(connection.execute(query).scalars())
    new = [{"name": name} for name in names if name not in known]
    if new:
        connection.execute(_vocabulary.insert(), new)
        _raise_version(connection)


def _save_alt_text(connection: Connection, alt_text: AltTag) -> AltTag:
    new = alt_text.model_dump(mode="json")
    _insert_or_lock(connection, _alttags, new)
    earlier = _alt_text(connection, alt_text.docid, alt_text.product_id)
    assert earlier is not None
    stands = _after(earlier, alt_text)
    if stands != earlier:
        one = (_alttags.c.docid == alt_text.docid) & (_alttags.c.product_id == alt_text.product_id)
        connection.execute(_alttags.update().where(one).values(stands.model_dump(mode="json")))
    return stands


def _alt_text(connection: Connection, docid: str, product_id: int) -> AltTag | None:
    row = connection.execute(_READ_ALT_TEXT, _of(docid, product_id)).first()
    return None if row is None else _alt_tag(row)


def _alt_tag(row: Sequence[Any]) -> AltTag:
    return AltTag(**dict(zip(_alttags.c.keys(), row, strict=True)))


def _of(docid: str, product_id: int) -> dict[str, Any]:
    return {"of_docid": docid, "of_product_id": product_id}


def _after(earlier: AltTag, new: AltTag) -> AltTag:
    """What stands when ``new`` comes to the place of ``earlier``; see ``save_alt_text``."""
    is_overtaken = new.generation < earlier.generation
    if new.source is AltSource.MANUAL:
        open_again = {"review_state": ReviewState.OPEN, "generation": earlier.generation}
        return new.model_copy(update=open_again) if is_overtaken else new
    if earlier.source is AltSource.MANUAL:
        about = earlier.generation or new.generation
        if about >= new.generation:
            return earlier.model_copy(update={"generation": about})
        return earlier.model_copy(
            update={
                "review_state": ReviewState.OPEN,
                "generation": new.generation,
                "updated_at": new.updated_at,
            }
        )
    is_approved = earlier.review_state is ReviewState.APPROVED
    stands = is_approved and earlier.generation == new.generation
    return earlier if stands or is_overtaken else new


def _approve(connection: Connection, alt_texts: Sequence[AltTag]) -> int:
    approved = (
        _alttags.update()
        .where(
            _alttags.c.docid == bindparam("of_docid"),
            _alttags.c.product_id == bindparam("of_product_id"),
            _alttags.c.alttag == bindparam("that_says"),
        )
        .values(review_state=ReviewState.APPROVED.value, updated_at=time.time())
    )
    rows = sorted(alt_texts, key=lambda one: (one.docid, one.product_id))
    return connection.execute(
        approved,
        [
            {"of_docid": one.docid, "of_product_id": one.product_id, "that_says": one.alttag}
            for one in rows
        ],
    ).rowcount


def _parts(wanted: AltTexts, after: AltPlace | None = None) -> Iterator[list[ColumnElement[bool]]]:
    """Conditions that are each a part of the index, in the order of the list."""
    states = [wanted.state] if wanted.state else list(ReviewState)
    sources = [wanted.source] if wanted.source else list(AltSource)
    places = list(product(states, sources))
    if after is not None:
        places = list(dropwhile(lambda place: place != after[:2], places))
    for state, source in places:
        of_both = [_alttags.c.review_state == state.value, _alttags.c.source == source.value]
        if wanted.docid:
            of_both.append(_alttags.c.docid == wanted.docid)
        if after is None or (state, source) != after[:2]:
            yield of_both
            continue
        yield [
            *of_both,
            _alttags.c.docid == after.docid,
            _alttags.c.product_id > after.product_id,
        ]
        if not wanted.docid:
            yield [*of_both, _alttags.c.docid > after.docid]


def _insert_or_lock(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert a row unless there is one under its primary key: no other transaction changes that
    one until this one ends."""
    connection.execute(_insertion(table, connection.dialect.name), row)


@cache
def _insertion(table: Table, dialect: str) -> Insert:
    if dialect == "sqlite":
        # Where there is one writer at a time anyway.
        return sqlite.insert(table).on_conflict_do_nothing()
    key, *_ = table.primary_key
    # On a server only an update, though it changes nothing, locks the row for writing at once.
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


def _lock_vocabulary(connection: Connection) -> None:
    """Let one transaction at a time change names, also where several may write."""
    query = select(_versions.c.number).where(_versions.c.name == _VOCABULARY).with_for_update()
    if connection.execute(query).scalar() is None:
        # Another one that found no row either may have made it by now, and raised its number.
        _insert_or_lock(connection, _versions, {"name": _VOCABULARY, "number": 0})


def _raise_version(connection: Connection) -> None:
    connection.execute(
        _versions.update()
        .where(_versions.c.name == _VOCABULARY)
        .values(number=_versions.c.number + 1)
    )


def _lock_and_raise_version(connection: Connection) -> None:
    _lock_vocabulary(connection)
    _raise_version(connection)


def _read_categories(connection: Connection, docids: Sequence[str]) -> dict[str, list[Category]]:
    rows = connection.execute(_READ_CATEGORIES, {"docids": list(docids)}).all()
    return _by_docid(docids, rows)


def _by_docid(docids: Sequence[str], rows: Iterable[Any]) -> dict[str, list[Category]]:
    found: dict[str, list[Category]] = {docid: [] for docid in docids}
    for docid, *category in rows:
        found[docid].append(_category(docid, *category))
    return found


def _category(_docid: str, catid: int, name: str, is_hot: bool) -> Category:
    return Category(catid=catid, name=name, is_hot=is_hot)


def _replace_categories(connection: Connection, lists: Mapping[str, Sequence[Category]]) -> None:
    if lists:
        connection.execute(delete(_categories).where(_categories.c.docid.in_(lists)))
    rows = [
        {"docid": docid, **category.model_dump()}
        for docid, categories in lists.items()
        for category in categories
    ]
    if rows:
        connection.execute(_categories.insert(), rows)


def _differ(some: Sequence[Category], others: Sequence[Category]) -> bool:
    by_catid = [sorted(categories, key=lambda one: one.catid) for categories in (some, others)]
    return by_catid[0] != by_catid[1]


def _names(categories: Iterable[Category]) -> set[str]:
    return {category.name for category in categories}


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not 1 <= len(name) <= NAME_LENGTH:
            raise ValueError(f"a name has 1 to {NAME_LENGTH} characters, not {len(name)}: {name!r}")


def _portions(keys: Sequence[K]) -> Iterator[Sequence[K]]:
    for start in range(0, len(keys), DOCIDS_AT_ONCE):
        yield keys[start : start + DOCIDS_AT_ONCE]
