"""The same graph, with either encoder of pictures and texts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from fastapi.testclient import TestClient

from api.relevancy import NEEDS, router
from api.wiring import Services, application
from models import artefacts
from models.artefacts import default_weights
from pipeline.records import ANY_CATEGORY, ImageState
from tests import tiny_clip
from tests.pictures import encoded
from tests.services.conftest import CATEGORIES, Site

pytestmark = pytest.mark.services

# Nobody is listed under it, so that pictures are scored when it is asked for.
UNLISTED = "Emerald Wallpaper"


@pytest.fixture(params=["conse", "open_clip"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    weights = default_weights()
    if request.param == "open_clip":
        # A folder of its own, so that the text tower is exported by whoever needs it first.
        weights = tmp_path / "models"
        weights.mkdir()
        minilm = artefacts.folder(default_weights(), "minilm")
        (weights / minilm.name).symlink_to(artefacts.ensure(default_weights(), "minilm"))
    site = Site(
        tmp_path,
        JUSTLENS_IMAGE_TEXT_ENCODER=request.param,
        JUSTLENS_TEXT_ENCODER="minilm",
        JUSTLENS_OPEN_CLIP_MODEL=tiny_clip.save(tiny_clip.network(), tmp_path / "network"),
        JUSTLENS_MODEL_DIR=str(weights),
    )
    yield site
    site.close()


def test_photos_go_through_and_are_ranked_for_a_category_nobody_is_listed_under(
    site: Site,
) -> None:
    site.worker()
    photos = (skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket())
    for number, photo in enumerate(photos, start=1):
        site.intake.accept_bytes("shop-1", number, encoded(photo))
    # The export of the text tower may be among what takes its time.
    site.until(lambda: site.states() == {ImageState.DONE: 3}, "three images are done", limit=200)
    is_open_clip = site.settings.image_text_encoder == "open_clip"

    metadata = site.stores.documents.metadata([("shop-1", 1)])["shop-1", 1]
    assert {record.outcome for record in metadata.stages.values()} == {"done"}
    assert (metadata.flags.nsfw is None) == (metadata.measures["nsfw"] is None) != is_open_clip
    assert metadata.one_class is not None
    assert len(metadata.labels) == 10
    shares = [label.probability for label in metadata.labels]
    assert shares == sorted(shares, reverse=True)
    rows = site.stores.documents.relevance(["shop-1"], [ANY_CATEGORY, 1, 2])
    assert len(rows) == 9
    assert all("image" in row.parts for row in rows if row.catid != ANY_CATEGORY)

    services = Services(site.settings.model_copy(update={"open_to": "all"}))
    encoder = services.image_text_encoder
    stored = site.stores.vectors.images(encoder.space, "picture", ["shop-1"])
    assert len(stored) == 3
    app = application("test", "", [router], NEEDS, lambda: services)
    with TestClient(app) as client:
        answer = client.get("/v1/relevance/shop-1", params={"category": UNLISTED}).json()
        listed = client.get("/v1/relevance/shop-1", params={"category": CATEGORIES[0].name}).json()
    assert (answer["degraded"], answer["listed"]) == ([], False)
    assert len(answer["dynamic"]) == len(listed["dynamic"]) == 3
    (wanted,) = encoder.encode_names([UNLISTED])
    classes = encoder.classes()
    # What a picture is compared by: its vector, or the classes that it is a mixture of.
    texts = {
        product_id: vector if classes is None else vector / vector.sum() @ classes
        for (_, product_id), vector in stored.items()
    }
    for picture in answer["dynamic"]:
        expected = float(texts[picture["product_id"]] @ wanted)
        assert picture["why"]["parts"]["image_cosine"] == pytest.approx(expected, abs=1e-4)
    stored_scores = {row.product_id: row.score for row in rows if row.catid == 1}
    assert {p["product_id"]: p["score"] for p in listed["dynamic"]} == pytest.approx(
        stored_scores, abs=1e-3
    )
    assert np.ptp([text @ wanted for text in texts.values()]) > 0
