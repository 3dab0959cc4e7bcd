"""Which models a picture goes through by its type, and what the record says of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.enhancer.faces import FaceRestorer
from pipeline.enhancement import NON_LOCAL_MEANS
from pipeline.imaging import Picture
from pipeline.messages import ImageType
from pipeline.records import CatalogueImage
from pipeline.settings import Settings
from tasks.enhance import Improved, enhancement_model, improve
from tasks.runtime import Runtime
from tests.fast_models import FastEnhancer
from tests.pictures import plain

GENERAL, TEXT, FACES = "fast@1", "letters@1", "negative@1"


class Letters(FastEnhancer):
    """Stands for a network that was trained for PSNR."""

    name = "letters"


class Negative(FaceRestorer):
    """A face restorer that leaves a mark."""

    name = "negative"

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [255 - image for image in images]

    def _load(self) -> Any:
        return None


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(
        Settings(
            data_dir=tmp_path,
            enhancer="tests.fast_models:FastEnhancer",
            text_enhancer=f"{__name__}:Letters",
            face_restorer=f"{__name__}:Negative",
        )
    )


def with_settings(runtime: Runtime, **changes: object) -> Runtime:
    return Runtime(runtime.settings.model_copy(update=changes))


def run(
    runtime: Runtime, image_type: ImageType, rgb: np.ndarray | None = None, *, force: bool = False
) -> Improved:
    return improve(
        Picture(plain() if rgb is None else rgb),
        image_type,
        runtime,
        force=force,
        upscale=lambda kind, rgb, scale: runtime.model(kind)([rgb], scale)[0],
    )


def test_each_type_goes_through_its_own_models(runtime: Runtime) -> None:
    assert run(runtime, "general").model == GENERAL
    assert run(runtime, "text").model == TEXT
    face = run(runtime, "face")
    assert face.model == f"{GENERAL}, {FACES}"
    assert np.array_equal(face.picture.rgb, 255 - run(runtime, "general").picture.rgb)
    assert "face restorer" in face.choice.reason


def test_without_models_of_their_own_all_types_are_general(runtime: Runtime) -> None:
    bare = with_settings(runtime, text_enhancer="", face_restorer="")
    for image_type in ("general", "text", "face"):
        assert run(bare, image_type).model == GENERAL  # type: ignore[arg-type]
    assert "no text enhancer is configured" in run(bare, "text").choice.reason


def test_the_record_names_all_that_a_noisy_picture_went_through(runtime: Runtime) -> None:
    noise = np.random.default_rng(0).normal(128, 30, (48, 64, 1)).repeat(3, axis=2)
    noisy = np.clip(noise, 0, 255).astype(np.uint8)
    assert run(runtime, "face", noisy).model == f"{NON_LOCAL_MEANS}, {GENERAL}, {FACES}"
    large = np.clip(np.tile(noise, (16, 24, 1)), 0, 255).astype(np.uint8)
    assert run(runtime, "general", large).model == NON_LOCAL_MEANS


def test_a_picture_that_is_kept_went_through_nothing(runtime: Runtime) -> None:
    kept = run(runtime, "face", plain(width=1280, height=720))
    assert (kept.plan.action, kept.model) == ("kept", "")


def test_whatever_changes_the_result_changes_the_key(runtime: Runtime) -> None:
    def key(here: Runtime, **changes: object) -> str:
        return enhancement_model(
            here, CatalogueImage(docid="shop-1", product_id=1).model_copy(update=changes)
        )

    keys = {
        key(runtime),
        key(runtime, force=True),
        key(runtime, image_type="text"),
        key(runtime, image_type="face"),
        key(with_settings(runtime, face_restorer=""), image_type="face"),
        key(with_settings(runtime, denoise_strength=0.6)),
        key(with_settings(runtime, noise_limit=13.0)),
    }
    assert len(keys) == 7
    # What it is not used for changes nothing.
    assert key(with_settings(runtime, face_restorer="")) == key(runtime)
