"""The catalogue rules."""

import pytest

from pipeline.catalogue import (
    WORDS,
    Reason,
    Rules,
    contract_reasons,
    image_findings,
    in_words,
)
from pipeline.records import CatalogueImage, Contract, Flags, ImageMetadata, ImageState

NOW = 1_700_000_000.0
RULES = Rules()


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


def findings(
    of: CatalogueImage, known: ImageMetadata | None = None, rules: Rules = RULES
) -> list[str]:
    return [str(reason) for reason in image_findings(of, known, rules)]


def test_an_ordinary_photo_of_an_active_business_is_valid() -> None:
    assert findings(image(), metadata()) == []
    assert contract_reasons(Contract(), NOW) == []
    assert not RULES.hides([])


def test_a_poor_photo_is_noted_and_ranked_low_but_not_hidden() -> None:
    harmless = metadata(
        text_heavy=True, watermarked=True, contains_people=True, collage=True, shows_name=False
    ).model_copy(update={"measures": {"text": 0.9}})
    found = findings(image(width=101, height=150), harmless)
    assert found == ["text_heavy", "watermarked", "collage", "contains_people"]
    assert not RULES.hides(found)


def test_what_is_not_known_yet_is_not_held_against_a_photo() -> None:
    fresh = image(width=0, height=0, state=ImageState.QUEUED)
    assert findings(fresh) == []
    assert findings(fresh, metadata().model_copy(update={"measures": {"text": None}})) == []


@pytest.mark.parametrize("flag", ["blurred", "nearly_blank", "screenshot", "nsfw"])
def test_a_flag_hides_a_photo_and_names_itself(flag: str) -> None:
    assert findings(image(), metadata(**{flag: True})) == [flag]
    assert RULES.hides([flag])


@pytest.mark.parametrize(("width", "height"), [(99, 2000), (2000, 99), (16, 16)])
def test_a_photo_whose_shorter_side_is_tiny_is_hidden(width: int, height: int) -> None:
    found = findings(image(width=width, height=height), metadata())
    assert found == ["too_small"]
    assert RULES.hides(found)


def test_how_small_and_how_full_of_text_is_too_much_is_for_the_rules_to_say() -> None:
    rules = Rules(least_side=481, most_text=0.1)
    small = metadata().model_copy(update={"measures": {"text": 0.1}})
    assert findings(image(), small, rules) == ["too_small", "text_heavy"]
    assert findings(image(), small) == []
    assert "481 pixels" in in_words(Reason.TOO_SMALL, rules)
    assert "10%" in in_words(Reason.TEXT_HEAVY, rules)


def test_the_rules_say_what_hides_but_for_what_hides_under_any() -> None:
    rules = Rules(hiding=frozenset({Reason.WATERMARKED}))
    assert rules.hides(["blurred", "watermarked"])
    assert not rules.hides(["blurred", "too_small"])
    for reason in ("contract_not_active", "contract_expired", "deleted", "failed"):
        assert Rules(hiding=frozenset()).hides([reason])


def test_a_contract_ends_at_its_very_second() -> None:
    contract = Contract(valid_until=NOW)
    assert contract_reasons(contract, NOW - 1) == []
    assert contract_reasons(contract, NOW) == [Reason.CONTRACT_EXPIRED]


@pytest.mark.parametrize(("status", "active"), [("Active ", True), ("suspended", False)])
def test_only_an_active_contract_shows_photos(status: str, active: bool) -> None:
    assert (contract_reasons(Contract(status=status), NOW) == []) is active


def test_all_that_is_found_is_given_not_only_the_first() -> None:
    tombstone = image(state=ImageState.DELETED, width=20, height=20)
    assert findings(tombstone, metadata(nsfw=True)) == ["deleted", "too_small", "nsfw"]
    ended = Contract(status="ended", valid_until=1.0)
    assert contract_reasons(ended, NOW) == ["contract_not_active", "contract_expired"]


def test_a_photo_that_no_one_could_look_at_is_hidden() -> None:
    failed = image(state=ImageState.FAILED, width=0, height=0)
    assert findings(failed) == ["failed"]


def test_a_photo_whose_later_stage_failed_is_still_shown() -> None:
    assert findings(image(state=ImageState.FAILED), metadata()) == []


def test_everything_that_can_be_found_has_its_words() -> None:
    assert set(WORDS) == set(Reason)
    assert all(in_words(reason, RULES) for reason in Reason)
