"""Batches in real workers: who shares a forward pass, who fails, what a stop leaves behind."""

import signal

import cv2
import numpy as np
import pytest
import skimage.data

import models
from pipeline.enhancement import carry_out, plan
from pipeline.imaging import Picture, decode
from pipeline.queues import GPU_QUEUES, QUEUES, Stage
from pipeline.records import Enhancement, ImageState
from tests.fast_models import RAISES
from tests.pictures import encoded, plain
from tests.services.conftest import Site

pytestmark = pytest.mark.services

BATCHING = {"JUSTLENS_BATCH_SIZE": "8", "JUSTLENS_BATCH_WAIT": "1"}


def passes(site: Site) -> list[int]:
    """How many images each forward pass so far had."""
    lines = [line.split() for line in site.journal_lines()]
    return [int(words[1]) for words in lines if words[0] == "pass"]


def enhancement(site: Site, number: int) -> Enhancement:
    found = site.stores.documents.metadata([("shop-1", number)])["shop-1", number].enhancement
    assert found is not None
    return found


def test_a_worker_that_is_stopped_amid_batches_loses_no_message(any_site: Site) -> None:
    site = any_site
    count = 40
    site.take_in(count)
    first = site.worker(*GPU_QUEUES, name="first", TEST_PASS_SECONDS="0.5", **BATCHING)
    site.until(lambda: len(passes(site)) >= 2, "two forward passes have begun")
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    begun = sum(passes(site))
    assert 0 < begun < count, "the stop came amid the work"
    site.worker(name="second", **BATCHING)
    site.until(lambda: site.states() == {ImageState.DONE: count}, "all images are done")
    # What had begun was finished before the stop, and is not done again.
    assert sum(passes(site)) == count
    assert max(passes(site)) > 1
    assert not site.stores.documents.dead_letters()


def test_an_image_that_comes_alone_waits_for_nobody(site: Site) -> None:
    site.take_in(1)
    site.worker(JUSTLENS_BATCH_SIZE="8", JUSTLENS_BATCH_WAIT="3600")
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "the image is done")
    assert passes(site) == [1]


def test_one_image_of_a_batch_fails_and_each_other_gets_its_own_result(site: Site) -> None:
    pictures = {
        number: plain((20 * number, 160, 60), width=64, height=48, seed=number)
        for number in range(1, 8)
    }
    for number, picture in pictures.items():
        site.intake.accept_bytes("shop-1", number, encoded(picture))
    site.intake.accept_bytes("shop-1", 8, encoded(plain(RAISES)))
    site.worker(**BATCHING)
    site.until(lambda: site.states() == {ImageState.DONE: 8}, "all are through")
    assert max(passes(site)) > 1
    (letter,) = site.stores.documents.dead_letters()
    assert (letter.product_id, letter.queue) == (8, Stage.ENHANCE.value)
    assert enhancement(site, 8).action == "failed"
    for number, picture in pictures.items():
        found = enhancement(site, number)
        result = decode(site.stores.objects.get(found.key), 10**7).rgb
        assert (found.action, result.shape) == ("enhanced", (720, 960, 3))
        assert np.abs(result[400:].mean(axis=(0, 1)) - picture[-1, -1]).max() < 4


def test_mixed_sizes_with_a_corrupt_image_come_out_as_if_alone(site: Site) -> None:
    photo = skimage.data.chelsea()
    sizes = {1: (48, 64), 2: (60, 80), 3: (64, 48), 4: (48, 64), 5: (40, 60)}
    photos = {
        number: np.ascontiguousarray(photo[50 * number :][:height, 100 : 100 + width])
        for number, (height, width) in sizes.items()
    }
    for number, rgb in photos.items():
        site.intake.accept_bytes("shop-1", number, encoded(rgb))
    whole = encoded(photo[:100, :150], "JPEG")
    site.intake.accept_bytes("shop-1", 6, whole[: len(whole) // 2])
    site.worker(JUSTLENS_ENHANCER="compact", **BATCHING)
    site.until(
        lambda: site.states() == {ImageState.DONE: 5, ImageState.FAILED: 1}, "all are through"
    )
    (letter,) = site.stores.documents.dead_letters()
    assert (letter.product_id, letter.exception) == (6, "UndecodableImage")
    compact = models.create("enhancer", "compact", weights=site.settings.model_dir, threads=1)
    for number, rgb in photos.items():
        found = enhancement(site, number)
        assert found.model.endswith(compact.identity)
        decision = plan(
            rgb.shape[1],
            rgb.shape[0],
            0.0,
            force=False,
            scales=compact.scales,
            settings=site.settings,
        )
        alone = carry_out(decision, Picture(rgb), lambda rgb, scale: compact([rgb], scale)[0])
        result = decode(site.stores.objects.get(found.key), 10**7).rgb
        # What JPEG adds is all that differs.
        assert cv2.PSNR(result, alone.rgb) > 38


def encodings(site: Site) -> list[int]:
    """How many images each pass of the image-text encoder so far had."""
    lines = [line.split() for line in site.journal_lines()]
    return [int(words[1]) for words in lines if words[0] == "encoded"]


def test_pictures_of_many_messages_are_encoded_in_one_pass_and_each_keeps_its_own(
    site: Site,
) -> None:
    shared = {"JUSTLENS_IMAGE_TEXT_BATCH_SIZE": "4", "JUSTLENS_BATCH_WAIT": "20"}
    colours = {number: (30, 200, 30) if number % 2 else (30, 30, 200) for number in range(1, 9)}
    for number, colour in colours.items():
        site.intake.accept_bytes("shop-1", number, encoded(plain(colour, seed=number)))
    # Whoever describes would compute the same, and share it.
    site.worker(Stage.ENHANCE.value, Stage.UPDATE.value, name="first")
    site.worker(Stage.TAG.value, name="tag", TEST_ENCODING_SECONDS="1", **shared)
    site.until(lambda: sum(encodings(site)) == 8, "all are encoded")
    # Of the four slots the second of two passes has all that did not get into the first.
    assert sum(encodings(site)[:2]) >= 4
    assert max(encodings(site)) > 1
    site.worker(*QUEUES, name="rest")
    site.until(lambda: site.states() == {ImageState.DONE: 8}, "all images are done")
    known = site.stores.documents.metadata([("shop-1", number) for number in colours])
    labels = {number: known["shop-1", number].labels[0].name for number in colours}
    assert labels == {number: "green" if number % 2 else "blue" for number in colours}


def test_a_picture_that_comes_alone_is_encoded_at_once(site: Site) -> None:
    site.take_in(1)
    site.worker(JUSTLENS_IMAGE_TEXT_BATCH_SIZE="8", JUSTLENS_BATCH_WAIT="3600")
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "the image is done")
    # Those who tag and who describe may both have asked.
    assert sum(encodings(site)) in (1, 2)
