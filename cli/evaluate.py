"""``justlens evaluate``: labelled photos through the real graph, and the served order measured."""

import csv
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.ingest import read_vocabulary
from cli.intake import read_json, take_in
from cli.output import out, print_json
from cli.processes import System, data_folder, free_port
from pipeline.backfill import Photo
from pipeline.errors import JustLensError
from pipeline.records import Business, Category
from pipeline.settings import Settings
from pipeline.stores import open_stores

DEPTH = 5
MOST_IMAGES = 100


@dataclass(frozen=True)
class Pair:
    """A business and one of its categories, with the photos that belong to it."""

    docid: str
    category: str
    relevant: frozenset[int]
    photos: int


def hit_at_1(order: Sequence[int], relevant: frozenset[int]) -> float:
    """1 when the first one served is relevant."""
    return float(bool(order) and order[0] in relevant)


def ndcg(order: Sequence[int], relevant: frozenset[int], depth: int = DEPTH) -> float:
    """Normalised discounted cumulative gain at ``depth`` (Järvelin and Kekäläinen 2002)."""
    gain = sum(
        1 / math.log2(rank + 2) for rank, item in enumerate(order[:depth]) if item in relevant
    )
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(depth, len(relevant))))
    return gain / ideal


def evaluate(folder: Path, *, rename: Path | None, json_output: bool) -> None:
    """Print hit@1 and NDCG@5 of the served dynamic order, beside a random order's hit@1.

    With ``rename`` the categories of businesses have other names, which say whether the order hangs
    on the words that the directory happens to use.
    """
    listing = read_json(folder / "businesses.json")
    if not isinstance(listing, list):
        raise JustLensError(f"{folder / 'businesses.json'}: not a list of businesses")
    renames = read_renames(rename) if rename else {}
    businesses, photos, pairs = read_listing(folder, listing, renames)
    with _system() as (system, chosen):
        stores = open_stores(chosen)
        names = folder / "categories.txt"
        if names.exists():
            stores.directory.add_vocabulary(read_vocabulary(names))
        outcomes = take_in(stores, chosen, businesses, photos)
        stores.close()
        with system.client() as client:
            orders = _ask(client, pairs)
    parked = [outcome for outcome in outcomes if outcome.state != "done"]
    figures = measure(pairs, orders)
    if json_output:
        print_json(figures)
        return
    out.print(
        f"{len(photos) - len(parked)} of {len(photos)} photos went through. "
        f"Over {figures['n']} pairs of business and category:"
    )
    out.print(f"  hit@1  {figures['hit_at_1']:.3f}  (random {figures['random_hit_at_1']:.3f})")
    out.print(f"  NDCG@5 {figures['ndcg_at_5']:.3f}")


def measure(pairs: Sequence[Pair], orders: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Means over all pairs; ``random_hit_at_1`` is the expectation of a random order."""
    count = len(pairs)
    if not count:
        raise JustLensError("no business has a photo that belongs to one of its categories")
    both = list(zip(pairs, orders, strict=True))
    return {
        "hit_at_1": round(sum(hit_at_1(order, pair.relevant) for pair, order in both) / count, 4),
        "ndcg_at_5": round(sum(ndcg(order, pair.relevant) for pair, order in both) / count, 4),
        "random_hit_at_1": round(sum(len(p.relevant) / p.photos for p in pairs) / count, 4),
        "n": count,
    }


def read_renames(path: Path) -> dict[str, str]:
    """Other names by category, from a table with the columns ``category`` and ``renamed``."""
    try:
        with path.open(newline="") as file:
            return {row["category"]: row["renamed"] for row in csv.DictReader(file, delimiter="\t")}
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise JustLensError(f"{path}: {error!r}") from error


def read_listing(
    folder: Path, listing: list[dict[str, Any]], renames: Mapping[str, str]
) -> tuple[list[tuple[Business, list[Category]]], list[Photo], list[Pair]]:
    """Businesses with their categories under other names, their photos, and what belongs where."""
    businesses, photos, pairs = [], [], []
    try:
        for entry in listing:
            docid = entry["docid"]
            labelled = {int(catid): name for catid, name in entry["categories"].items()}
            categories = [
                Category(
                    catid=catid,
                    name=renames.get(name, name),
                    is_hot=catid == entry.get("hot_category"),
                )
                for catid, name in labelled.items()
            ]
            businesses.append((Business(docid=docid, name=entry["name"]), categories))
            for image in entry["images"]:
                photos.append(Photo(docid, image["product_id"], str(folder / image["file"])))
            for category in categories:
                relevant = frozenset(
                    image["product_id"]
                    for image in entry["images"]
                    if image["category"] == labelled[category.catid]
                )
                if relevant:
                    pairs.append(Pair(docid, category.name, relevant, len(entry["images"])))
    except (KeyError, TypeError, ValueError) as error:
        raise JustLensError(f"{folder / 'businesses.json'}: {error!r}") from error
    return businesses, photos, pairs


@contextmanager
def _system() -> Iterator[tuple[System, Settings]]:
    """A system of our own: in a temporary data folder, unless one is named."""
    with ExitStack() as stack:
        named = os.environ.get("JUSTLENS_DATA_DIR")
        folder = named or stack.enter_context(tempfile.TemporaryDirectory(prefix="justlens-"))
        chosen = stack.enter_context(data_folder(Path(folder)))
        system = System(chosen, port=free_port(chosen.api_host))
        yield stack.enter_context(system.running()), chosen


def _ask(client: httpx.Client, pairs: Sequence[Pair]) -> list[list[int]]:
    """The dynamic order that the relevancy API serves for each pair."""
    orders = []
    for pair in pairs:
        answer = client.get(
            f"/v1/relevance/{pair.docid}",
            params={"category": pair.category, "limit": MOST_IMAGES},
        )
        if answer.status_code != 200:
            raise JustLensError(f"the relevancy API answered {answer.text}")
        orders.append([picture["product_id"] for picture in answer.json()["dynamic"]])
    return orders
