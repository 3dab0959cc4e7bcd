"""``justlens keys``: who may ask the web applications."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.table import Table

from cli.output import out, print_json
from pipeline.api_keys import KEY_SECONDS, Scope, make_key
from pipeline.errors import JustLensError
from pipeline.settings import settings
from pipeline.stores import open_stores
from pipeline.stores.api_keys import ApiKeys


def make(name: str, scopes: Sequence[Scope], *, json_output: bool) -> None:
    """A new key, which is shown this once."""
    text, key = make_key(name, scopes)
    with _keys() as keys:
        keys.save(key)
    if json_output:
        print_json({**key.model_dump(mode="json", exclude={"digest"}), "key": text})
        return
    out.print(text, highlight=False, soft_wrap=True)
    out.print(
        f"That is the key of {name} ({', '.join(sorted(key.scopes))}). It is shown this once: only "
        f"its hash is kept. `justlens keys revoke {key.key_id}` ends it.",
        highlight=False,
        markup=False,
    )


def show_list(*, json_output: bool) -> None:
    """All keys, the revoked ones, too."""
    with _keys() as keys:
        found = keys.all()
    if json_output:
        print_json([key.model_dump(mode="json", exclude={"digest"}) for key in found])
        return
    table = Table(box=None)
    for column in ("id", "name", "scopes", "made", "revoked"):
        table.add_column(column, overflow="fold")
    for key in found:
        scopes = ", ".join(sorted(key.scopes))
        table.add_row(key.key_id, key.name, scopes, _day(key.created_at), _day(key.revoked_at))
    out.print(table if found else "There are no keys; `justlens keys make NAME` makes one.")


def revoke(key_id: str, *, json_output: bool) -> None:
    """End a key for good."""
    with _keys() as keys:
        if not keys.revoke(key_id):
            raise JustLensError(f"there is no key {key_id!r}; `justlens keys list` shows them")
    if json_output:
        print_json({"key_id": key_id, "revoked": True})
        return
    out.print(f"{key_id} opens nothing any more within {KEY_SECONDS} s.", highlight=False)


def _day(moment: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else ""


@contextmanager
def _keys() -> Iterator[ApiKeys]:
    stores = open_stores(settings())
    try:
        yield stores.keys
    finally:
        stores.close()
