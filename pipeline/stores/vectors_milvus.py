"""The vector store on Milvus: a collection for each model and kind of vector."""

import hashlib
import json
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import grpc
import numpy as np
from pymilvus import CollectionSchema, DataType, MilvusClient, MilvusException

from pipeline.errors import ConfigurationError, JustLensError, StoreUnavailable
from pipeline.stores.vectors import ImageVector, ImageVectorKind, VectorStore

PORT = 19530
CONNECT_SECONDS = 5
CALL_SECONDS = 10
# Milvus brings a collection into memory before it answers from it.
LOAD_SECONDS = 60

# Milvus gives at most 16,384 rows for a query or a search.
MOST_FOUND = 16_384
# 4,096 vectors of 1,024 numbers are a message of 16 MiB; a server answers with 100 MiB at most.
ROWS_READ = 4096
# What is sent at once stays below a server's 64 MiB, texts as long as a VARCHAR included.
AT_ONCE = 900
VARCHAR_BYTES = 65_535
DOCID_BYTES = 1024
# 128 bits of SHA-256.
KEY_DIGITS = 32

# https://github.com/milvus-io/milvus/blob/master/pkg/util/merr/errors.go
COLLECTION_NOT_FOUND = 100
COLLECTION_NOT_LOADED = 101
REFUSALS = (
    800,  # database not found
    802,  # invalid database name
    1100,  # invalid parameter
    1101,  # missing parameter
    1400,  # not authenticated
    1401,  # not permitted
)
# Milvus Lite has no code of its own for it.
NO_DATABASE = re.compile(r"\bdatabase\b[^\[]*\b(not found|does not exist)")

METRICS = ("COSINE", "IP")
CONSISTENCIES = ("Strong", "Bounded", "Session", "Eventually")
# The types that both a server and Milvus Lite build, with the defaults of what a type is built
# and searched with. Milvus Lite accepts others too, and fails when it comes to build them.
HNSW = ({"M": 16, "efConstruction": 200}, {"ef": 64})
IVF = ({"nlist": 1024}, {"nprobe": 32})
INDEXES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "HNSW": HNSW,
    "IVF_FLAT": IVF,
    "IVF_SQ8": IVF,
    "FLAT": ({}, {}),
    "AUTOINDEX": ({}, {}),
}

Fields = Mapping[str, Mapping[str, Any]]
Row = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")

# A property of every collection, and, for people, what it is described as.
MODEL = "justlens.model"
MADE_BY = "Vectors made by "

TEXT_FIELDS: Fields = {"text": {"datatype": DataType.VARCHAR, "max_length": VARCHAR_BYTES}}
IMAGE_FIELDS: Fields = {
    "business": {"datatype": DataType.VARCHAR, "max_length": KEY_DIGITS},
    "docid": {"datatype": DataType.VARCHAR, "max_length": DOCID_BYTES},
    "product_id": {"datatype": DataType.INT64},
}


@dataclass(frozen=True)
class Address:
    """What stands in the address of the store: a server, a database on it, and options."""

    name: str
    uri: str
    token: str = field(repr=False)
    database: str
    prefix: str
    consistency: str
    index: str
    metric: str
    built_with: Mapping[str, int]
    searched_with: Mapping[str, int]

    @classmethod
    def read(cls, url: str) -> "Address":
        """Read an address, see :class:`MilvusVectors`.

        Raises:
            ConfigurationError: it cannot work.
        """
        parts = urlsplit(url)
        place, database = _place(parts), unquote(parts.path.strip("/")) or "default"
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        index = _choice(options, "index", tuple(INDEXES))
        built_with, searched_with = INDEXES[index]
        address = cls(
            name=f"{parts.scheme}://{place}/{database}",
            uri=f"{'https' if parts.scheme == 'milvus+tls' else 'http'}://{place}",
            token=":".join(unquote(part) for part in (parts.username, parts.password) if part),
            database=database,
            prefix=_prefix(options),
            consistency=_choice(options, "consistency", CONSISTENCIES),
            index=index,
            metric=_choice(options, "metric", METRICS),
            built_with=_numbers(options, built_with),
            searched_with=_numbers(options, searched_with),
        )
        if options:
            known = ("index", "metric", "consistency", "prefix", *built_with, *searched_with)
            raise _wrong("option", next(iter(options)), f"with the index {index}: {_list(known)}")
        return address

    def connect(self) -> MilvusClient:
        """A connection of its own.

        Raises:
            MilvusException: the server cannot be reached, or lets nobody in with this token.
        """
        return MilvusClient(
            self.uri,
            token=self.token,
            db_name=self.database,
            timeout=CONNECT_SECONDS,
            dedicated=True,
        )


