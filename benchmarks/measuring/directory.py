"""A seeded directory of businesses on embedded stores, as large as a benchmark wants it."""

import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from api.wiring import Services
from pipeline.graph import Sender
from pipeline.looks import signature
from pipeline.records import (
    ANY_CATEGORY,
    Business,
    Card,
    CatalogueImage,
    Category,
    ImageRelevance,
)
from pipeline.settings import Settings

BUSINESSES = 25
PHOTOS = 40
CATEGORIES = 5
SCORED = 0.8

WANTED = "Coffee Shops"
UNLISTED = "Yoga Classes"
NAMES = """
Bakeries;Banks;Barbers;Bicycle Dealers;Book Shops;Car Repair;Chemists;Cinema Halls;Coffee Shops
Computer Repair;Dance Classes;Dentists;Dry Cleaners;Electricians;Fast Food;Florists;Gift Shops
Grocery Stores;Gyms;Hair Salons;Hospitals;Hotels;Ice Cream Parlours;Lawyers;Motorcycle Dealers
Museums;Opticians;Pet Shops;Photographers;Pizza Outlets;Plumbers;Pubs;Restaurants;Schools
Shoe Dealers;Spas;Supermarkets;Tailors;Taxi Services;Toy Shops;Travel Agents;Yoga Classes
"""
VOCABULARY = [name for line in NAMES.strip().splitlines() for name in line.split(";")]

# Setting up is thousands of durable writes: in memory they take seconds. Reads come from memory
# anyway.
_MEMORY = Path("/dev/shm")


def folder(gib: float = 1) -> tempfile.TemporaryDirectory[str]:
    """Where so much is written, for as long as it is needed: in memory where that has the room."""
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > gib * 2**30
    return tempfile.TemporaryDirectory(dir=_MEMORY if has_room else None)


def make(place: Path) -> list[str]:
    """25 businesses with 40 photos each, their scores and vectors; returns the docids."""
    dice = random.Random(11)
    services = Services(Settings(data_dir=place), Sender())
    services.stores.directory.add_vocabulary(VOCABULARY)
    others = [name for name in VOCABULARY if name not in (WANTED, UNLISTED)]
    entries = []
    for number in range(BUSINESSES):
        names = [*dice.sample(others, CATEGORIES - 1), WANTED]
        categories = [
            Category(catid=1 + VOCABULARY.index(name), name=name, is_hot=place == 0)
            for place, name in enumerate(names)
        ]
        entries.append((Business(docid=f"shop-{number}", name=f"Shop {number}"), categories))
    services.intake.save_businesses(entries)
    vectors = np.random.default_rng(11)
    for business, categories in entries:
        for product_id in range(1, PHOTOS + 1):
            _save_photo(services, business.docid, product_id, categories, dice, vectors)
    services.close()
    return [business.docid for business, _ in entries]


TABLES = {
    "documents.db": ("businesses", "catalogue_details", "metadata", "pixel_facts", "imgrel"),
    "directory.db": ("categories", "alttags"),
    "vectors.db": ("image_embeddings",),
}
"""What is of a business or a photo, by the file that it lies in."""


def grow(place: Path, times: int, files: Collection[str] = tuple(TABLES)) -> list[str]:
    """Copies of all businesses, so that there are ``times`` as many; returns all docids.

    The rows are copied by SQLite as the stores have written them, with docids that lie all over.
    Each copy of a photo has bytes of its own, by its hash.
    """
    for file in files:
        with closing(sqlite3.connect(place / file)) as database:
            # Written once, not twice; the store turns it on again.
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            for table in TABLES[file]:
                _copy(database, table, times)
            database.commit()
    with closing(sqlite3.connect(place / "documents.db")) as documents:
        return [docid for (docid,) in documents.execute("SELECT docid FROM businesses")]


