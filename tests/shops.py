"""A small directory with real photos, as a worker would have left it: rows, objects, vectors."""

import atexit
import hashlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from api.wiring import Services
from models.image_text import ImageTextEncoder
from pipeline.backlog import ALL, Backlog
from pipeline.errors import BrokerUnavailable
from pipeline.queues import QUEUES, Lane, Stage, error_queue
from pipeline.records import (
    ANY_CATEGORY,
    Business,
    Card,
    CatalogueImage,
    Category,
    Contract,
    Enhancement,
    Flags,
    ImageMetadata,
    ImageRelevance,
    ImageState,
    StageRecord,
)
from pipeline.settings import Settings
from pipeline.stores.objects import object_key
from pipeline.topology import UNROUTED_QUEUE

COFFEE, PETS, MUSEUMS, MOTORCYCLES, BAKERIES = range(1, 6)

VOCABULARY = """
AC Repair;Bakeries;Banks;Barbers;Bicycle Dealers;Book Shops;Car Repair;Chemists;Cinema Halls
Coffee Shops;Computer Repair;Cosmetics Shops;Dance Classes;Dentists;Dry Cleaners;Electricians
Fast Food;Florists;Furniture Dealers;Gift Shops;Grocery Stores;Gyms;Hair Salons;Hospitals;Hotels
Ice Cream Parlours;Jewellery Showrooms;Laundry Services;Lawyers;Medical Clinics;Mobile Phone Dealers
Motorcycle Dealers;Museums;Opticians;Pet Grooming;Pet Shops;Pharmacies;Photographers;Pizza Outlets
Plumbers;Pubs;Restaurants;Saree Retailers;Schools;Shoe Dealers;Spas;Sports Goods Dealers
Stationery Shops;Supermarkets;Tailors;Tattoo Artists;Taxi Services;Toy Shops;Travel Agents
Tyre Dealers;Veterinary Doctors;Watch Dealers;Wine Shops;Yoga Classes
"""
NAMES = [name for line in VOCABULARY.strip().splitlines() for name in line.split(";")]


@dataclass(frozen=True)
class Photo:
    """A photo, what it shows in words, and its scores by category."""

    product_id: int
    file: str
    shows: str
    scores: dict[int, float]
    quality: float = 60.0
    one_class: bool = True
    enlarged: int = 0
    flags: Flags = field(default_factory=Flags)


@dataclass(frozen=True)
class Shop:
    """A business with its categories, the hot one first, and its photos."""

    business: Business
    categories: dict[int, str]
    photos: tuple[Photo, ...] = ()


SHOPS = (
    Shop(
        Business(docid="cafe", name="Corner Café"),
        {COFFEE: "Coffee Shops", PETS: "Pet Shops"},
        (
            Photo(101, "coffee.png", "a cup of coffee", {COFFEE: 0.9, PETS: 0.1}, enlarged=2),
            Photo(102, "chelsea.png", "a pet cat", {COFFEE: 0.1, PETS: 0.9}, enlarged=2),
            Photo(103, "astronaut.png", "an astronaut", {COFFEE: 0.05}, quality=90),
        ),
    ),
    Shop(
        Business(docid="museum", name="Space Museum"),
        {MUSEUMS: "Museums"},
        (
            Photo(201, "rocket.jpg", "a rocket on its launch pad", {}, quality=70),
            Photo(202, "hubble_deep_field.jpg", "galaxies", {}, quality=80),
            Photo(203, "coffee.png", "a cup of coffee", {}, quality=95, one_class=False),
        ),
    ),
    Shop(
        Business(docid="garage", name="Old Garage"),
        {MOTORCYCLES: "Motorcycle Dealers"},
        (
            Photo(301, "motorcycle_left.png", "a motorcycle in a garage", {MOTORCYCLES: 0.8}),
            Photo(302, "camera.png", "a man with a camera", {}, quality=75),
            Photo(303, "text.png", "a page", {MOTORCYCLES: 0.9}, flags=Flags(screenshot=True)),
            Photo(304, "motorcycle_right.png", "a motorcycle in a garage", {}, quality=80),
        ),
    ),
    Shop(Business(docid="new", name="New Bakery"), {BAKERIES: "Bakeries"}),
    Shop(
        Business(docid="past", name="Past Café", contract=Contract(valid_until=1_000_000_000)),
        {COFFEE: "Coffee Shops"},
        (Photo(501, "coffee.png", "a cup of coffee", {COFFEE: 0.9}),),
    ),
)


