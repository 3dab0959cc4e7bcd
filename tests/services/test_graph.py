"""The whole graph in real worker processes on a real broker."""

import pytest

from pipeline.errors import BrokerUnavailable
from pipeline.ingest import Intake
from pipeline.queues import Stage
from pipeline.records import (
    ANY_CATEGORY,
    AltSource,
    CatalogueImage,
    ImageMetadata,
    ImageState,
    ReviewState,
)
from tests.pictures import green
from tests.services.conftest import Site

pytestmark = pytest.mark.services


@pytest.fixture
def site(site_of_each_profile: Site) -> Site:
    return site_of_each_profile


def test_a_photo_goes_through_all_stages_and_comes_out_ranked(site: Site) -> None:
    site.worker()
    site.take_in(3)
    site.until(lambda: site.states() == {ImageState.DONE: 3}, "three images are done")

    def metadata_of_one() -> ImageMetadata:
        return site.stores.documents.metadata([("shop-1", 1)])["shop-1", 1]

    # Where a row and its metadata are two documents, the record of the last stage comes last.
    site.until(lambda: len(metadata_of_one().stages) == len(Stage), "all stages are recorded")
    metadata = metadata_of_one()
    assert sorted(metadata.stages) == sorted(stage.value for stage in Stage)
    assert {record.outcome for record in metadata.stages.values()} == {"done"}
    assert (metadata.flags.blurred, metadata.flags.watermarked) == (False, False)
    assert (metadata.flags.contains_people, metadata.flags.nsfw) == (None, None)
    assert {"edge_width", "seam", "text", "watermark", "people"} <= metadata.measures.keys()
    assert metadata.enhancement is not None
    assert (metadata.enhancement.width, metadata.enhancement.height) == (960, 720)
    assert site.stores.objects.exists(metadata.enhancement.key)

    rows = site.stores.documents.relevance(["shop-1"], [ANY_CATEGORY, 1, 2])
    assert len(rows) == 9
    assert all(row.card.alt == "A green picture at The Paint Shop" for row in rows)
    scores = {row.catid: row.score for row in rows if row.product_id == 1}
    assert scores[ANY_CATEGORY] is None
    assert scores[2] > scores[1]
    assert site.stores.directory.alt_text("shop-1", 1).alttag.startswith("A green")


def test_a_persons_alt_text_outlives_runs_and_another_photo_opens_it_for_review(
    site: Site,
) -> None:
    site.worker()
    site.take_in(1)
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "the image is done")
    written = site.stores.directory.alt_text("shop-1", 1).model_copy(
        update={
            "alttag": "Wet paint",
            "source": AltSource.MANUAL,
            "review_state": ReviewState.APPROVED,
        }
    )
    site.stores.directory.save_alt_text(written)
    image = site.stores.documents.image("shop-1", 1)
    site.intake.replay("shop-1", 1, image.generation, Stage.ENHANCE)
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "it has gone through again")
    assert site.stores.directory.alt_text("shop-1", 1) == written

    site.intake.accept_bytes("shop-1", 1, green(7))
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "another photo is done")
    stands = site.stores.directory.alt_text("shop-1", 1)
    assert (stands.alttag, stands.source) == ("Wet paint", AltSource.MANUAL)
    assert (stands.review_state, stands.generation) == (ReviewState.OPEN, 2)
    rows = site.stores.documents.relevance(["shop-1"], [ANY_CATEGORY, 1, 2])
    assert {row.card.alt for row in rows} == {"Wet paint"}
    assert site.stores.documents.metadata([("shop-1", 1)])["shop-1", 1].alt_text == "Wet paint"


def test_a_row_whose_message_was_never_sent_is_sent_by_the_reconciler(site: Site) -> None:
    def unreachable(image: CatalogueImage, start: Stage) -> None:
        raise BrokerUnavailable("no broker")

    intake = Intake(site.stores, site.settings, unreachable)
    for number in (1, 2):
        with pytest.raises(BrokerUnavailable):
            intake.accept_bytes("shop-1", number, green(number))
    assert site.states() == {ImageState.ACCEPTED: 2}
    site.worker()
    site.beat()
    site.until(lambda: site.states() == {ImageState.DONE: 2}, "the reconciler has sent them")
