"""What is kept of the keys of the web applications, beside the tables of the directory."""

import time

from sqlalchemy import Column, Double, MetaData, String, Table, insert, select, update

from pipeline.api_keys import ApiKey, Scope
from pipeline.stores.database import SqlStore

NAME_LENGTH = 191

KEY_TABLES = MetaData()

# On a server it is made by the migrations of the relational store.
_keys = Table(
    "api_keys",
    KEY_TABLES,
    Column("key_id", String(16), primary_key=True),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double, nullable=True),
)


class ApiKeys(SqlStore):
    """Keeps keys. All methods may raise ``StoreUnavailable``."""

    def __init__(self, url: str) -> None:
        super().__init__(url, KEY_TABLES)

    def save(self, key: ApiKey) -> None:
        """Keep a new one."""
        row = {**key.model_dump(), "scopes": " ".join(sorted(key.scopes))}
        with self._database.writing() as connection:
            connection.execute(insert(_keys), row)

    def find(self, key_id: str) -> ApiKey | None:
        """The one with that id, revoked or not."""
        with self._database.reading() as connection:
            row = connection.execute(select(_keys).where(_keys.c.key_id == key_id)).first()
        return _key(row._asdict()) if row else None

    def all(self) -> list[ApiKey]:
        """All of them, in the order in which they were made."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_keys).order_by(_keys.c.created_at, _keys.c.key_id))
            return [_key(row._asdict()) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """End one for good; whether there is one with that id."""
        held = _keys.c.revoked_at.is_(None)
        with self._database.writing() as connection:
            connection.execute(
                update(_keys).where(_keys.c.key_id == key_id, held).values(revoked_at=time.time())
            )
            found = connection.execute(select(_keys.c.key_id).where(_keys.c.key_id == key_id))
            return found.first() is not None


def _key(row: dict[str, object]) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in str(row["scopes"]).split())
    return ApiKey.model_validate({**row, "scopes": scopes})