class MilvusVectors(VectorStore):
    """The vectors on a Milvus server, or on Milvus Lite's.

    A collection's vectors have one length and one index, so that each model has collections of
    its own: ``text_embeddings_…``, ``image_embeddings_picture_…`` and
    ``image_embeddings_description_…``, made when the first vector is saved. Their names end in a
    readable part and a hash of the model's name; their descriptions have it in full.

    A stage reads by key what a stage on another machine has just written: ``images`` reads with
    the consistency of the address, ``Strong`` unless it says otherwise. Texts are a cache, and a
    search may miss what another process saved a moment ago: these read with ``Session``, which
    waits for nothing but the process's own writes.

    A search gives at most 16,384 images. With ``IVF_SQ8`` its cosines are approximate.

    Parameters:
        url: ``milvus://[user:password@|token@]host[:port][/database][?options]``, with TLS
            ``milvus+tls://``. Options: ``index`` (HNSW, IVF_FLAT, IVF_SQ8, FLAT or AUTOINDEX)
            with its ``M``, ``efConstruction`` and ``ef``, or ``nlist`` and ``nprobe``;
            ``metric`` (COSINE, or IP, the same for vectors of unit length); ``consistency`` of
            reads of images (Strong, Bounded, Session or Eventually); ``prefix`` of the
            collections' names.

    Raises:
        ConfigurationError: the address cannot work. Methods raise it too, where the server does
            not know the user or the database, or refuses an option.
    """

    def __init__(self, url: str) -> None:
        self._address = Address.read(url)
        self._collections = _Collections(self._address)

    def save_texts(self, model: str, vectors: Mapping[str, np.ndarray]) -> None:
        rows = [
            {"key": _key(text), "text": _cut(text), "vector": _checked(vector)}
            for text, vector in vectors.items()
        ]
        self._save(_texts_of(model), model, TEXT_FIELDS, rows)

    def texts(self, model: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
        by_key = {_key(text): text for text in texts}
        rows: list[Row] = []
        for keys in _batches(list(by_key)):
            read = partial(_read_vectors, keys=keys, consistency="Session")
            rows += self._collections.use(_texts_of(model), read) or ()
        return {by_key[row["key"]]: _vector(row) for row in rows}

    def save_image(
        self, model: str, kind: ImageVectorKind, docid: str, product_id: int, vector: np.ndarray
    ) -> None:
        row = _image_row(docid, product_id, vector)
        self._save(_images_of(model, kind), model, IMAGE_FIELDS, [row])

    def images(
        self, model: str, kind: ImageVectorKind, docids: Sequence[str]
    ) -> dict[tuple[str, int], np.ndarray]:
        rows: list[Row] = []
        for some in _batches(list(dict.fromkeys(docids))):
            read = partial(self._read_images, docids=some)
            rows += self._collections.use(_images_of(model, kind), read) or ()
        return {(row["docid"], row["product_id"]): _vector(row) for row in rows}

    def images_of(
        self, model: str, kind: ImageVectorKind, keys: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], np.ndarray]:
        by_key = {_image_key(*key): key for key in keys}
        consistency = self._address.consistency
        rows: list[Row] = []
        for some in _batches(list(by_key)):
            read = partial(_read_vectors, keys=some, consistency=consistency)
            rows += self._collections.use(_images_of(model, kind), read) or ()
        return {by_key[row["key"]]: _vector(row) for row in rows}

    def search_images(
        self, model: str, kind: ImageVectorKind, query: np.ndarray, limit: int
    ) -> list[tuple[str, int, float]]:
        wanted = _checked(query)
        search = partial(
            self._search, wanted=wanted / np.linalg.norm(wanted), limit=min(limit, MOST_FOUND)
        )
        hits = self._collections.use(_images_of(model, kind), search, wanted.size) or ()
        best = [
            (hit["entity"]["docid"], hit["entity"]["product_id"], float(hit["distance"]))
            for hit in hits
        ]
        return sorted(best, key=lambda one: (-one[2], one[0], one[1]))

    def known_images(
        self, kind: ImageVectorKind, keys: Sequence[tuple[str, int]]
    ) -> set[tuple[str, int]]:
        by_key = {_image_key(*key): key for key in keys}
        found: set[tuple[str, int]] = set()
        for name in self._collections.names(f"image_embeddings_{kind}_"):
            for some in _batches(list(by_key)):
                rows = self._collections.use(name, partial(_read_keys, keys=some)) or ()
                found.update(by_key[row["key"]] for row in rows)
        return found

    def every_image(self) -> Iterator[tuple[str, int]]:
        for name in self._collections.names("image_embeddings_"):
            pages = self._collections.use(name, _walk_images)
            while rows := pages and self._collections.asked(pages.next):
                yield from ((row["docid"], row["product_id"]) for row in rows)

    def every_vector(self) -> Iterator[ImageVector]:
        for kind in get_args(ImageVectorKind):
            for name in self._collections.names(f"image_embeddings_{kind}_"):
                model = self._collections.use(name, _model_of) or ""
                pages = self._collections.use(name, _walk_vectors)
                while rows := pages and self._collections.asked(pages.next):
                    for row in rows:
                        yield ImageVector(
                            model, kind, row["docid"], row["product_id"], _vector(row)
                        )

    def add_vectors(self, vectors: Sequence[ImageVector]) -> None:
        rows: dict[tuple[str, ImageVectorKind], list[Row]] = {}
        for one in vectors:
            row = _image_row(one.docid, one.product_id, one.vector)
            rows.setdefault((one.model, one.kind), []).append(row)
        for (model, kind), of_both in rows.items():
            name = _images_of(model, kind)
            for some in _batches(of_both):
                keys = [row["key"] for row in some]
                known = self._collections.use(name, partial(_read_keys, keys=keys)) or ()
                there = {row["key"] for row in known}
                new = [row for row in some if row["key"] not in there]
                self._save(name, model, IMAGE_FIELDS, new)

    def delete_image(self, docid: str, product_id: int) -> None:
        drop = partial(_delete, key=_image_key(docid, product_id))
        for name in self._collections.names("image_embeddings_"):
            self._collections.use(name, drop)

    def drop_model(self, model: str) -> None:
        kinds = get_args(ImageVectorKind)
        for name in (_texts_of(model), *(_images_of(model, kind) for kind in kinds)):
            self._collections.drop(name)

    def prepare(self) -> None:
        """Index and load the collections that exist; those of a new model are made as it saves.

        Raises:
            ConfigurationError: a collection has another index than the address asks for.
        """
        for beginning in ("text_embeddings_", "image_embeddings_"):
            for name in self._collections.names(beginning):
                self._collections.use(name, self._compare_index)

    def version(self) -> str:
        return f"Milvus {self._collections.server_version()}"

    def check(self) -> None:
        self._collections.names("")

    def close(self) -> None:
        self._collections.close()

    def _save(self, name: str, model: str, fields: Fields, rows: Sequence[Row]) -> None:
        sizes = {row["vector"].size for row in rows}
        if len(sizes) > 1:
            raise ValueError(f"the vectors of one model have one length, not {sorted(sizes)}")

        for size in sizes:
            schema = _schema(model, fields, size)
            for some in _batches(rows):
                self._collections.use(name, partial(_upsert, rows=some), size, schema)

    def _read_images(self, client: MilvusClient, name: str, docids: Sequence[str]) -> list[Row]:
        asked: dict[str, Any] = {
            # Milvus Lite knows no templates in filters; a key is hexadecimal digits alone.
            "filter": f"business in {json.dumps([_key(docid) for docid in docids])}",
            "output_fields": ["docid", "product_id", "vector"],
            "strict_float32": True,
            "timeout": CALL_SECONDS,
        }
        consistency = self._address.consistency
        rows = client.query(name, limit=ROWS_READ, consistency_level=consistency, **asked)
        if len(rows) < ROWS_READ:
            return rows
        pages = client.query_iterator(name, batch_size=ROWS_READ, **asked)
        return [row for page in iter(pages.next, []) for row in page]

    def _search(
        self, client: MilvusClient, name: str, wanted: np.ndarray, limit: int
    ) -> list[dict[str, Any]]:
        parameters = dict(self._address.searched_with)
        if "ef" in parameters:  # Milvus refuses to look at fewer candidates than it is to give
            parameters["ef"] = max(parameters["ef"], limit)
        (hits,) = client.search(
            name,
            [wanted],
            limit=limit,
            anns_field="vector",
            output_fields=["docid", "product_id"],
            search_params={"params": parameters},
            consistency_level="Session",
            timeout=CALL_SECONDS,
        )
        return hits

    def _compare_index(self, client: MilvusClient, name: str) -> None:
        made = client.describe_index(name, "vector", timeout=CALL_SECONDS)
        wanted = (self._address.index, self._address.metric)
        if (made["index_type"], made["metric_type"]) != wanted:
            raise ConfigurationError(
                f"{self._address.name}: {name} has the index {made['index_type']} with "
                f"{made['metric_type']}, JUSTLENS_VECTORS_URL asks for {' with '.join(wanted)}; "
                "what works: to ask for what it has, or to release it and drop its index"
            )


