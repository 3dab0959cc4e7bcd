"""What is found in pixels is kept under the identity of the model that found it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from models.quality import Quality, QualityAssessor
from pipeline.imaging import Photo, Picture, perceptual_hash
from pipeline.ingest import Intake
from pipeline.messages import ImageMessage
from pipeline.queues import Stage
from pipeline.records import Business, CatalogueImage, Category
from pipeline.settings import Settings
from tasks.pixels import Pixels
from tasks.runtime import Runtime
from tasks.stage import Run
from tasks.tag import Tag
from tasks.worker import MODELS
from tests.fast_models import ENVIRONMENT
from tests.pictures import encoded, plain

KEY = ("shop", 7)
FLAGS = ("blurred", "nearly_blank", "screenshot", "collage")
PICTURE = plain((40, 160, 90))


class Learnt(QualityAssessor):
    """Has a score for a picture, and nothing to say about it."""

    name = "learnt"

    def __call__(self, image: np.ndarray) -> Quality:
        assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.uint8)
        return Quality(score=61.5)

    def _load(self) -> None:
        return None


@pytest.fixture(autouse=True)
def fast_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def run(folder: Path, **settings: str) -> Run:
    """A run of a stage for the photo of a shop, which an earlier one has embedded."""
    here = Runtime(Settings(data_dir=folder, **settings))
    stores = here.stores
    stores.prepare()
    shop, categories = Business(docid="shop", name="Paint"), [Category(catid=1, name="Green")]
    Intake(stores, here.settings, lambda _image, _start: None).save_business(shop, categories)
    stores.objects.put("originals/a.png", encoded(PICTURE))
    row = CatalogueImage(docid="shop", product_id=7, sha256="a", original_key="originals/a.png")
    image, _ = stores.documents.accept_image(row)
    (embedding,) = here.model("image_text")([PICTURE])
    labels = {
        "vector": embedding.vector.tolist(),
        "labels": [asdict(label) for label in embedding.labels],
    }
    stores.documents.save_pixel_fact("a", "labels", here.model("image_text").identity, labels)
    message = ImageMessage(docid="shop", product_id=7, generation=image.generation)
    return Run(message, image, None, here)


def stored(one: Run) -> dict[str, Any]:
    """What is kept of the measures, by the model that found it."""
    facts = one.runtime.stores.documents.pixel_facts("a")
    return {found.model: found.fact for found in facts if found.kind == "measures"}


def test_quality_is_kept_under_the_name_that_earlier_releases_gave_it(tmp_path: Path) -> None:
    one = run(tmp_path)
    with Pixels(one) as pixels:
        found = pixels.measures()
    one.write()
    assert stored(one) == {"no-reference@2": found}
    assert list(found) == ["score", "parts", "flags", "measures", "perceptual_hash"]
    assert list(found["flags"]) == ["blurred", "nearly_blank", "screenshot", "collage"]
    assert found["perceptual_hash"] == perceptual_hash(PICTURE)


def test_a_photo_that_was_judged_before_is_not_judged_again(tmp_path: Path) -> None:
    one = run(tmp_path)
    known = {"score": 12.0, "parts": {}, "flags": {}, "measures": {}, "perceptual_hash": "0f" * 8}
    one.runtime.stores.documents.save_pixel_fact("a", "measures", "no-reference@2", known)
    with Pixels(one) as pixels:
        assert pixels.measures() == known
        assert "rgb" not in vars(pixels)


def test_photos_of_different_runs_are_decoded_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, decode = Barrier(2), Photo.decode

    def met(photo: Photo) -> Picture:
        both.wait(timeout=10)
        return decode(photo)

    monkeypatch.setattr(Photo, "decode", met)
    runs = [Pixels(run(tmp_path / name)) for name in ("one", "other")]
    with ThreadPoolExecutor(2) as threads:
        for rgb in threads.map(lambda pixels: pixels.rgb, runs):
            assert np.array_equal(rgb, PICTURE)


def test_an_operators_model_takes_the_place_of_all_that_another_has_said(tmp_path: Path) -> None:
    before = run(tmp_path)
    Tag().work(before)
    before.write()
    one = replace(before, runtime=run(tmp_path, quality=f"{__name__}:Learnt").runtime)
    assert Tag().inputs(one) != Tag().inputs(before)
    Tag().work(one)
    one.write()
    metadata = one.runtime.stores.documents.metadata([KEY])[KEY]
    assert (metadata.quality, metadata.quality_parts) == (61.5, {})
    assert metadata.flags.model_dump(include=set(FLAGS)) == dict.fromkeys(FLAGS)
    assert set(metadata.measures.values()) == {None}
    assert metadata.perceptual_hash == perceptual_hash(PICTURE)
    assert set(stored(one)) == {"no-reference@2", "learnt@1"}


def test_the_worker_that_judges_photos_loads_the_model_before(tmp_path: Path) -> None:
    assert "quality" in MODELS[Stage.TAG.value]
    assert run(tmp_path).runtime.model("quality").identity == "no-reference@2"
