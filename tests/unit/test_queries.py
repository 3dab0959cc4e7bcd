"""Free text to a category. The sentence encoder is the real one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from pipeline.embeddings import TextEmbeddings
from pipeline.errors import StoreUnavailable
from pipeline.queries import QueryResolver, fold
from pipeline.queries.folding import stems
from pipeline.queries.thesaurus import Thesaurus
from pipeline.settings import Settings
from pipeline.stores import open_stores
from tests.shops import NAMES

# Each with the categories that would be right. Weights and thresholds were tuned on these.
QUERIES = {
    # misspelt
    "resturant": {"Restaurants"},
    "restaraunt": {"Restaurants"},
    "cofee shop": {"Coffee Shops"},
    "coffe": {"Coffee Shops"},
    "dentsit": {"Dentists"},
    "pharmcy": {"Pharmacies"},
    "moter cycle": {"Motorcycle Dealers"},
    "jewelery": {"Jewellery Showrooms"},
    "furnature": {"Furniture Dealers"},
    "bycicle": {"Bicycle Dealers"},
    "stationary": {"Stationery Shops"},
    "tatoo": {"Tattoo Artists"},
    "elektrician": {"Electricians"},
    "vetenary doctor": {"Veterinary Doctors"},
    "super market": {"Supermarkets"},
    "icecream": {"Ice Cream Parlours"},
    "laundary": {"Laundry Services"},
    "hotal": {"Hotels"},
    "tailer": {"Tailors"},
    "piza": {"Pizza Outlets"},
    "grosery": {"Grocery Stores"},
    "optition": {"Opticians"},
    # colloquial
    "haircut": {"Hair Salons", "Barbers"},
    "flowers": {"Florists"},
    "medicine": {"Pharmacies", "Chemists", "Medical Clinics"},
    "pills": {"Pharmacies", "Chemists"},
    "toothache": {"Dentists"},
    "burger and fries": {"Fast Food"},
    "place to eat": {"Restaurants"},
    "eyeglasses": {"Opticians"},
    "workout": {"Gyms"},
    "attorney": {"Lawyers"},
    "bread and cakes": {"Bakeries"},
    "cappuccino": {"Coffee Shops"},
    "movie theatre": {"Cinema Halls"},
    "puppy food": {"Pet Shops", "Pet Grooming"},
    "fix my laptop": {"Computer Repair"},
    "car mechanic": {"Car Repair"},
    "leaking pipe": {"Plumbers"},
    "cab": {"Taxi Services"},
    "beer": {"Pubs"},
    "sneakers": {"Shoe Dealers", "Sports Goods Dealers"},
    "lipstick": {"Cosmetics Shops"},
    "novels": {"Book Shops"},
    "sick cat": {"Veterinary Doctors"},
    "massage": {"Spas"},
    "air conditioner service": {"AC Repair"},
    "holiday packages": {"Travel Agents"},
    "smartphone": {"Mobile Phone Dealers"},
    # other forms of a name
    "gym": {"Gyms"},
    "pizzas": {"Pizza Outlets"},
    "pet shop": {"Pet Shops"},
    "shoes": {"Shoe Dealers"},
    "best hair salon near me": {"Hair Salons"},
    "yoga": {"Yoga Classes"},
    "tyres": {"Tyre Dealers"},
    "watches": {"Watch Dealers"},
    "dry cleaning": {"Dry Cleaners"},
}
# Rules were not changed for these; the thesaurus was written later, though, and has some of them.
UNSEEN = {
    "barbar shop": {"Barbers"},
    "hospitl": {"Hospitals"},
    "electrition": {"Electricians"},
    "pet grumming": {"Pet Grooming"},
    "docter": {"Medical Clinics", "Hospitals", "Veterinary Doctors"},
    "suprmarket": {"Supermarkets"},
    "gim": {"Gyms"},
    "cinama": {"Cinema Halls"},
    "computor repair": {"Computer Repair"},
    "photografer": {"Photographers"},
    "wine shope": {"Wine Shops"},
    "sari": {"Saree Retailers"},
    "dance clases": {"Dance Classes"},
    "ring for wedding": {"Jewellery Showrooms"},
    "sofa": {"Furniture Dealers"},
    "kids toys": {"Toy Shops"},
    "bouquet": {"Florists"},
    "root canal": {"Dentists"},
    "drugstore": {"Pharmacies", "Chemists"},
    "divorce lawyer": {"Lawyers"},
    "flat tyre": {"Tyre Dealers"},
    "power outage": {"Electricians"},
    "blocked drain": {"Plumbers"},
    "vegetables and fruit": {"Grocery Stores", "Supermarkets"},
    "birthday cake": {"Bakeries"},
    "gelato": {"Ice Cream Parlours"},
    "manicure": {"Spas", "Hair Salons", "Cosmetics Shops"},
    "money transfer": {"Banks"},
    "kindergarten": {"Schools"},
    "cricket bat": {"Sports Goods Dealers"},
    "suit alterations": {"Tailors"},
    "espresso": {"Coffee Shops"},
    "rooms for the night": {"Hotels"},
    "trim my beard": {"Barbers"},
    "contact lenses": {"Opticians"},
    "ambulance": {"Hospitals"},
    "motorbike": {"Motorcycle Dealers"},
    "pens and paper": {"Stationery Shops"},
    "margherita": {"Pizza Outlets"},
    "flight tickets": {"Travel Agents"},
}
NONSENSE = ("qwertyuiop", "xyzzy plugh", "12345", "!!!", "lorem ipsum dolor", "zzzz", "🙂🙂")
HOSTILE = (
    "a" * 10_000,
    "coffee " * 2_000,
    " ".join(f"word{number}" for number in range(200)),
    "🙂☕" * 500,
    "'; DROP TABLE categories; --",
    '{"$ne": 1}',
    "\x00\x1b[31m\r\n\t",
    "\u202emosq\u202c مسجد",
    "ﷺ" * 200,
    "%s%n{0}${jndi:ldap://x}",
    "\ud800",
)


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> QueryResolver:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    stores = open_stores(settings)
    stores.directory.add_vocabulary(NAMES)
    encoder: Any = models.create("text", "minilm", weights=settings.model_dir, threads=1)
    embeddings = TextEmbeddings(encoder, encoder.identity, stores.vectors)
    return QueryResolver(
        stores.directory, embeddings, encoder.pieces, refresh_every=0, cache=settings.model_dir
    )


def misunderstood(resolver: QueryResolver, queries: dict[str, set[str]]) -> dict[str, str | None]:
    answers = {query: resolver.resolve(query).category for query in queries}
    return {query: answer for query, answer in answers.items() if answer not in queries[query]}


def test_nine_in_ten_misspelt_and_colloquial_queries_are_understood(
    resolver: QueryResolver,
) -> None:
    wrong = misunderstood(resolver, QUERIES)
    assert len(wrong) <= 0.1 * len(QUERIES), wrong


def test_unseen_queries_are_mostly_understood_and_seldom_taken_for_something_else(
    resolver: QueryResolver,
) -> None:
    wrong = misunderstood(resolver, UNSEEN)
    assert len(wrong) <= 0.3 * len(UNSEEN), wrong
    # Without a category the pictures are compared with the words themselves: no harm is done.
    assert len([name for name in wrong.values() if name]) <= 0.1 * len(UNSEEN), wrong


@pytest.mark.parametrize("query", NONSENSE)
def test_nonsense_means_no_category(resolver: QueryResolver, query: str) -> None:
    resolution = resolver.resolve(query)
    assert (resolution.category, resolution.how) == (None, "none")


@pytest.mark.parametrize(
    "query", ["Coffee Shops", " coffee   SHOPS ", "coffee-shops!", "Cóffee shops"]
)
def test_case_accents_punctuation_and_spaces_do_not_count(
    resolver: QueryResolver, query: str
) -> None:
    resolution = resolver.resolve(query)
    assert (resolution.category, resolution.how, resolution.confidence) == (
        "Coffee Shops",
        "exact",
        1,
    )
    assert resolution.query == query


def test_a_misspelling_is_read_by_its_characters_and_a_need_by_its_meaning(
    resolver: QueryResolver,
) -> None:
    assert resolver.resolve("plumer").how == "characters"
    assert resolver.resolve("haircut").how == "meaning"


def test_near_misses_are_suggested(resolver: QueryResolver) -> None:
    resolution = resolver.resolve("haircut")
    assert {resolution.category, *resolution.suggestions} >= {"Hair Salons", "Barbers"}
    assert resolution.category not in resolution.suggestions


def test_suggestions_begin_with_what_is_typed(resolver: QueryResolver) -> None:
    assert resolver.suggest("pe") == ["Pet Grooming", "Pet Shops"]
    assert resolver.suggest("sho", limit=2) == ["Shoe Dealers", "Book Shops"]
    assert "Jewellery Showrooms" in resolver.suggest("jewlery")
    assert resolver.suggest("  ") == []


def test_a_new_category_is_found_once_it_is_in_the_directory(tmp_path: Path) -> None:
    directory = open_stores(Settings(data_dir=tmp_path)).directory
    directory.add_vocabulary(["Bakeries"])
    resolver = QueryResolver(directory, _Silent(), len, refresh_every=0)  # type: ignore[arg-type]
    assert resolver.resolve("museums").category is None
    directory.add_vocabulary(["Museums"])
    assert resolver.resolve("museum").category == "Museums"


def test_the_first_categories_of_a_directory_are_found_at_once(tmp_path: Path) -> None:
    directory = open_stores(Settings(data_dir=tmp_path)).directory
    resolver = QueryResolver(directory, _Silent(), len, refresh_every=60)  # type: ignore[arg-type]
    assert resolver.vocabulary()[1] == []
    directory.add_vocabulary(["Museums"])
    assert resolver.resolve("museum").category == "Museums"


def test_without_embeddings_the_characters_decide_and_the_answer_says_so(
    resolver: QueryResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_embeddings", _Silent())
    monkeypatch.setattr(resolver, "_names", None)
    resolution = resolver.resolve("plumer leak")
    assert resolution.category == "Plumbers"
    assert "no vectors today" in resolution.degraded
    assert resolver.resolve("toothache").category is None


def test_a_plain_misspelling_asks_no_encoder(
    resolver: QueryResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_embeddings", _Silent())
    resolution = resolver.resolve("plumburs")
    assert (resolution.category, resolution.how, resolution.degraded) == (
        "Plumbers",
        "characters",
        "",
    )


def test_an_answer_made_without_embeddings_is_not_kept(
    resolver: QueryResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(resolver, "_embeddings", _Silent())
        patch.setattr(resolver, "_names", None)
        assert resolver.resolve("a bouquet of flowers").category is None
    assert resolver.resolve("a bouquet of flowers").category == "Florists"


def test_an_empty_directory_knows_no_category(tmp_path: Path) -> None:
    directory = open_stores(Settings(data_dir=tmp_path)).directory
    resolver = QueryResolver(directory, _Silent(), len)  # type: ignore[arg-type]
    assert resolver.resolve("coffee").category is None
    assert resolver.suggest("coffee") == []


def test_very_long_queries_are_cut_not_refused(resolver: QueryResolver) -> None:
    assert resolver.resolve("coffee " * 10_000).category == "Coffee Shops"


@pytest.mark.parametrize("query", HOSTILE)
def test_hostile_input_gets_an_answer(resolver: QueryResolver, query: str) -> None:
    resolution = resolver.resolve(query)
    assert resolution.category is None or resolution.category in NAMES
    assert resolver.suggest(query) == [name for name in resolver.suggest(query) if name in NAMES]
    resolution.model_copy(update={"query": ""}).model_dump_json()


def test_every_name_means_itself_in_either_number_and_in_any_order_of_words(
    resolver: QueryResolver,
) -> None:
    for name in NAMES:
        turned = " ".join(reversed(name.lower().split()))
        singular = " ".join(stems(name.lower().split()))
        for query in (name, name.upper(), turned, singular):
            resolution = resolver.resolve(query)
            assert (resolution.category, resolution.how) == (name, "exact"), query


def test_a_category_that_no_thesaurus_knows_is_found_by_letters_and_meaning(
    tmp_path: Path, resolver: QueryResolver
) -> None:
    directory = open_stores(Settings(data_dir=tmp_path)).directory
    directory.add_vocabulary(["Bee Keepers", "Bowling Alleys", "Skating Rinks"])
    unknown = QueryResolver(
        directory,
        resolver._embeddings,
        resolver._pieces,
        thesaurus=Thesaurus.parse("dentist: tooth"),
    )
    assert unknown.resolve("bee keper").category == "Bee Keepers"
    assert unknown.resolve("ice skates").category == "Skating Rinks"
    assert unknown.resolve("toothache").category is None


def test_suggestions_forgive_a_slip_in_the_beginning_and_know_what_is_asked_for(
    resolver: QueryResolver,
) -> None:
    resolver.warm_up()
    assert "Restaurants" in resolver.suggest("restu")
    assert set(resolver.suggest("haircut")) >= {"Barbers", "Hair Salons"}


def test_folding_keeps_letters_of_every_script() -> None:
    assert fold("  Café-Bar & Grill ") == "cafe bar grill"
    assert fold("Ресторан") == "ресторан"


class _Silent:
    """Embeddings whose store cannot be reached."""

    def __call__(self, texts: list[str]) -> np.ndarray:
        raise StoreUnavailable("no vectors today")