class _Collections:
    """The collections of an installation, each indexed and loaded before its first use.

    A connection is made at the first use; a forked process makes its own, and neither uses nor
    closes its parent's.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._start_afresh()
        _all_collections.add(self)

    def use(
        self,
        name: str,
        call: Callable[[MilvusClient, str], Result],
        size: int | None = None,
        schema: CollectionSchema | None = None,
    ) -> Result | None:
        """What ``call`` returns; none where there is no such collection and no schema to make it.

        Parameters:
            name: without the installation's prefix.
            call: is given the client and the collection's full name.
            size: of the vectors that ``call`` has to do with.

        Raises:
            ValueError: the collection's vectors have another size.
        """
        with self._store_errors():
            try:
                return self._use(name, call, size, schema)
            except MilvusException as error:
                if error.code not in (COLLECTION_NOT_FOUND, COLLECTION_NOT_LOADED):
                    raise
            # Somebody has dropped or released it, or Milvus Lite was started again.
            self._sizes.pop(name, None)
            return self._use(name, call, size, schema)

    def drop(self, name: str) -> None:
        """Remove a collection, if it is there."""
        with self._store_errors():
            client = self._connected()
            client.drop_collection(self._address.prefix + name, timeout=CALL_SECONDS)
        self._sizes.pop(name, None)

    def asked(self, call: Callable[[], Result]) -> Result:
        """What ``call`` returns, with our errors instead of Milvus's."""
        with self._store_errors():
            return call()

    def names(self, beginning: str) -> list[str]:
        """The names of the collections that begin so, without the installation's prefix."""
        prefix = self._address.prefix
        with self._store_errors():
            names = self._connected().list_collections(timeout=CALL_SECONDS)
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix + beginning)]

    def server_version(self) -> str:
        """As the server tells it."""
        with self._store_errors():
            return str(self._connected().get_server_version(timeout=CALL_SECONDS))

    def close(self) -> None:
        """Close the connection; the next use makes another."""
        client = self._client
        self._start_afresh()
        if client is not None:
            client.close()

    def _start_afresh(self) -> None:
        self._client: MilvusClient | None = None
        self._connecting = threading.Lock()
        # The size of the vectors of each collection that was found loaded.
        self._sizes: dict[str, int] = {}

    def _connected(self) -> MilvusClient:
        client = self._client
        if client is not None:
            return client
        connecting = self._connecting
        if not connecting.acquire(timeout=CONNECT_SECONDS):
            raise StoreUnavailable(f"{self._address.name}: another thread is still connecting")
        try:
            client = self._client = self._client or self._address.connect()
        finally:
            connecting.release()
        return client

    def _use(
        self,
        name: str,
        call: Callable[[MilvusClient, str], Result],
        size: int | None,
        schema: CollectionSchema | None,
    ) -> Result | None:
        client, full_name = self._connected(), self._address.prefix + name
        stored = self._sizes.get(name)
        if stored is None:
            if not client.has_collection(full_name, timeout=CALL_SECONDS):
                if schema is None:
                    return None
                _make(client, full_name, schema)
            stored = self._sizes[name] = self._load(client, full_name)
        if size not in (None, stored):
            raise ValueError(f"the model's vectors have {stored} numbers, not {size}")
        return call(client, full_name)

    def _load(self, client: MilvusClient, name: str) -> int:
        """Make what a collection lacks of indexes and load it; the size of its vectors."""
        described = client.describe_collection(name, timeout=CALL_SECONDS)
        fields = {one["name"]: one["params"] for one in described["fields"]}
        made = client.list_indexes(name, timeout=CALL_SECONDS)
        if "vector" not in made:
            built_with = dict(self._address.built_with)
            _make_index(
                client,
                name,
                field_name="vector",
                index_type=self._address.index,
                metric_type=self._address.metric,
                # Under a name of their own they reach Milvus Lite as well.
                params={"params": built_with} if built_with else {},
            )
        if "business" in fields and "business" not in made:
            _make_index(client, name, field_name="business", index_type="INVERTED")
        client.load_collection(name, timeout=LOAD_SECONDS)
        return int(fields["vector"]["dim"])

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
            raise _meaning(self._address.name, error) from error


