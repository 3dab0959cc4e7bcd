"""The vector store on SQLite: rows of float32, searched exactly with NumPy."""

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.sqlite import Insert, insert

from pipeline.stores.database import Database
from pipeline.stores.sqlite import words
from pipeline.stores.vectors import CARRIED as STORED
from pipeline.stores.vectors import ImageVector, ImageVectorKind, VectorStore

# 4,096 vectors of 384 numbers are 6 MiB: a search holds no more than two such chunks.
SEARCHED_AT_ONCE = 4096
# Removed in one transaction: other writers are let by in between.
DROPPED_AT_ONCE = 1000

TABLES = MetaData()

_texts = Table(
    "text_embeddings",
    TABLES,
    Column("model", String, primary_key=True),
    Column("text", String, primary_key=True),
    Column("vector", LargeBinary, nullable=False),
)

_images = Table(
    "image_embeddings",
    TABLES,
    Column("model", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("docid", String, primary_key=True),
    Column("product_id", BigInteger, primary_key=True),
    Column("vector", LargeBinary, nullable=False),
    Index("image_embeddings_of_image", "docid", "product_id"),
)


_PAIRS = func.json_each(bindparam("pairs")).table_valued("value")
# Not as a join: SQLite would read all vectors of the model, and look for each among the pairs.
_IS_OF_PAIR = tuple_(_images.c.docid, _images.c.product_id).in_(
    select(*(func.json_extract(_PAIRS.c.value, text(f"'$[{place}]'")) for place in (0, 1)))
)


def _upsert(table: Table) -> Insert:
    """Insert a vector, or replace the one under the same primary key."""
    new = insert(table)
    key = list(table.primary_key)
    return new.on_conflict_do_update(index_elements=key, set_={"vector": new.excluded.vector})


# Made once: building a statement costs more than running it.
_SAVE_TEXT = _upsert(_texts)
_SAVE_IMAGE = words(_upsert(_images))
_LISTED = func.json_each(bindparam("texts")).table_valued("value")
_READ_TEXTS = words(
    select(_texts.c.text, _texts.c.vector).where(
        _texts.c.model == bindparam("of_model"), _texts.c.text.in_(select(_LISTED.c.value))
    )
)
_READ_IMAGES_OF = words(
    select(_images.c.docid, _images.c.product_id, _images.c.vector).where(
        _images.c.model == bindparam("of_model"),
        _images.c.kind == bindparam("of_kind"),
        _IS_OF_PAIR,
    )
)
_READ_KNOWN = select(_images.c.docid, _images.c.product_id).where(
    _images.c.kind == bindparam("of_kind"), _IS_OF_PAIR
)


class SqliteVectors(VectorStore):
    """The embedded vector store, in one file.

    Parameters:
        url: ``sqlite:///`` and the path of the file.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, TABLES, "JUSTLENS_VECTORS_URL")

    def save_texts(self, model: str, vectors: Mapping[str, np.ndarray]) -> None:
        rows = [
            {"model": model, "text": text, "vector": _stored(vector)}
            for text, vector in vectors.items()
        ]
        if not rows:
            return
        with self._database.writing() as connection:
            connection.execute(_SAVE_TEXT, rows)

    def texts(self, model: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
        wanted = {"of_model": model, "texts": json.dumps(list(texts))}
        rows = self._database.rows(_READ_TEXTS, wanted)
        return {text: _vector(stored) for text, stored in rows}

    def save_image(
        self, model: str, kind: ImageVectorKind, docid: str, product_id: int, vector: np.ndarray
    ) -> None:
        row = ImageVector(model, kind, docid, product_id, vector)._asdict()
        row["vector"] = _stored(vector)
        self._database.together(lambda driver: driver.execute(_SAVE_IMAGE, row))

    def images(
        self, model: str, kind: ImageVectorKind, docids: Sequence[str]
    ) -> dict[tuple[str, int], np.ndarray]:
        listed = func.json_each(bindparam("docids")).table_valued("value")
        query = select(_images.c.docid, _images.c.product_id, _images.c.vector).where(
            _images.c.model == model,
            _images.c.kind == kind,
            _images.c.docid.in_(select(listed.c.value)),
        )
        with self._database.reading() as connection:
            rows = connection.execute(query, {"docids": json.dumps(list(docids))}).all()
        return {(docid, product_id): _vector(stored) for docid, product_id, stored in rows}

    def images_of(
        self, model: str, kind: ImageVectorKind, keys: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], np.ndarray]:
        wanted = {"of_model": model, "of_kind": kind, "pairs": json.dumps(list(keys))}
        rows = self._database.rows(_READ_IMAGES_OF, wanted)
        return {(docid, product_id): _vector(stored) for docid, product_id, stored in rows}

    def search_images(
        self, model: str, kind: ImageVectorKind, query: np.ndarray, limit: int
    ) -> list[tuple[str, int, float]]:
        wanted = np.frombuffer(_stored(query), STORED)
        wanted = wanted / np.linalg.norm(wanted)
        rows = select(_images.c.docid, _images.c.product_id, _images.c.vector).where(
            _images.c.model == model, _images.c.kind == kind
        )
        best: list[tuple[str, int, float]] = []
        with self._database.reading() as connection:
            found = connection.execution_options(yield_per=SEARCHED_AT_ONCE).execute(rows)
            for chunk in found.partitions():
                cosines = _cosines([row.vector for row in chunk], wanted)
                best += [
                    (chunk[index].docid, chunk[index].product_id, float(cosines[index]))
                    for index in np.argsort(-cosines, kind="stable")[:limit]
                ]
                best = sorted(best, key=lambda one: (-one[2], one[0], one[1]))[:limit]
        return best

    def known_images(
        self, kind: ImageVectorKind, keys: Sequence[tuple[str, int]]
    ) -> set[tuple[str, int]]:
        wanted = {"of_kind": kind, "pairs": json.dumps(list(keys))}
        with self._database.reading() as connection:
            rows = connection.execute(_READ_KNOWN, wanted)
            return {(docid, product_id) for docid, product_id in rows}

    def every_image(self) -> Iterator[tuple[str, int]]:
        key = tuple_(_images.c.docid, _images.c.product_id)
        after = tuple_(bindparam("docid"), bindparam("product_id"))
        query = (
            select(_images.c.docid, _images.c.product_id)
            .distinct()
            .where(key > after)
            .order_by(_images.c.docid, _images.c.product_id)
        )
        rows = self._database.walk(query, {"docid": "", "product_id": 0})
        yield from ((row.docid, row.product_id) for row in rows)

    def every_vector(self) -> Iterator[ImageVector]:
        key = list(_images.primary_key)
        after = tuple_(*(bindparam(column.name, type_=column.type) for column in key))
        query = select(*key, _images.c.vector).where(tuple_(*key) > after).order_by(*key)
        start = {"model": "", "kind": "", "docid": "", "product_id": 0}
        for row in self._database.walk(query, start):
            yield ImageVector(row.model, row.kind, row.docid, row.product_id, _vector(row.vector))

    def add_vectors(self, vectors: Sequence[ImageVector]) -> None:
        rows = [{**one._asdict(), "vector": _stored(one.vector)} for one in vectors]
        if rows:
            with self._database.writing() as connection:
                connection.execute(insert(_images).on_conflict_do_nothing(), rows)

    def delete_image(self, docid: str, product_id: int) -> None:
        one = (_images.c.docid == docid) & (_images.c.product_id == product_id)
        with self._database.writing() as connection:
            connection.execute(delete(_images).where(one))

    def drop_model(self, model: str) -> None:
        for table in (_texts, _images):
            key = tuple_(*table.primary_key)
            some = select(*table.primary_key).where(table.c.model == model).limit(DROPPED_AT_ONCE)
            while True:
                with self._database.writing() as connection:
                    if not connection.execute(delete(table).where(key.in_(some))).rowcount:
                        break

    def version(self) -> str:
        return self._database.version()

    def check(self) -> None:
        self._database.check()

    def close(self) -> None:
        self._database.close()


def _stored(vector: np.ndarray) -> bytes:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        array = np.asarray(vector, STORED)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"a vector has one dimension, not the shape {array.shape}")
    if not np.isfinite(array).all() or not array.any():
        raise ValueError("a vector of zeros or with a number that is not finite has no direction")
    return array.tobytes()


def _vector(stored: bytes) -> np.ndarray:
    # A copy, since an array on top of the bytes would be read-only.
    return np.frombuffer(stored, STORED).astype(np.float32)


def _cosines(stored: Sequence[bytes], wanted: np.ndarray) -> np.ndarray:
    """Cosines (N,) of stored vectors with one (D,) of unit length.

    Raises:
        ValueError: a vector has another length.
    """
    if any(len(vector) != wanted.nbytes for vector in stored):
        raise ValueError(f"the model's vectors do not have {wanted.size} numbers")
    matrix = np.frombuffer(b"".join(stored), STORED).reshape(len(stored), wanted.size)
    return matrix @ wanted / np.linalg.norm(matrix, axis=1)
