"""The catalogue rules."""

import pytest

from pipeline.catalogue import WORDS, Reason, contract_reasons, invalid_reasons
from pipeline.records import CatalogueImage, Contract, Flags, ImageMetadata, ImageState

NOW = 1_700_000_000.0


def image(**changes: object) -> CatalogueImage:
    return CatalogueImage(
        **{
            "docid": "shop",
            "product_id": 1,
            "state": ImageState.DONE,
            "width": 640,
            "height": 480,
            **changes,
        }
    )


def metadata(**flags: bool) -> ImageMetadata:
    return ImageMetadata(
        docid="shop", product_id=1, generation=1, quality=5.0, flags=Flags(**flags)
    )


def test_an_ordinary_photo_of_an_active_business_is_valid() -> None:
    assert invalid_reasons(image(), metadata(), Contract(), NOW) == []


def test_a_poor_photo_is_ranked_low_but_not_hidden() -> None:
    harmless = metadata(
        text_heavy=True, watermarked=True, contains_people=True, collage=True, shows_name=False
    )
    assert invalid_reasons(image(width=101, height=150), harmless, Contract(), NOW) == []


def test_what_is_not_known_yet_is_not_held_against_a_photo() -> None:
    fresh = image(width=0, height=0, state=ImageState.QUEUED)
    assert invalid_reasons(fresh, None, Contract(), NOW) == []


@pytest.mark.parametrize("flag", ["blurred", "nearly_blank", "screenshot", "nsfw"])
def test_a_flag_hides_a_photo_and_names_itself(flag: str) -> None:
    assert invalid_reasons(image(), metadata(**{flag: True}), Contract(), NOW) == [flag]


@pytest.mark.parametrize(("width", "height"), [(99, 2000), (2000, 99), (16, 16)])
def test_a_photo_whose_shorter_side_is_tiny_is_hidden(width: int, height: int) -> None:
    small = image(width=width, height=height)
    assert invalid_reasons(small, metadata(), Contract(), NOW) == ["too_small"]


def test_a_contract_ends_at_its_very_second() -> None:
    contract = Contract(valid_until=NOW)
    assert contract_reasons(contract, NOW - 1) == []
    assert contract_reasons(contract, NOW) == [Reason.CONTRACT_EXPIRED]


@pytest.mark.parametrize(("status", "active"), [("Active ", True), ("suspended", False)])
def test_only_an_active_contract_shows_photos(status: str, active: bool) -> None:
    assert (contract_reasons(Contract(status=status), NOW) == []) is active


def test_all_reasons_are_given_not_only_the_first() -> None:
    tombstone = image(state=ImageState.DELETED, width=20, height=20)
    ended = Contract(status="ended", valid_until=1.0)
    assert invalid_reasons(tombstone, metadata(nsfw=True), ended, NOW) == [
        "contract_not_active",
        "contract_expired",
        "deleted",
        "too_small",
        "nsfw",
    ]


def test_a_photo_that_no_one_could_look_at_is_hidden() -> None:
    failed = image(state=ImageState.FAILED, width=0, height=0)
    assert invalid_reasons(failed, None, Contract(), NOW) == ["failed"]


def test_a_photo_whose_later_stage_failed_is_still_shown() -> None:
    assert invalid_reasons(image(state=ImageState.FAILED), metadata(), Contract(), NOW) == []


def test_every_reason_has_its_words() -> None:
    assert set(WORDS) == set(Reason)
