"""Queries with the texts that are right for them."""

from collections import Counter

import pytest

from pipeline.records import AltSource, AltTag, Category
from pipeline.retraining.evidence import Evidence
from pipeline.retraining.pairs import Pair, Texts, pairs, texts_of
from pipeline.settings import Settings
from pipeline.stores import open_stores
from tests.unit.test_consistency import lay, scored

PICTURE = ("b", 7)


def test_a_click_pairs_a_query_with_what_the_picture_shows_and_its_category():
    evidence = Evidence(
        clicked=Counter({("cofee", PICTURE): 3}), chosen=Counter({("cofee", "Coffee Shops"): 3})
    )
    texts = Texts(of_images={PICTURE: ["a cup of coffee", "Coffee at the corner"]})
    assert pairs(evidence, texts) == {
        Pair("cofee", "a cup of coffee", "", "click"): 3,
        Pair("cofee", "Coffee at the corner", "", "click"): 3,
        Pair("cofee", "Coffee Shops", "", "click"): 3,
    }


def test_a_resolution_pairs_a_query_with_the_category_and_what_shows_it():
    evidence = Evidence(meant=Counter({("cofee", "Coffee Shops"): 2}))
    texts = Texts(of_categories={"Coffee Shops": ["an espresso"]})
    assert pairs(evidence, texts) == {
        Pair("cofee", "Coffee Shops", "", "resolution"): 2,
        Pair("cofee", "an espresso", "", "resolution"): 2,
    }


def test_a_file_says_what_is_a_triplet_and_what_a_pair():
    evidence = Evidence(triplets=Counter({("a", "b", "c"): 1, ("a", "d", ""): 2}))
    assert pairs(evidence, Texts()) == {
        Pair("a", "b", "c", "triplet"): 1,
        Pair("a", "d", "", "pair"): 2,
    }


def test_what_was_found_in_two_ways_is_one_pair_by_the_click():
    key = ("cofee", "Coffee Shops")
    evidence = Evidence(chosen=Counter({key: 2}), meant=Counter({key: 5}))
    assert pairs(evidence, Texts()) == {Pair(*key, "", "click"): 7}


def test_a_text_is_no_pair_with_itself():
    evidence = Evidence(meant=Counter({("coffee shops", "Coffee  Shops"): 9}))
    assert not pairs(evidence, Texts())


@pytest.fixture
def stores(tmp_path):
    """Three photos of a shop, two of which show its category."""
    opened = open_stores(Settings(data_dir=tmp_path))
    opened.directory.save_categories("shop", [Category(catid=5, name="Coffee Shops", is_hot=True)])
    for number, score in ((1, 0.9), (2, 0.6), (3, 0.2)):
        lay(opened, number)
        opened.documents.patch_metadata("shop", number, 1, {"description": f"coffee {number}"})
        row = scored(number).model_copy(update={"catid": 5, "score": score})
        opened.documents.save_relevance([scored(number), row])
    yield opened
    opened.close()


def test_the_directory_says_what_pictures_and_categories_are(stores):
    text = AltTag(docid="shop", product_id=1, alttag="A cup", score=1, source=AltSource.MANUAL)
    stores.directory.save_alt_text(text)
    evidence = Evidence(
        clicked=Counter({("q", ("shop", 1)): 1, ("q", ("shop", 99)): 1}),
        meant=Counter({("q", "Coffee Shops"): 1, ("q", "Bars"): 1}),
    )
    found = texts_of(stores, evidence)
    assert found.of_images == {("shop", 1): ["coffee 1", "A cup"]}
    assert found.of_categories == {"Coffee Shops": ["coffee 1", "coffee 2"]}


def test_of_many_pictures_the_best_stand_for_a_category(stores, monkeypatch):
    monkeypatch.setattr("pipeline.retraining.pairs.EXAMPLES", 1)
    monkeypatch.setattr("pipeline.retraining.pairs.AT_ONCE", 2)
    evidence = Evidence(chosen=Counter({("q", "Coffee Shops"): 1}))
    assert texts_of(stores, evidence).of_categories == {"Coffee Shops": ["coffee 1"]}


def test_without_queries_the_directory_is_not_looked_through(stores, monkeypatch):
    monkeypatch.setattr(type(stores.documents), "every_scored", None)
    assert texts_of(stores, Evidence()) == Texts()
