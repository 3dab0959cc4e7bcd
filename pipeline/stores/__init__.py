"""The stores, opened by their addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.settings import Settings
from pipeline.stores.timing import timed

if TYPE_CHECKING:
    from pipeline.stores.api_keys import ApiKeys
    from pipeline.stores.documents import DocumentStore
    from pipeline.stores.events import Events
    from pipeline.stores.objects import ObjectStore
    from pipeline.stores.queries import Queries
    from pipeline.stores.relational import Directory
    from pipeline.stores.shadow import ShadowRecords
    from pipeline.stores.vectors import VectorStore

# Scheme of an address to the class that serves it. A class is imported when its scheme is asked
# for, so that an installation without a server's client library works.
DOCUMENTS = {
    "sqlite": "pipeline.stores.documents_sqlite:SqliteDocuments",
    **dict.fromkeys(("mongodb", "mongodb+srv"), "pipeline.stores.documents_mongo:MongoDocuments"),
}
RELATIONAL = dict.fromkeys(
    ("sqlite", "mysql+pymysql", "mariadb+pymysql"), "pipeline.stores.relational:Directory"
)
OBJECTS = {
    "file": "pipeline.stores.objects_folder:FolderObjects",
    **dict.fromkeys(("s3", "s3+http"), "pipeline.stores.objects_s3:S3Objects"),
}
VECTORS = {
    "sqlite": "pipeline.stores.vectors_sqlite:SqliteVectors",
    "milvus": "pipeline.stores.vectors_milvus:MilvusVectors",
    "milvus+tls": "pipeline.stores.vectors_milvus:MilvusVectors",
}
EVENTS = dict.fromkeys(
    ("sqlite", "mysql+pymysql", "mariadb+pymysql"), "pipeline.stores.events:Events"
)
SHADOW = dict.fromkeys(EVENTS, "pipeline.stores.shadow:ShadowRecords")
QUERIES = dict.fromkeys(EVENTS, "pipeline.stores.queries:Queries")
KEYS = dict.fromkeys(RELATIONAL, "pipeline.stores.api_keys:ApiKeys")


@dataclass(frozen=True)
class Stores:
    """The stores of one installation. They connect at first use and may be shared by threads."""

    documents: "DocumentStore"
    directory: "Directory"
    objects: "ObjectStore"
    vectors: "VectorStore"
    events: "Events"
    queries: "Queries"
    shadow: "ShadowRecords"
    keys: "ApiKeys"

    def check(self) -> dict[str, str]:
        """The name of each store with what is wrong with it; empty where it answers."""
        return {field.name: _trouble(getattr(self, field.name)) for field in fields(self)}

    def prepare(self) -> None:
        """Make what each store needs on its server: tables, indexes, a bucket, collections."""
        for field in fields(self):
            getattr(self, field.name).prepare()

    def close(self) -> None:
        """Give all connections back."""
        self.documents.close()
        self.directory.close()
        self.vectors.close()
        self.events.close()
        self.queries.close()
        self.shadow.close()
        self.keys.close()


def open_stores(settings: Settings) -> Stores:
    """The stores at the addresses in the settings, their methods timed.

    Raises:
        ConfigurationError: no class serves the scheme of an address.
    """
    documents = _class("documents_url", settings, DOCUMENTS)(settings.documents_url)
    directory = _class("relational_url", settings, RELATIONAL)(settings.relational_url)
    objects = _class("objects_url", settings, OBJECTS)(
        settings.objects_url, settings.public_objects_url
    )
    vectors = _class("vectors_url", settings, VECTORS)(settings.vectors_url)
    events = _class("events_url", settings, EVENTS)(settings.events_url)
    queries = _class("events_url", settings, QUERIES)(settings.events_url)
    shadow = _class("events_url", settings, SHADOW)(settings.events_url)
    keys = _class("relational_url", settings, KEYS)(settings.relational_url)
    return Stores(
        documents=timed(documents, "documents"),
        directory=timed(directory, "directory"),
        objects=timed(objects, "objects"),
        vectors=timed(vectors, "vectors"),
        events=timed(events, "events"),
        queries=timed(queries, "queries"),
        shadow=timed(shadow, "shadow"),
        keys=timed(keys, "keys"),
    )


def _class(setting: str, settings: Settings, served: Mapping[str, str]) -> Any:
    scheme = getattr(settings, setting).partition("://")[0]
    if scheme not in served:
        # The address itself may hold a password.
        raise ConfigurationError(
            f"JUSTLENS_{setting.upper()} begins with {scheme!r}; what works: "
            + ", ".join(f"{known}://" for known in served)
        )
    module, _, name = served[scheme].partition(":")
    return getattr(import_module(module), name)


def _trouble(store: Any) -> str:
    try:
        store.check()
    except (ConfigurationError, StoreUnavailable) as error:
        return str(error)
    return ""