_all_collections: "weakref.WeakSet[_Collections]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for collections in list(_all_collections):
        collections._start_afresh()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _upsert(client: MilvusClient, name: str, rows: Sequence[Row]) -> None:
    client.upsert(name, list(rows), timeout=CALL_SECONDS)


def _delete(client: MilvusClient, name: str, key: str) -> None:
    client.delete(name, ids=[key], timeout=CALL_SECONDS)


def _read_vectors(
    client: MilvusClient, name: str, keys: Sequence[str], consistency: str
) -> list[Row]:
    return client.query(
        name,
        ids=list(keys),
        output_fields=["key", "vector"],
        strict_float32=True,
        consistency_level=consistency,
        timeout=CALL_SECONDS,
    )


def _read_keys(client: MilvusClient, name: str, keys: Sequence[str]) -> list[Row]:
    return client.query(
        name,
        ids=list(keys),
        output_fields=["key"],
        consistency_level="Strong",
        timeout=CALL_SECONDS,
    )


def _walk_images(client: MilvusClient, name: str) -> Any:
    return _walk(client, name, ["docid", "product_id"])


def _walk_vectors(client: MilvusClient, name: str) -> Any:
    return _walk(client, name, ["docid", "product_id", "vector"], strict_float32=True)


def _walk(client: MilvusClient, name: str, fields: list[str], **options: Any) -> Any:
    return client.query_iterator(
        name,
        batch_size=ROWS_READ,
        filter="",
        output_fields=fields,
        timeout=CALL_SECONDS,
        **options,
    )


