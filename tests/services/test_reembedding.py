"""``justlens retrain reembed`` killed in the middle: it goes on where it was."""

import json
import signal

import numpy as np
import pytest

from cli import main
from models.export import sentence_encoder
from pipeline.queues import Stage
from pipeline.records import (
    ANY_CATEGORY,
    Card,
    CatalogueImage,
    ImageMetadata,
    ImageRelevance,
    ImageState,
)
from pipeline.retraining.registry import Candidate, open_registry
from pipeline.stores.documents import WholeImage
from pipeline.text_spaces import text_spaces
from tests import tiny_bert
from tests.fast_models import DIMENSION, FastImageText
from tests.processes import Command
from tests.services.conftest import LIMIT, Site

pytestmark = pytest.mark.services

DOCID = "shop-1"
BEFORE = range(1, 801)
"""Images that are there when the re-embedding begins."""
MEANWHILE = range(1001, 1004)


def test_goes_on_behind_a_kill_and_misses_no_image_that_came_meanwhile(site: Site) -> None:
    register_challenger(site)
    site.stores.documents.add_images([done_image(number) for number in BEFORE])
    for number in BEFORE:
        picture = np.random.default_rng(number).random(DIMENSION)
        site.stores.vectors.save_image(FastImageText.space, "picture", DOCID, number, picture)
    site.worker()

    begun = reembed(site)
    site.until(lambda: len(in_challenger_space(site)) > len(BEFORE) // 4, "a part is written")
    begun.send_signal(signal.SIGKILL)
    assert begun.wait(LIMIT) == -signal.SIGKILL
    done = in_challenger_space(site)
    assert len(done) < len(BEFORE), "the kill came too late"

    site.take_in(len(MEANWHILE), first=MEANWHILE[0])
    site.until(lambda: in_challenger_space(site) == done | {*MEANWHILE}, "they are written, too")
    assert scored(site, "") == {*BEFORE, *MEANWHILE}

    assert reembed(site).wait(LIMIT) == 0, site.logs()
    answer = json.loads((site.folder / "reembed.log").read_text().splitlines()[-1])
    assert answer["images"] == len(BEFORE) - len(done)
    assert in_challenger_space(site) == {*BEFORE, *MEANWHILE}
    rows = site.stores.documents.relevance([DOCID], [1, 2], answer["space"])
    assert len(rows) == 2 * (len(BEFORE) + len(MEANWHILE))
    described = site.stores.vectors.images(answer["space"], "description", [DOCID])
    assert {product_id for _, product_id in described} == {*BEFORE, *MEANWHILE}


def register_challenger(site: Site) -> None:
    """A tiny model in the registry."""
    source = tiny_bert.save(site.folder / "tiny" / "source")
    sentence_encoder(source, site.folder / "tiny" / "onnx")
    registry = open_registry(site.settings)
    version = registry.add(Candidate("tiny", source, site.folder / "tiny" / "onnx"))
    registry.override(version.number, "Asha", "the first one")


def done_image(number: int) -> WholeImage:
    """What the stages leave of one."""
    key = {"docid": DOCID, "product_id": number, "generation": 1}
    rows = [
        ImageRelevance(catid=catid, score=score, card=Card(url=f"/{number}.png"), **key)
        for catid, score in ((ANY_CATEGORY, None), (1, 0.5), (2, 0.5))
    ]
    metadata = ImageMetadata(
        description=f"A picture of the colour {number}",
        models={Stage.TAG.value: FastImageText.name},
        **key,
    )
    return WholeImage(CatalogueImage(state=ImageState.DONE, **key), metadata, rows)


def reembed(site: Site) -> Command:
    """The bare command, in a process of its own."""
    command = ["justlens", "retrain", "reembed", "--json"]
    process = Command(main, command, site.environment, site.folder / "reembed.log")
    site.processes.append(process)
    return process


def in_challenger_space(site: Site) -> set[int]:
    """The product ids of the images that are written there."""
    name = text_spaces(site.stores.documents).challenger
    return scored(site, name) if name else set()


def scored(site: Site, space: str) -> set[int]:
    """The product ids of the images with scores in a space."""
    keys = [(DOCID, number) for number in (*BEFORE, *MEANWHILE)]
    return {product_id for _, product_id in site.stores.documents.scored_images(keys, space)}
