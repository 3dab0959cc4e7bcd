"""Pages of businesses from real stores, with the real sentence encoder."""

import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from api.wiring import Services
from pipeline.embeddings import TextEmbeddings
from pipeline.errors import ConfigurationError, StoreUnavailable, UnknownBusiness
from pipeline.serving import BusinessPictures, Serving
from tests.shops import COFFEE, PETS, SHOPS, counted_reads


def one(services: Services, docid: str, **wanted: object) -> BusinessPictures:
    (business,) = services.serving.business(docid, **wanted).businesses  # type: ignore[arg-type]
    return business


def ids(business: BusinessPictures) -> list[int]:
    return [picture.product_id for picture in business.dynamic]


def test_the_query_changes_the_picture(shops: Services) -> None:
    assert ids(one(shops, "cafe", query="coffee"))[0] == 101
    assert ids(one(shops, "cafe", query="pet shop"))[0] == 102


def test_a_misspelt_query_is_answered_by_the_stored_scores(shops: Services) -> None:
    page = shops.serving.business("cafe", query="cofee shop")
    assert page.resolution is not None
    assert page.resolution.category == "Coffee Shops"
    (cafe,) = page.businesses
    assert cafe.listed
    assert cafe.dynamic[0].score == 0.9
    assert not cafe.dynamic[0].why.live


@pytest.mark.parametrize("wanted", [{"category": "pet-SHOPS"}, {"catid": PETS}])
def test_a_category_is_found_by_its_name_or_its_id(
    shops: Services, wanted: dict[str, object]
) -> None:
    cafe = one(shops, "cafe", **wanted)
    assert cafe.target == "Pet Shops"
    assert ids(cafe)[0] == 102


def test_without_a_query_each_business_shows_what_it_is_known_for(shops: Services) -> None:
    cafe = one(shops, "cafe")
    assert cafe.target == "Coffee Shops"
    assert cafe.static == cafe.dynamic[0]
    assert cafe.static is not None
    assert cafe.static.product_id == 101


def test_the_static_picture_does_not_follow_the_query(shops: Services) -> None:
    cafe = one(shops, "cafe", query="pet shop")
    assert cafe.static is not None
    assert cafe.static.product_id == 101
    assert cafe.static.why.target == "Coffee Shops"


def test_a_category_that_the_business_is_not_listed_under_is_scored_live(shops: Services) -> None:
    museum = one(shops, "museum", query="coffee shop")
    assert not museum.listed
    assert ids(museum)[0] == 203
    assert all(picture.why.live for picture in museum.dynamic)
    assert museum.dynamic[0].why.target == "Coffee Shops"


def test_words_that_are_no_category_are_scored_live_as_they_stand(shops: Services) -> None:
    page = shops.serving.page(["museum"], query="spacecraft lifting off")
    assert page.resolution is not None
    assert page.resolution.category is None
    (museum,) = page.businesses
    assert ids(museum)[0] == 201
    assert museum.dynamic[0].why.target == "spacecraft lifting off"


def test_a_query_that_means_no_category_goes_by_what_photos_are_said_to_show(
    shops: Services,
) -> None:
    page = shops.serving.page(["museum", "cafe"], query="spacecraft lifting off")
    museum, cafe = page.businesses
    assert museum.fallback == "description"
    why = museum.dynamic[0].why
    assert (why.live, why.fallback, why.target) == (True, "description", "spacecraft lifting off")
    assert set(why.parts) == {"description", "description_cosine"}
    assert why.weights["description"] == 1
    assert page.degraded == []
    # An astronaut is not far from a spacecraft: whichever it is, the page says which.
    assert cafe.fallback in ("description", "static")


@pytest.mark.parametrize("query", ["xqzvw", "asdfghjkl", "!!! ???", "stock market crash of 1929"])
def test_a_query_that_fits_nothing_leaves_the_static_order_and_says_so(
    shops: Services, query: str
) -> None:
    page = shops.serving.page(["cafe", "garage"], query=query)
    assert page.resolution is not None
    assert page.resolution.how == "none"
    asked_for_nothing = shops.serving.page(["cafe", "garage"])
    for business, plain in zip(page.businesses, asked_for_nothing.businesses, strict=True):
        assert business.fallback == "static"
        assert (business.target, business.listed) == (plain.target, False)
        assert ids(business) == ids(plain)
        assert {picture.why.fallback for picture in business.dynamic} == {"static"}
        assert business.static is not None
        assert plain.static is not None
        assert business.static.product_id == plain.static.product_id


def test_what_is_understood_falls_back_on_nothing(shops: Services) -> None:
    for wanted in ({}, {"query": "cofee"}, {"category": "Yoga Classes"}, {"catid": 999}):
        cafe = one(shops, "cafe", **wanted)
        assert cafe.fallback is None
        assert {picture.why.fallback for picture in cafe.dynamic} == {None}


def test_images_not_scored_yet_follow_by_the_rule_set(shops: Services) -> None:
    garage = one(shops, "garage", query="motorcycle dealer")
    assert garage.source == "mixed"
    assert ids(garage) == [301, 302]
    assert [picture.why.rule for picture in garage.dynamic] == ["scores", "rule_set"]


def test_nothing_scored_leaves_the_rule_set_alone(shops: Services) -> None:
    museum = one(shops, "museum", category="Museums")
    assert museum.source == "rule_set"
    assert ids(museum) == [202, 201]


def test_a_business_without_photos_says_so(shops: Services) -> None:
    bakery = one(shops, "new", query="cakes")
    assert bakery.dynamic == []
    assert "no images" in bakery.reason


def test_a_contract_that_has_ended_hides_the_pictures(shops: Services) -> None:
    past = one(shops, "past", query="coffee")
    assert (past.dynamic, past.carousel, past.static) == ([], [], None)
    assert "contract" in past.reason


