"""The relational store: the categories of the directory and the alt texts.

One implementation on SQLAlchemy serves SQLite and, by its address, MySQL and MariaDB.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    MetaData,
    String,
    Table,
    Text,
    case,
    delete,
    select,
)
from sqlalchemy.dialects import mysql, sqlite

from pipeline.records import AltTag, Category
from pipeline.stores.database import Database

MANUAL = "manual"
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
    # The last one: see save_alt_text.
    Column("source", String(32), nullable=False),
)

_versions = Table(
    "versions",
    TABLES,
    Column("name", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
_VOCABULARY = "vocabulary"


class Directory:
    """Categories, their vocabulary, and alt texts. All methods may raise ``StoreUnavailable``.

    Parameters:
        url: SQLAlchemy's form of address: ``sqlite:///...`` or ``mysql+pymysql://...``, with
            PyMySQL's options (``?ssl_ca=/ca.pem``).

    Raises:
        ConfigurationError: the address does not have that form.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, TABLES)

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
        found: dict[str, list[Category]] = {}
        with self._database.reading() as connection:
            for portion in _portions(docids):
                found.update(_read_categories(connection, portion))
        return found

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
        query = select(_versions.c.number).where(_versions.c.name == _VOCABULARY)
        with self._database.reading() as connection:
            return str(connection.execute(query).scalar() or 0)

    # alt texts

    def save_alt_text(self, alt_text: AltTag) -> bool:
        """Insert or replace; False, and no change, where a person wrote what a run would replace.

        ``source`` says who wrote it: ``manual`` for a person.
        """
        return self._database.write(_save_alt_text, alt_text)

    def alt_texts(self, docids: Sequence[str]) -> dict[tuple[str, int], AltTag]:
        """All alt texts of the businesses, by (docid, product_id)."""
        found: dict[tuple[str, int], AltTag] = {}
        with self._database.reading() as connection:
            for portion in _portions(docids):
                query = select(_alttags).where(_alttags.c.docid.in_(portion))
                for row in connection.execute(query).mappings():
                    found[row["docid"], row["product_id"]] = AltTag(**row)
        return found

    def delete_alt_text(self, docid: str, product_id: int) -> None:
        """Remove it, whoever wrote it, if there is one."""
        one = (_alttags.c.docid == docid) & (_alttags.c.product_id == product_id)
        self._database.write(lambda connection: connection.execute(delete(_alttags).where(one)))

    # life

    def prepare(self) -> None:
        """Bring the tables of a server up to date; safe to repeat, and to run beside others.

        Raises:
            ConfigurationError: the server refuses us, or lacks the database.
        """
        if not self._database.is_embedded:
            # Alembic takes long to import, and only this needs it.
            from pipeline.stores import migrations

            with self._database.preparing() as connection:
                migrations.upgrade(connection)

    def version(self) -> str:
        """What serves it, and in which version; for people."""
        return self._database.version()

    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers.

        Raises:
            ConfigurationError: the server refuses us, or ``prepare`` has never run there.
        """
        self.vocabulary_version()

    def close(self) -> None:
        """Give connections back."""
        self._database.close()


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


def _save_alt_text(connection: Connection, alt_text: AltTag) -> bool:
    is_manual = alt_text.source == MANUAL
    # MySQL has no condition on an upsert as a whole, and sets one column after the other, so that
    # the condition has to hold for each of them and its own column comes last.
    keeps = None if is_manual else _alttags.c.source == MANUAL
    _upsert(connection, _alttags, [alt_text.model_dump()], keeps)
    key = (_alttags.c.docid == alt_text.docid) & (_alttags.c.product_id == alt_text.product_id)
    return is_manual or connection.execute(select(_alttags.c.source).where(key)).scalar() != MANUAL


def _upsert(
    connection: Connection,
    table: Table,
    rows: list[dict[str, Any]],
    keeps: ColumnElement[bool] | None = None,
) -> None:
    """Insert rows, or replace those under the same primary key unless the old one ``keeps``."""

    def replaced(new: Any) -> dict[str, Any]:
        columns = [column for column in table.c if not column.primary_key]
        if keeps is None:
            return {column.name: new[column.name] for column in columns}
        return {column.name: case((keeps, column), else_=new[column.name]) for column in columns}

    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(table)
        keys = list(table.primary_key)
        lite = lite.on_conflict_do_update(index_elements=keys, set_=replaced(lite.excluded))
        connection.execute(lite, rows)
    else:
        server = mysql.insert(table)
        # A list of pairs keeps the order of the columns; a dictionary does not.
        server = server.on_duplicate_key_update(list(replaced(server.inserted).items()))
        connection.execute(server, rows)


def _lock_vocabulary(connection: Connection) -> None:
    """Let one transaction at a time change names, also where several may write."""
    query = select(_versions.c.number).where(_versions.c.name == _VOCABULARY).with_for_update()
    if connection.execute(query).scalar() is None:
        # Another one that found no row either may have made it by now, and raised its number.
        first = {"name": _VOCABULARY, "number": 0}
        _upsert(connection, _versions, [first], keeps=_versions.c.name == _VOCABULARY)


def _raise_version(connection: Connection) -> None:
    connection.execute(
        _versions.update()
        .where(_versions.c.name == _VOCABULARY)
        .values(number=_versions.c.number + 1)
    )


def _read_categories(connection: Connection, docids: Sequence[str]) -> dict[str, list[Category]]:
    query = (
        select(_categories)
        .where(_categories.c.docid.in_(docids))
        .order_by(_categories.c.docid, _categories.c.is_hot.desc(), _categories.c.catid)
    )
    found: dict[str, list[Category]] = {docid: [] for docid in docids}
    for docid, catid, name, is_hot in connection.execute(query):
        found[docid].append(Category(catid=catid, name=name, is_hot=is_hot))
    return found


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


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), DOCIDS_AT_ONCE):
        yield keys[start : start + DOCIDS_AT_ONCE]