def _model_of(client: MilvusClient, name: str) -> str:
    described = client.describe_collection(name, timeout=CALL_SECONDS)
    # Earlier releases said it in the description alone, which Milvus Lite does not keep.
    in_words = str(described["description"]).removeprefix(MADE_BY)
    model = described.get("properties", {}).get(MODEL) or in_words
    if not model:
        raise ConfigurationError(
            f"the collection {name} does not say which model its vectors are of; what works: "
            "drop it, and let `justlens doctor --consistency --mend` make them again"
        )
    return model


def _schema(model: str, fields: Fields, size: int) -> CollectionSchema:
    schema = MilvusClient.create_schema(description=f"{MADE_BY}{model}")
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=2 * KEY_DIGITS)
    for name, kind in fields.items():
        schema.add_field(name, **kind)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
    return schema


def _make(client: MilvusClient, name: str, schema: CollectionSchema) -> None:
    try:
        # Strong is for the iterators, which read with the consistency of the collection.
        client.create_collection(
            name,
            schema=schema,
            properties={MODEL: schema.description.removeprefix(MADE_BY)},
            consistency_level="Strong",
            timeout=CALL_SECONDS,
        )
    except MilvusException:
        # Another process has made it meanwhile.
        if not client.has_collection(name, timeout=CALL_SECONDS):
            raise


