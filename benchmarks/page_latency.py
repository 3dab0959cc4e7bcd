"""Claim: a result page of 25 businesses with 40 photos each is answered in far less than 200 ms.

Baseline: a route of the same application that takes the same request and returns the same answer,
made beforehand, through the same response model and middleware. The ratio is what choosing the
pictures adds to what the web framework takes. One request at a time, no network; both take turns.
"""

import asyncio
import itertools
import random
import tempfile
import time
from pathlib import Path
from string import ascii_lowercase

import httpx
import numpy as np
from fastapi import APIRouter, FastAPI
from measuring import arguments, figures, machine, ratio, report, versions

from api import relevancy
from api.relevancy import PageRequest
from api.wiring import Services, application
from pipeline.graph import Sender
from pipeline.records import (
    ANY_CATEGORY,
    Business,
    Card,
    CatalogueImage,
    Category,
    ImageRelevance,
)
from pipeline.serving import Page
from pipeline.settings import Settings
from pipeline.stores.vectors import ImageVectorKind

BUSINESSES = 25
PHOTOS = 40
CATEGORIES = 5
LIMIT = 10
SCORED = 0.8
REQUESTS = 80
LIVE_REQUESTS = 30
WARM_UP = 10

# Setting up is 4,000 durable writes: in memory they take seconds. Reads come from memory anyway.
MEMORY = Path("/dev/shm")

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


def open_directory(folder: Path) -> Services:
    """Embedded stores in ``folder`` with seeded businesses, photos, scores and vectors."""
    dice = random.Random(11)
    services = Services(Settings(data_dir=folder), Sender())
    stores = services.stores
    stores.directory.add_vocabulary(VOCABULARY)
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
    return services


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
    is_enhanced = dice.random() < 0.7
    card = Card(
        url=f"/objects/originals/{sha256[:2]}/{sha256}.jpg",
        enhanced_url=f"/objects/enhanced/{sha256[:2]}/{sha256}.jpg" if is_enhanced else "",
        width=640,
        height=360,
        enhanced_width=1280 if is_enhanced else 0,
        enhanced_height=720 if is_enhanced else 0,
        alt=f"Photo {product_id} of {docid}",
        description=f"A photo that shows what {docid} sells.",
        perceptual_hash=dice.randbytes(8).hex(),
        signature=dice.randbytes(32).hex(),
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
    classes = services.image_text_encoder.classes()
    size = services.text_encoder([""]).shape[1]
    spaces: tuple[tuple[str, ImageVectorKind, int], ...] = (
        (services.image_text_encoder.space, "picture", size if classes is None else len(classes)),
        (services.text_encoder.identity, "description", size),
    )
    for model, kind, length in spaces:
        vector = np.abs(vectors.normal(size=length))
        vector /= np.linalg.norm(vector)
        stores.vectors.save_image(model, kind, docid, product_id, vector)


def misspelt() -> list[str]:
    """Different misspellings of the wanted category, one slip each, seeded."""
    dice = random.Random(5)
    word = WANTED.lower()
    found: dict[str, None] = {}
    while len(found) < REQUESTS + WARM_UP:
        place = dice.randrange(1, len(word))
        letter = dice.choice(ascii_lowercase)
        slips = (
            word[:place] + word[place + 1 :],
            word[:place] + letter + word[place:],
            word[:place] + letter + word[place + 1 :],
        )
        slip = dice.choice(slips)
        if slip != word:
            found[slip] = None
    return list(found)


def with_baseline(services: Services, ready: dict[str, Page]) -> FastAPI:
    """The relevancy application and, beside its route, one that only hands out ``ready``."""
    router = APIRouter()

    @router.post("/baseline/{case}")
    def made_beforehand(case: str, page: PageRequest) -> Page:
        return ready[case]

    return application(
        "benchmark", "", [relevancy.router, router], relevancy.NEEDS, lambda: services
    )


async def measure(services: Services) -> dict[str, dict[str, list[float]]]:
    """Seconds of every request, by case and by way."""
    docids = [f"shop-{number}" for number in range(BUSINESSES)]

    def body(**wanted: str) -> dict[str, object]:
        return {"docids": docids, "limit": LIMIT, **wanted}

    cases = {
        "category": (itertools.repeat(body(category=WANTED)), REQUESTS),
        # A query that was asked before is remembered: each of these is a new one.
        "misspelt query": ((body(query=text) for text in misspelt()), REQUESTS),
        # Nobody is listed under it: all 1,000 photos are scored at the query.
        "unlisted category": (itertools.repeat(body(category=UNLISTED)), LIVE_REQUESTS),
    }
    ready = {
        "category": services.serving.page(docids, category=WANTED, limit=LIMIT),
        "misspelt query": services.serving.page(docids, query="cofee shops", limit=LIMIT),
        "unlisted category": services.serving.page(docids, category=UNLISTED, limit=LIMIT),
    }
    resolution = ready["misspelt query"].resolution
    assert resolution and resolution.category == WANTED, resolution
    app = with_baseline(services, ready)
    seconds: dict[str, dict[str, list[float]]] = {}
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://benchmark") as client,
    ):
        for case, (bodies, count) in cases.items():
            seconds[case] = {"relevance": [], "baseline": []}
            paths = {"relevance": "/v1/relevance", "baseline": f"/baseline/{case}"}
            for number, wanted in zip(range(WARM_UP + count), bodies, strict=False):
                for way, path in paths.items():
                    began = time.perf_counter()
                    answer = await client.post(path, json=wanted)
                    elapsed = time.perf_counter() - began
                    answer.raise_for_status()
                    assert len(answer.json()["businesses"]) == BUSINESSES
                    if number >= WARM_UP:
                        seconds[case][way].append(elapsed)
    return seconds


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        services = open_directory(Path(folder))
        services.warm_up()
        seconds = asyncio.run(measure(services))
    results = {
        "machine": where,
        "versions": versions(("fastapi", "starlette", "pydantic", "sqlalchemy", "onnxruntime")),
        "sizes": {
            "businesses": BUSINESSES,
            "photos_each": PHOTOS,
            "categories_each": CATEGORIES,
            "vocabulary": len(VOCABULARY),
            "limit": LIMIT,
            "warm_up": WARM_UP,
        },
        "latency": {
            case: {way: figures(taken) for way, taken in ways.items()}
            for case, ways in seconds.items()
        },
        "relevance_to_baseline": {
            case: ratio(ways["relevance"], ways["baseline"]) for case, ways in seconds.items()
        },
    }
    lines = []
    for case in seconds:
        times = results["latency"][case]
        spread = results["relevance_to_baseline"][case]
        lines.append(
            f"{case:17} {times['relevance']['median_ms']:6.1f} ms median, "
            f"{times['relevance']['p99_ms']:6.1f} ms p99; made beforehand "
            f"{times['baseline']['median_ms']:.1f} and {times['baseline']['p99_ms']:.1f} ms; "
            f"ratio {spread['ratio']:.2f} ({spread['low']:.2f} to {spread['high']:.2f}), "
            f"{times['relevance']['n']} requests"
        )
    report("page_latency", results, lines, options.json)


if __name__ == "__main__":
    main()