def _copy(database: sqlite3.Connection, table: str, times: int) -> None:
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    docid, sha256 = "copy.value || '-' || docid", "copy.value || substr({}, 9)"
    own = "json_extract(body, '$.sha256')"
    body = "body"
    if "docid" in columns:
        body = f"replace({body}, json_quote(docid), json_quote({docid}))"
    if table == "catalogue_details":
        body = f"replace({body}, {own}, {sha256.format(own)})"
    named = {"docid": docid, "body": body, "sha256": sha256.format("sha256")}
    copied = ", ".join(named.get(column, column) for column in columns)
    order = "docid" if "docid" in columns else "sha256"
    database.execute(f"CREATE TEMP TABLE seed AS SELECT * FROM {table} ORDER BY {order}")
    database.execute(
        f"INSERT INTO {table} SELECT {copied} FROM json_each(?) AS copy CROSS JOIN seed",
        [_numbers(times)],
    )
    database.execute("DROP TABLE temp.seed")


def misspelt(count: int) -> list[str]:
    """Different misspellings of the wanted category, seeded: one slip each, then two."""
    dice = random.Random(5)
    word = WANTED.lower()
    found: dict[str, None] = {}
    tried = 0
    while len(found) < count:
        tried += 1
        slip = _slip(word, dice) if tried < 10 * len(word) * 26 else _slip(_slip(word, dice), dice)
        if slip != word:
            found[slip] = None
    return list(found)


def _slip(word: str, dice: random.Random) -> str:
    place = dice.randrange(1, len(word))
    letter = dice.choice(ascii_lowercase)
    return dice.choice(
        (
            word[:place] + word[place + 1 :],
            word[:place] + letter + word[place:],
            word[:place] + letter + word[place + 1 :],
        )
    )


def _numbers(times: int) -> str:
    # Of one length, and in order: rows are written one behind the other.
    numbers = sorted(random.Random(times).sample(range(10**8), times - 1))
    return json.dumps([f"{number:08}" for number in numbers])


def _save_photo(
    services: Services,
    docid: str,
    product_id: int,
    categories: list[Category],
    dice: random.Random,
    vectors: np.random.Generator,
) -> None:
    stores = services.stores
    sha256 = dice.randbytes(32).hex()
    row, _ = stores.documents.accept_image(
        CatalogueImage(docid=docid, product_id=product_id, sha256=sha256)
    )
    encoder = services.image_text_encoder
    classes, dimension = encoder.classes(), services.text_encoder.dimension
    picture = _unit(vectors, dimension if classes is None else len(classes))
    description = _unit(vectors, dimension)
    is_enhanced = dice.random() < 0.7
    card = Card(
        url=f"/objects/originals/{sha256[:2]}/{sha256}.jpg",
        enhanced_url=f"/objects/enhanced/{sha256[:2]}/{sha256}.jpg" if is_enhanced else "",
        width=640,
        height=360,
        enhanced_width=1280 if is_enhanced else 0,
        enhanced_height=720 if is_enhanced else 0,
        alt=f"Photo {product_id} of a business",
        description="A photo that shows what the business sells.",
        perceptual_hash=dice.randbytes(8).hex(),
        signature=signature(encoder.among_texts(picture)),
        invalid=["blurred"] if dice.random() < 0.05 else [],
    )
    common = {
        "docid": docid,
        "product_id": product_id,
        "generation": row.generation,
        "quality": dice.uniform(20, 95),
        "one_class": dice.random() < 0.8,
        "card": card,
    }
    rows = [ImageRelevance(catid=ANY_CATEGORY, **common)]
    for category in categories:
        # Some photos are not scored yet, so that pages are mixed, as they are in life.
        if dice.random() < SCORED:
            score = dice.random()
            parts = {"image": score, "image_cosine": score / 2, "description": score}
            rows.append(ImageRelevance(catid=category.catid, score=score, parts=parts, **common))
    stores.documents.save_relevance(rows)
    model = services.text_encoder.identity
    stores.vectors.save_image(encoder.space, "picture", docid, product_id, picture)
    stores.vectors.save_image(model, "description", docid, product_id, description)


def _unit(vectors: np.random.Generator, size: int) -> np.ndarray:
    vector = np.abs(vectors.normal(size=size)).astype(np.float32)
    return vector / np.linalg.norm(vector)
