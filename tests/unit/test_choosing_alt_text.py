"""The stage that chooses an alt text."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.messages import ImageMessage
from pipeline.records import (
    ANY_CATEGORY,
    AltSource,
    AltTag,
    Business,
    Card,
    CatalogueImage,
    ImageRelevance,
    ImageState,
)
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tasks.alt_text import AltText
from tasks.right_of_way import RightOfWay
from tasks.stage import Run

KEY = ("shop", 7)


class LikesLongTexts:
    """An encoder that finds a text the more like a picture the longer it is."""

    identity = space = "length"

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text) / 200, 0.0] for text in texts])

    def among_texts(self, picture: np.ndarray) -> np.ndarray:
        return picture


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    stores = open_stores(Settings(data_dir=tmp_path))
    stores.documents.save_businesses([Business(docid="shop", name="Corner Café")])
    stores.documents.accept_image(CatalogueImage(docid="shop", product_id=7, sha256="a"))
    stores.vectors.save_image("length", "picture", *KEY, np.array([1.0, 0.0], np.float32))
    card = Card(url="/a.jpg")
    row = ImageRelevance(docid="shop", catid=ANY_CATEGORY, product_id=7, generation=1, card=card)
    stores.documents.save_relevance([row])
    return stores


def run(stores: Stores, meanwhile: Callable[[], object] = bool, **found: Any) -> None:
    """The stage on what was found about the picture, by the stage that embeds it, too."""
    stores.documents.patch_metadata(*KEY, 1, {"models.image_tag_process": "length", **found})
    image = stores.documents.image(*KEY)
    assert image is not None
    here: Any = SimpleNamespace(
        stores=stores, model=lambda kind: LikesLongTexts(), right_of_way=RightOfWay()
    )
    message = ImageMessage(docid="shop", product_id=7, generation=1)
    one = Run(message, image, stores.documents.metadata([KEY]).get(KEY), here)
    AltText().work(one)
    meanwhile()
    assert one.write()
    AltText().recorded(one)


def shown(stores: Stores) -> tuple[str, str, float]:
    """What the pages say, and what ``alttags`` says with its score."""
    (row,) = stores.documents.relevance(["shop"], [ANY_CATEGORY])
    stands = stores.directory.alt_text(*KEY)
    assert stands is not None
    return row.card.alt, stands.alttag, stands.score


def test_of_the_texts_that_keep_the_rules_the_one_most_like_the_picture_is_chosen(
    stores: Stores,
) -> None:
    labels = [{"name": "hand blower, blow dryer, blow drier, hair dryer", "probability": 0.6}]
    suggested = ["a photo of a red dryer", "Dryer, hair dryer, red dryer, drier, blow dryer, salon"]
    run(stores, alt_candidates=suggested, labels=labels)
    text = "Hair dryer at Corner Café"
    assert shown(stores) == (text, text, len(text) / 200)
    image = stores.documents.image(*KEY)
    assert image is not None and image.state is ImageState.DONE


def test_a_picture_of_which_nothing_is_known_is_given_a_text_that_keeps_the_rules(
    stores: Stores,
) -> None:
    run(stores)
    assert shown(stores)[0] == "Seen at Corner Café"


MANUAL = AltTag(
    docid="shop",
    product_id=7,
    alttag="A dryer",
    score=0.0,
    source=AltSource.MANUAL,
    generation=1,
)


def test_what_a_person_wrote_stands_and_is_brought_back_to_the_pages(stores: Stores) -> None:
    stores.directory.save_alt_text(MANUAL)
    run(stores, alt_candidates=["A red hair dryer before a mirror"])
    assert shown(stores) == ("A dryer", "A dryer", 0.0)


def test_what_a_person_writes_while_the_stage_runs_is_on_the_pages_in_the_end(
    stores: Stores,
) -> None:
    run(
        stores,
        lambda: stores.directory.save_alt_text(MANUAL),
        alt_candidates=["A red hair dryer before a mirror"],
    )
    assert shown(stores) == ("A dryer", "A dryer", 0.0)
    assert stores.documents.metadata([KEY])[KEY].alt_text == "A dryer"
