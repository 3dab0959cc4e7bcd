"""A challenger in the shadow of what the web applications answer."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from pipeline.embeddings import TextEmbeddings
from pipeline.errors import ConfigurationError
from pipeline.retraining.comparison import Comparison
from pipeline.serving import Serving
from pipeline.settings import Settings

CHALLENGER = "challenger@2"


def challenge(services: Services, challenger: Serving | None) -> None:
    """Have it challenge what serves."""
    services.servings.challenger = lambda: challenger  # type: ignore[method-assign]


def challenger_of(services: Services, encode) -> Serving:
    """A serving stack beside that of the shops, with another model of queries."""
    image_text = services.image_text_encoder
    vectors = services.stores.vectors
    return Serving(
        services.stores,
        TextEmbeddings(encode, CHALLENGER, vectors),
        TextEmbeddings(image_text.encode_names, image_text.space, vectors, image_text.classes),
        services.text_encoder.pieces,
        image_text.background_names,
        services.settings,
    )


@pytest.fixture
def shadowed(own_shops: Services) -> Services:
    """Shops with a challenger that reads queries backwards, asked each of them."""
    own_shops.settings = Settings(**{**dict(own_shops.settings), "shadow_share": 1.0})
    encode = own_shops.text_encoder
    backwards = challenger_of(own_shops, lambda texts: encode([text[::-1] for text in texts]))
    challenge(own_shops, backwards)
    return own_shops


@pytest.fixture
def client(shadowed: Services) -> Iterator[TestClient]:
    with TestClient(create(lambda: shadowed), raise_server_exceptions=False) as client:
        yield client


def recorded(services: Services, count: int) -> list[Comparison]:
    """So many comparisons, once they are there, oldest first."""
    champion, end = services.text_encoder.identity, time.monotonic() + 30
    while len(found := services.stores.shadow.comparisons(champion, CHALLENGER)) < count:
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found[::-1]


def test_each_door_to_pictures_offers_what_it_answered(
    shadowed: Services, client: TestClient
) -> None:
    client.get("/v1/relevance/cafe", params={"query": "cofee"})
    recorded(shadowed, 1)
    client.post("/v1/relevance", json={"docids": ["cafe", "garage"], "category": "Museums"})
    recorded(shadowed, 2)
    client.get("/", params={"query": "motorcycle"})
    found = recorded(shadowed, 3)
    assert [one.query for one in found] == ["cofee", "Museums", "motorcycle"]
    assert [one.likeness.businesses for one in found] == [1, 2, 3]
    assert all(one.challenger_seconds > 0 < one.champion_seconds for one in found)


def test_the_answer_is_the_champions_whatever_the_challenger_says(
    shadowed: Services, client: TestClient
) -> None:
    def answer() -> dict:
        return client.get("/v1/relevance/cafe", params={"query": "astronaut"}).json()

    with_it = answer()
    (one,) = recorded(shadowed, 1)
    assert one.likeness.champion_scores != one.likeness.challenger_scores
    challenge(shadowed, None)
    assert with_it == answer()


def test_a_challenger_without_its_model_fails_and_nobody_notices(
    shadowed: Services, client: TestClient
) -> None:
    def broken(texts: list[str]) -> np.ndarray:
        raise ConfigurationError("the folder of the model is empty")

    challenge(shadowed, challenger_of(shadowed, broken))
    answer = client.get("/v1/relevance/museum", params={"query": "spacecraft lifting off"})
    assert answer.status_code == 200
    assert answer.json()["degraded"] == []
    assert [one.error for one in recorded(shadowed, 1)] == ["Degraded"]


def test_what_is_no_answer_is_not_compared(shadowed: Services, client: TestClient) -> None:
    assert client.get("/v1/relevance/nobody").status_code == 404
    client.get("/v1/relevance/cafe")
    assert len(recorded(shadowed, 1)) == 1


def test_an_application_that_is_started_again_compares_again(shadowed: Services) -> None:
    for count in (1, 2):
        with TestClient(create(lambda: shadowed)) as client:
            client.get("/v1/relevance/cafe")
            assert len(recorded(shadowed, count)) == count
