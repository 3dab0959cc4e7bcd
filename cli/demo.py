"""``justlens demo``: real photos through the running system, and what comes out."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.table import Table

from cli.intake import categories_from, take_in
from cli.output import out, print_json
from cli.processes import System, data_folder, free_port
from pipeline.backfill import Outcome, Photo
from pipeline.errors import JustLensError
from pipeline.numbers import file_number
from pipeline.records import Business, Category
from pipeline.stores import open_stores

# docid, name, categories, photos.
Shop = tuple[str, str, tuple[str, ...], tuple[str, ...]]

# Photos that scikit-image and scikit-learn carry, dealt out to made-up businesses.
SHOPS: tuple[Shop, ...] = (
    (
        "demo-cafe",
        "The Cat & Flower Café",
        ("Coffee Shops", "Florists", "Pet Shops"),
        ("skimage/coffee.png", "sklearn/flower.jpg", "skimage/chelsea.png"),
    ),
    (
        "demo-travel",
        "Pagoda Travel",
        ("Travel Agents", "Temples", "Space Museums"),
        ("sklearn/china.jpg", "skimage/rocket.jpg", "skimage/hubble_deep_field.jpg"),
    ),
    (
        "demo-garage",
        "Two Wheels & Tiles",
        ("Motorcycle Dealers", "Tile Dealers", "Garden Centres"),
        ("skimage/motorcycle_left.png", "skimage/brick.png", "skimage/grass.png"),
    ),
    (
        "demo-studio",
        "Studio Apollo",
        ("Photographers", "Opticians"),
        ("skimage/astronaut.png", "skimage/camera.png", "skimage/retina.jpg"),
    ),
)
# The categories of the made-up directory beside those of the shops.
VOCABULARY = [
    "Bakeries",
    "Banks",
    "Bars",
    "Beauty Parlours",
    "Bicycle Dealers",
    "Book Shops",
    "Boutiques",
    "Butchers",
    "Car Dealers",
    "Car Repair",
    "Carpenters",
    "Cinemas",
    "Computer Dealers",
    "Dance Classes",
    "Dentists",
    "Dry Cleaners",
    "Electricians",
    "Estate Agents",
    "Fast Food",
    "Furniture Dealers",
    "Gift Shops",
    "Grocery Stores",
    "Gyms",
    "Hair Salons",
    "Hardware Shops",
    "Hospitals",
    "Hotels",
    "Ice Cream Parlours",
    "Jewellers",
    "Laundries",
    "Lawyers",
    "Libraries",
    "Mobile Phone Dealers",
    "Museums",
    "Music Schools",
    "Pharmacies",
    "Pizzerias",
    "Plumbers",
    "Printing Services",
    "Restaurants",
    "Schools",
    "Shoe Shops",
    "Spas",
    "Sports Shops",
    "Supermarkets",
    "Swimming Pools",
    "Tailors",
    "Tattoo Artists",
    "Taxi Services",
    "Toy Shops",
    "Tyre Dealers",
    "Veterinary Clinics",
    "Watch Dealers",
    "Wine Shops",
    "Yoga Classes",
]
QUERIES = {
    "demo-cafe": ("pets", "cofee shop"),
    "demo-travel": ("rocket", "templ"),
    "demo-garage": ("tiles", "motorcicle"),
    "demo-studio": ("eye doctor", "fotographer"),
}


@dataclass(frozen=True)
class Site:
    """A running system with the photos of the demo in it."""

    system: System
    photos: list[Photo]
    outcomes: list[Outcome]

    @property
    def address(self) -> str:
        """Of the web applications."""
        return self.system.address


def demo(*, port: int, json_output: bool) -> None:
    """Run the demo; on a terminal the page is served until Ctrl-C."""
    with site(port) as here:
        failed = [outcome for outcome in here.outcomes if outcome.state != "done"]
        if failed:
            raise JustLensError(f"{failed[0].photo.source}: {failed[0].failure}")
        results = _ask(here)
        if json_output:
            print_json({"address": here.address, "businesses": results})
        else:
            _show(results)
            out.print(f"\nThe result page: [bold]{here.address}/?query=cofee[/]", highlight=False)
        if sys.stdout.isatty() and not json_output:
            out.print("Ctrl-C ends it.")
            _serve(here.system)


@contextmanager
def site(port: int = 0, shops: Sequence[Shop] = SHOPS, name: str = "demo") -> Iterator[Site]:
    """The system with the photos of some shops gone through, in a data folder of that name."""
    folder = Path(os.environ.get("JUSTLENS_DATA_DIR", "var")) / name
    with data_folder(folder) as settings:
        system = System(settings, port=port or free_port(settings.api_host))
        out.print("Starting broker, workers and web applications ...")
        with system.running():
            stores = open_stores(settings)
            stores.directory.add_vocabulary(VOCABULARY)
            businesses, photos = _taken_in(shops)
            outcomes = take_in(stores, settings, businesses, photos)
            stores.close()
            yield Site(system, photos, outcomes)


def _taken_in(
    shops: Sequence[Shop],
) -> tuple[list[tuple[Business, list[Category]]], list[Photo]]:
    businesses, photos = [], []
    for docid, name, categories, files in shops:
        businesses.append((Business(docid=docid, name=name), categories_from(categories)))
        for file in files:
            photos.append(Photo(docid, file_number(file), str(_sample(file))))
    return businesses, photos


def _sample(file: str) -> Path:
    """A sample photo inside an installed package, found without importing it."""
    package, name = file.split("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise JustLensError(f"the package {package} is not installed: run `make install`")
    folder = {"skimage": "data", "sklearn": "datasets/images"}[package]
    return Path(spec.origin).parent / folder / name


def _ask(here: Site) -> list[dict[str, Any]]:
    names = {photo.product_id: Path(photo.source).name for photo in here.photos}
    results = []
    with here.system.client() as client:
        for docid, queries in QUERIES.items():
            answers = {}
            for query in queries:
                answer = client.get(f"/v1/relevance/{docid}", params={"query": query})
                answer.raise_for_status()
                answers[query] = answer.json()
            business = next(iter(answers.values()))
            results.append(
                {
                    "docid": docid,
                    "name": business["name"],
                    "static": names[business["static"]["product_id"]],
                    "queries": {
                        query: [names[p["product_id"]] for p in answer["dynamic"][:1]]
                        for query, answer in answers.items()
                    },
                    "carousel": [names[p["product_id"]] for p in business["carousel"]],
                    "pictures": {
                        names[p["product_id"]]: {
                            "before": f"{p['width']}x{p['height']}",
                            "after": f"{p['enhanced_width']}x{p['enhanced_height']}"
                            if p["enhanced_url"]
                            else "left alone",
                            "alt": p["alt"],
                        }
                        for p in business["dynamic"]
                    },
                }
            )
    return results


def _show(results: list[dict[str, Any]]) -> None:
    for result in results:
        out.print(f"\n[bold]{result['name']}[/]", highlight=False)
        out.print(f"  static picture     {result['static']}", highlight=False)
        for query, pictures in result["queries"].items():
            picture = pictures[0] if pictures else "nothing"
            out.print(f"  for {query!r:14} {picture}", highlight=False)
        out.print(f"  carousel           {', '.join(result['carousel'])}", highlight=False)
        table = Table("    photo", "before", "after", "alt text", box=None)
        for name, picture in result["pictures"].items():
            table.add_row(f"    {name}", picture["before"], picture["after"], picture["alt"])
        out.print(table)


def _serve(system: System) -> None:
    try:
        while system.is_up:
            threading.Event().wait(1.0)
    except KeyboardInterrupt:
        out.print("Ending: running stages finish first.")