def _make_index(client: MilvusClient, name: str, field_name: str, **kind: Any) -> None:
    wanted = client.prepare_index_params()
    wanted.add_index(field_name, index_name=field_name, **kind)
    try:
        # The loading waits for the index.
        client.create_index(name, wanted, sync=False, timeout=CALL_SECONDS)
    except MilvusException:
        if field_name not in client.list_indexes(name, timeout=CALL_SECONDS):
            raise


def _meaning(server: str, error: Exception) -> JustLensError:
    cause = error.__cause__ if isinstance(error.__cause__, grpc.RpcError) else error
    status = cause.code() if isinstance(cause, grpc.Call) else None
    told = error.message if isinstance(error, MilvusException) else ""
    if isinstance(cause, grpc.Call):
        told = f"{told} ({cause.details()})" if told else str(cause.details())
    if (
        status in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
        or getattr(error, "code", None) in REFUSALS
        or NO_DATABASE.search(told)
    ):
        return ConfigurationError(
            f"{server}: {told}; what works in JUSTLENS_VECTORS_URL: a user or token that may use "
            "the database, a database that exists, and parameters within the server's limits"
        )
    return StoreUnavailable(f"{server}: {told}")


def _place(parts: SplitResult) -> str:
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        raise _wrong("port", parts.netloc.rpartition(":")[2], "a number up to 65535") from None
    if not host:
        raise _wrong("host", "", "milvus://host:19530/database")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _choice(options: dict[str, str], name: str, choices: Sequence[str]) -> str:
    given = options.pop(name, choices[0])
    for choice in choices:
        if choice.lower() == given.lower():
            return choice
    raise _wrong(name, given, _list(choices))


def _numbers(options: dict[str, str], defaults: Mapping[str, int]) -> dict[str, int]:
    numbers = {name: options.pop(name, str(default)) for name, default in defaults.items()}
    for name, given in numbers.items():
        if not re.fullmatch(r"[1-9][0-9]{0,4}", given):
            raise _wrong(name, given, "a whole number from 1 to 99999")
    return {name: int(given) for name, given in numbers.items()}


def _prefix(options: dict[str, str]) -> str:
    prefix = options.pop("prefix", "")
    if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]{0,63})?", prefix):
        raise _wrong("prefix", prefix, "at most 64 letters, digits and _, no digit first")
    return prefix


def _wrong(what: str, given: str, working: str) -> ConfigurationError:
    return ConfigurationError(
        f"JUSTLENS_VECTORS_URL has the {what} {given!r}; what works: {working}"
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _texts_of(model: str) -> str:
    return f"text_embeddings_{_safe(model)}"


def _images_of(model: str, kind: ImageVectorKind) -> str:
    return f"image_embeddings_{kind}_{_safe(model)}"


def _safe(model: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', model)[:48]}_{_key(model)[:12]}"


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def _image_key(docid: str, product_id: int) -> str:
    return f"{_key(docid)}_{product_id}"


def _image_row(docid: str, product_id: int, vector: np.ndarray) -> Row:
    return {
        "key": _image_key(docid, product_id),
        "business": _key(docid),
        "docid": docid,
        "product_id": product_id,
        "vector": _checked(vector),
    }


def _cut(text: str) -> str:
    return text.encode()[:VARCHAR_BYTES].decode(errors="ignore")


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def _checked(vector: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        array = np.asarray(vector, np.float32)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"a vector has one dimension, not the shape {array.shape}")
    if not np.isfinite(array).all() or not array.any():
        raise ValueError("a vector of zeros or with a number that is not finite has no direction")
    return array


def _vector(row: Row) -> np.ndarray:
    # A copy, since all vectors of an answer are parts of one array.
    return np.array(row["vector"], np.float32)