class ErrorQueues:
    """The error queues of a broker, and what is sent back to the others."""

    def __init__(self) -> None:
        self.parked: dict[str, list[str]] = {}
        self.sent_back: list[tuple[str, bytes, dict[str, Any]]] = []

    def park(self, queue: str, body: dict[str, Any]) -> None:
        """Keep a dead letter."""
        self.parked.setdefault(queue, []).append(body["key"])

    def send_back(self, queue: str, body: bytes, properties: dict[str, Any]) -> None:
        """Keep a message as it came."""
        self.sent_back.append((queue, body, properties))

    def withdraw(self, queue: str, keys: frozenset[str]) -> int:
        """Forget some."""
        before = self.parked[error_queue(queue)]
        self.parked[error_queue(queue)] = [key for key in before if key not in keys]
        return len(before) - len(self.parked[error_queue(queue)])

    def left(self) -> list[str]:
        """The keys of all that are parked."""
        return [key for keys in self.parked.values() for key in keys]


class Outbox:
    """A broker that keeps what is sent, and can be taken away.

    Attributes:
        waiting: messages of others in its queues.
        answering: the workers on it, and their queues.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[CatalogueImage, Stage]] = []
        self.waiting: Backlog = {}
        self.answering: dict[str, list[str]] = {}
        self.is_down = False
        self.error_queues = ErrorQueues()

    def __call__(self, image: CatalogueImage, start: Stage = Stage.ENHANCE) -> None:
        """Keep it."""
        self._answer()
        self.sent.append((image, start))

    def backlog(self) -> Backlog:
        """What waits for others; nothing else waits."""
        self._answer()
        nothing = {(queue, lane.name.lower()): 0 for queue in QUEUES for lane in Lane}
        errors = {(name, ALL): 0 for name in (*map(error_queue, QUEUES), UNROUTED_QUEUE)}
        parked = {(name, ALL): len(keys) for name, keys in self.error_queues.parked.items()}
        return nothing | errors | parked | self.waiting

    def workers(self) -> dict[str, list[str]]:
        """Those there are."""
        self._answer()
        return self.answering

    def _answer(self) -> None:
        if self.is_down:
            raise BrokerUnavailable("the broker did not take the message: no one is there")


def open_shops(folder: Path, outbox: Outbox | None = None) -> Services:
    """Services on embedded stores in ``folder``, with the shops in them.

    Filling a folder and loading models takes seconds: both are done once in a process.
    """
    chosen = Settings(data_dir=folder, open_to="all", rate_limit_address="")
    filled, services = _filled(), Services(chosen, outbox or Outbox())
    shutil.copytree(filled.settings.data_dir, folder, dirs_exist_ok=True)
    services.text_encoder = filled.text_encoder
    services.image_text_encoder = filled.image_text_encoder
    return services


@cache
def _filled() -> Services:
    """Services whose folder is to be copied."""
    folder = mkdtemp()
    atexit.register(shutil.rmtree, folder)
    services = Services(Settings(data_dir=Path(folder)), Outbox())
    services.stores.directory.add_vocabulary(NAMES)
    for shop in SHOPS:
        first = next(iter(shop.categories))
        services.intake.save_business(
            shop.business,
            [Category(catid=c, name=n, is_hot=c == first) for c, n in shop.categories.items()],
        )
        for photo in shop.photos:
            _hang(services, shop.business.docid, photo)
    services.serving.warm_up()
    services.close()
    return services


def _hang(services: Services, docid: str, photo: Photo) -> None:
    """Everything that the stages leave of one photo."""
    stores = services.stores
    content = files("skimage.data").joinpath(photo.file).read_bytes()
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    sha256 = hashlib.sha256(content).hexdigest()
    kind = "image/png" if photo.file.endswith("png") else "image/jpeg"
    key = object_key("originals", sha256, kind)
    stores.objects.put(key, content)
    row, _ = stores.documents.accept_image(
        CatalogueImage(
            docid=docid,
            product_id=photo.product_id,
            original_key=key,
            sha256=sha256,
            size=len(content),
            content_type=kind,
            width=picture.width,
            height=picture.height,
        )
    )
    enhancement = _enlarge(services, picture, photo.enlarged) if photo.enlarged else None
    alt = f"{photo.shows.capitalize()} at {docid}"
    metadata = ImageMetadata(
        docid=docid,
        product_id=photo.product_id,
        generation=row.generation,
        alt_text=alt,
        description=photo.shows,
        quality=photo.quality,
        one_class=photo.one_class,
        flags=photo.flags,
        enhancement=enhancement,
        stages={Stage.ENHANCE.value: StageRecord(key="k", outcome="done", ended_at=5.0)},
    )
    patch = metadata.model_dump(
        mode="json", include={"alt_text", "description", "quality", "flags", "enhancement"}
    )
    stages = {f"stages.{name}": r.model_dump() for name, r in metadata.stages.items()}
    stages[f"models.{Stage.TAG.value}"] = services.image_text_encoder.identity
    stores.documents.patch_metadata(docid, photo.product_id, row.generation, {**patch, **stages})
    card = Card(
        url=stores.objects.url(key),
        enhanced_url=stores.objects.url(enhancement.key) if enhancement else "",
        width=picture.width,
        height=picture.height,
        enhanced_width=enhancement.width if enhancement else 0,
        enhanced_height=enhancement.height if enhancement else 0,
        alt=alt,
        description=photo.shows,
        perceptual_hash=str(imagehash.phash(picture)),
        invalid=["screenshot"] if photo.flags.screenshot else [],
    )
    stores.documents.save_relevance(
        [
            ImageRelevance(
                docid=docid,
                catid=catid,
                product_id=photo.product_id,
                generation=row.generation,
                score=score,
                parts={} if score is None else {"image": score, "image_cosine": score / 2},
                quality=photo.quality,
                one_class=photo.one_class,
                card=card,
            )
            for catid, score in [(ANY_CATEGORY, None), *photo.scores.items()]
        ]
    )
    stores.documents.update_image(
        docid, photo.product_id, row.generation, {"state": ImageState.DONE}
    )
    (vector,) = services.text_encoder([photo.shows])
    encoder, model = services.image_text_encoder, services.text_encoder.identity
    key = docid, photo.product_id
    stores.vectors.save_image(encoder.space, "picture", *key, _picture(encoder, vector))
    stores.vectors.save_image(model, "description", *key, vector)


def _picture(encoder: ImageTextEncoder, text: np.ndarray) -> np.ndarray:
    """The vector of a picture that shows what a text says: its nearest classes, or the text's."""
    classes = encoder.classes()
    if classes is None:
        return text
    cosines = classes @ text
    weights = np.where(cosines >= np.sort(cosines)[-3], cosines, 0)
    return weights / np.linalg.norm(weights)


def _enlarge(services: Services, picture: Image.Image, times: int) -> Enhancement:
    large = picture.resize((picture.width * times, picture.height * times))
    file = io.BytesIO()
    large.save(file, "JPEG", quality=80)
    content = file.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    key = object_key("enhanced", sha256, "image/jpeg")
    services.stores.objects.put(key, content)
    return Enhancement(
        action="enhanced",
        key=key,
        sha256=sha256,
        size=len(content),
        width=large.width,
        height=large.height,
        content_type="image/jpeg",
    )


@contextmanager
def counted_reads(services: Services) -> Iterator[list[str]]:
    """The reads of the stores while it lasts, by the names of the methods."""
    stores = services.stores
    reads: list[str] = []

    def counting(store: Any, name: str) -> None:
        method = getattr(store, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            reads.append(name)
            return method(*arguments, **named)

        setattr(store, name, counted)

    watched = [
        (stores.documents, ("businesses", "images", "metadata", "page", "relevance", "image")),
        (stores.directory, ("categories", "alt_texts")),
        (stores.vectors, ("images",)),
    ]
    for store, names in watched:
        for name in names:
            counting(store, name)
    try:
        yield reads
    finally:
        for store, names in watched:
            for name in names:
                delattr(store, name)