def test_a_page_keeps_the_order_asked_for_and_lists_who_is_not_known(shops: Services) -> None:
    page = shops.serving.page(["museum", "nobody", "cafe", "museum"])
    assert [business.docid for business in page.businesses] == ["museum", "cafe"]
    assert page.unknown == ["nobody"]


def test_a_single_business_that_is_not_known_is_an_error(shops: Services) -> None:
    with pytest.raises(UnknownBusiness, match="nobody"):
        shops.serving.business("nobody")


def test_an_id_of_a_category_that_no_business_has_leaves_the_rule_set(shops: Services) -> None:
    cafe = one(shops, "cafe", catid=999)
    assert cafe.source == "rule_set"
    assert cafe.target == "category 999"


PLAIN = ["businesses", "categories", "page"]
LIVE = [*PLAIN, "images"]


@pytest.mark.parametrize("docids", [["cafe"], [shop.business.docid for shop in SHOPS]])
@pytest.mark.parametrize(("query", "reads"), [("", PLAIN), ("spacecraft lifting off", LIVE)])
def test_the_reads_do_not_grow_with_the_page(
    shops: Services, docids: list[str], query: str, reads: list[str]
) -> None:
    shops.serving.warm_up()
    with counted_reads(shops) as counted:
        shops.serving.page(docids, query=query)
    assert counted == reads


def test_vectors_are_not_read_where_all_are_listed(shops: Services) -> None:
    with counted_reads(shops) as counted:
        shops.serving.page(["cafe", "past"], query="coffee shops")
    assert counted == PLAIN


def test_photos_that_look_the_same_are_shown_once(shops: Services) -> None:
    garage = one(shops, "garage")
    assert garage.dynamic[0].product_id == 301
    assert garage.dynamic[0].near_duplicates == [304]


def test_without_vectors_the_rule_set_answers_and_the_page_says_so(
    shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> dict[tuple[str, int], np.ndarray]:
        raise StoreUnavailable("the vectors are away")

    monkeypatch.setattr(shops.stores.vectors, "images", unavailable)
    page = shops.serving.page(["museum", "cafe"], query="coffee shop")
    museum, cafe = page.businesses
    assert museum.source == "rule_set"
    assert cafe.source == "scores"
    assert any("the vectors are away" in line for line in page.degraded)


@pytest.mark.parametrize("asked", [{"query": "coffee shop"}, {"category": "Museums"}, {}])
def test_without_categories_the_rule_set_answers_and_the_page_says_so(
    shops: Services, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    def unavailable(*_: object) -> dict[str, list[object]]:
        raise StoreUnavailable("the directory is away")

    monkeypatch.setattr(shops.stores.directory, "categories", unavailable)
    page = shops.serving.page(["museum", "cafe"], **asked)
    museum, cafe = page.businesses
    assert (museum.source, cafe.source) == ("rule_set", "rule_set")
    assert [picture.product_id for picture in museum.dynamic] == [202, 201]
    assert any("the directory is away" in line for line in page.degraded)


def test_without_vectors_a_query_that_means_no_category_leaves_the_static_order(
    shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> dict[tuple[str, int], np.ndarray]:
        raise StoreUnavailable("the vectors are away")

    monkeypatch.setattr(shops.stores.vectors, "images", unavailable)
    page = shops.serving.page(["cafe"], query="spacecraft lifting off")
    assert page.businesses[0].fallback == "static"
    assert page.businesses[0].dynamic[0].product_id == 101
    assert any("the vectors are away" in line for line in page.degraded)


def test_without_an_encoder_stored_scores_still_answer(shops: Services) -> None:
    def broken(_: object) -> np.ndarray:
        raise ConfigurationError("no weights")

    embeddings = TextEmbeddings(broken, "broken", shops.stores.vectors)
    serving = Serving(shops.stores, embeddings, embeddings, len, list, shops.settings)
    page = serving.page(["cafe", "museum"], query="hot cofee shop")
    cafe, museum = page.businesses
    assert cafe.dynamic[0].product_id == 101
    assert museum.source == "rule_set"
    assert len(page.degraded) == 2
    assert all("no weights" in line for line in page.degraded)


def test_a_new_query_is_answered_before_its_vector_is_kept(
    own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, may_be_kept, kept = own_shops.stores.vectors, threading.Event(), []
    save = vectors.save_texts

    def save_then(model: str, texts: Mapping[str, np.ndarray]) -> None:
        assert may_be_kept.wait(30)
        save(model, texts)
        kept.extend(vectors.texts(model, list(texts)))

    monkeypatch.setattr(vectors, "save_texts", save_then)
    assert own_shops.serving.page(["cafe"], query="somewhere quiet to sit").resolution
    assert not kept
    may_be_kept.set()
    own_shops.close()
    assert "quiet sit" in kept


def test_a_vector_that_cannot_be_kept_in_the_background_is_only_logged(
    shops: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("the vectors are away")

    def at_once(call: Callable[..., None], *arguments: object) -> None:
        call(*arguments)

    monkeypatch.setattr(shops.stores.vectors, "save_texts", away)
    embeddings = TextEmbeddings(
        lambda texts: np.ones((len(texts), 2)), "ones", shops.stores.vectors, later=at_once
    )
    assert embeddings(["a", "b"]).shape == (2, 2)
    assert "2 texts are to be embedded again: the vectors are away" in caplog.text


def test_the_rows_of_one_business_never_show_with_another(shops: Services) -> None:
    page = shops.serving.page(["cafe", "museum", "garage"], catid=COFFEE)
    for business, first in zip(page.businesses, (1, 2, 3), strict=True):
        assert all(picture.product_id // 100 == first for picture in business.dynamic)
