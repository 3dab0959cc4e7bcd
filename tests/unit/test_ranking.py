"""Which pictures come first, and why."""

import random
from dataclasses import dataclass

import pytest

from pipeline.looks import encoded
from pipeline.ranking import Asked, Ranking, Wanted, rank
from pipeline.records import Card
from pipeline.settings import Settings
from pipeline.stores.page_images import PageImage, PageImages, PageScores

SETTINGS = Settings(weight_relevance=0.9, weight_quality=0.1, carousel_size=4, duplicate_bits=6)

CAFES, BARS = 7, 8
CAFE = Wanted("Cafés", CAFES)
BAR = Wanted("Bars", BARS)

# Far from each other: 32 of 64 bits differ between any two (rows of a Hadamard matrix).
HASHES = [
    "0000000000000000",
    "ffffffff00000000",
    "ffff0000ffff0000",
    "ff00ff00ff00ff00",
    "f0f0f0f0f0f0f0f0",
    "cccccccccccccccc",
    "aaaaaaaaaaaaaaaa",
]


@dataclass
class Seen:
    """An image, and its scores by category."""

    image: PageImage
    scores: dict[int, tuple[float | None, dict[str, float]]]


def image(
    product_id: int,
    *,
    quality: float = 50.0,
    one_class: bool | None = None,
    looks: str = "",
    shows: str = "",
    invalid: tuple[str, ...] = (),
    enhanced: bool | str = False,
    parts: dict[str, float] | None = None,
    **scores: float | None,
) -> Seen:
    """One image with its scores (``cafes=``, ``bars=``); ``looks`` and ``shows``: hex digits."""
    url = f"/{product_id}-enhanced.jpg" if enhanced is True else enhanced or ""
    card = Card(
        url=f"/{product_id}.jpg",
        enhanced_url=url,
        width=320,
        height=240,
        enhanced_width=960 if enhanced else 0,
        enhanced_height=720 if enhanced else 0,
        alt=f"Photo {product_id}",
        perceptual_hash=looks,
        signature=shows,
        invalid=list(invalid),
    )
    catids = {"cafes": CAFES, "bars": BARS}
    return Seen(
        PageImage(
            product_id,
            quality,
            one_class,
            " ".join(invalid),
            encoded(looks, shows),
            card.model_dump(),
        ),
        {
            catids[name]: (score, parts or {"image": score, "image_cosine": 0.4})
            for name, score in scores.items()
        },
    )


def ranked(
    *images: Seen,
    wanted: Wanted = CAFE,
    hot: Wanted = CAFE,
    limit: int = 10,
    settings: Settings = SETTINGS,
) -> Ranking:
    business = PageImages.of(seen.image for seen in images)
    for seen in images:
        for catid, (value, parts) in seen.scores.items():
            scores = business.scores.setdefault(catid, PageScores())
            scores.values[seen.image.product_id] = value
            scores.parts[seen.image.product_id] = parts
    (ranking,) = rank([Asked(business, hot, wanted)], list, settings, limit)
    return ranking


def ids(ranking: Ranking) -> list[int]:
    return [picture.product_id for picture in ranking.dynamic]


def test_scored_images_go_by_nine_parts_relevance_and_one_part_quality() -> None:
    ranking = ranked(
        image(1, cafes=0.50, quality=100),  # 0.55
        image(2, cafes=0.60, quality=0),  # 0.54
        image(3, cafes=0.70, quality=0),  # 0.63
    )
    assert ids(ranking) == [3, 1, 2]
    assert ranking.source == "scores"
    assert [picture.why.value for picture in ranking.dynamic] == pytest.approx([0.63, 0.55, 0.54])


def test_unscored_images_follow_by_quality_and_only_if_flagged() -> None:
    ranking = ranked(
        image(1, cafes=0.01, quality=1),
        image(2, one_class=True, quality=40),
        image(3, one_class=True, quality=99),
        image(4, one_class=False, quality=100),
        image(5, one_class=None, quality=100),
    )
    assert ids(ranking) == [1, 3, 2]
    assert ranking.source == "mixed"
    assert [picture.why.rule for picture in ranking.dynamic] == ["scores", "rule_set", "rule_set"]


def test_a_low_score_is_a_score_and_is_not_replaced_by_the_flag() -> None:
    ranking = ranked(image(1, cafes=0.0, one_class=True, quality=100), image(2, cafes=0.2))
    assert ids(ranking) == [2, 1]
    assert ranking.source == "scores"


def test_without_any_score_the_rule_set_decides_alone() -> None:
    ranking = ranked(
        image(1, one_class=True, quality=20),
        image(2, one_class=True, quality=80),
        image(3, one_class=False, quality=90),
    )
    assert ids(ranking) == [2, 1]
    assert ranking.source == "rule_set"
    assert ranking.dynamic[0].score is None


def test_a_row_without_any_part_counts_as_not_scored() -> None:
    assert ranked(image(1, one_class=True, cafes=None)).source == "rule_set"


def test_without_scores_and_flags_the_answer_is_empty_and_says_why() -> None:
    ranking = ranked(image(1, one_class=False), image(2))
    assert (ranking.dynamic, ranking.carousel, ranking.static) == ([], [], None)
    assert ranking.source is None
    assert "Cafés" in ranking.reason


def test_a_business_without_images_says_so() -> None:
    assert "no images" in ranked().reason


def test_invalid_images_are_shown_nowhere() -> None:
    ranking = ranked(
        image(1, cafes=0.9, invalid=("nsfw",), enhanced=True),
        image(2, one_class=True, invalid=("blurred",)),
        image(3, cafes=0.1, enhanced=True),
    )
    assert ids(ranking) == [3]
    shown = {p.product_id for p in [*ranking.carousel, *ranking.enhanced, ranking.static] if p}
    assert shown == {3}


def test_when_all_images_are_invalid_the_reason_names_their_reasons() -> None:
    ranking = ranked(image(1, cafes=0.9, invalid=("nsfw",)), image(2, invalid=("too_small",)))
    assert ranking.dynamic == []
    assert "nsfw" in ranking.reason
    assert "too_small" in ranking.reason


def test_ties_go_to_the_older_image_whatever_the_order_of_the_rows() -> None:
    images = [image(i, cafes=0.5) for i in range(1, 30)]
    images += [image(i, one_class=True) for i in range(30, 60)]
    random.Random(4).shuffle(images)
    assert ids(ranked(*images, limit=100)) == list(range(1, 60))


def test_near_duplicates_are_shown_once_and_the_best_of_them_stays() -> None:
    ranking = ranked(
        image(1, cafes=0.5, looks="00000000000000ff"),
        image(2, cafes=0.9, looks="00000000000000fe"),
        image(3, one_class=True, looks="00000000000000f0"),
        image(4, cafes=0.4, looks="ffffffffffffffff"),
    )
    assert ids(ranking) == [2, 4]
    assert ranking.dynamic[0].near_duplicates == [1, 3]
    assert ranking.source == "scores"


@pytest.mark.parametrize(
    ("other", "both"), [("000000000000003f", False), ("000000000000007f", True)]
)
def test_images_are_duplicates_up_to_six_bits(other: str, both: bool) -> None:
    ranking = ranked(image(1, cafes=0.9, looks=HASHES[0]), image(2, cafes=0.8, looks=other))
    assert (len(ranking.dynamic) == 2) is both


def test_images_without_a_hash_are_never_taken_for_duplicates() -> None:
    assert len(ranked(image(1, cafes=0.5), image(2, cafes=0.5)).dynamic) == 2


def test_the_static_picture_is_the_best_for_the_hot_category_whatever_is_asked() -> None:
    images = (image(1, cafes=0.9, bars=0.1), image(2, cafes=0.2, bars=0.8))
    ranking = ranked(*images, wanted=BAR, hot=CAFE)
    assert ranking.static is not None
    assert ranking.static.product_id == 1
    assert ranking.static.why.target == "Cafés"
    assert ids(ranking) == [2, 1]


def test_the_carousel_begins_with_the_best_and_prefers_what_looks_different() -> None:
    ranking = ranked(
        image(1, cafes=0.90, looks="0000000000000000"),
        image(2, cafes=0.89, looks="00000000000000ff"),  # 8 bits: alike, but no duplicate
        image(3, cafes=0.75, looks="ffffffff00000000"),
    )
    assert ids(ranking) == [1, 2, 3]
    assert [picture.product_id for picture in ranking.carousel] == [1, 3, 2]


def test_the_carousel_has_its_size_and_no_picture_twice() -> None:
    images = [image(i, cafes=0.5 + i / 100, looks=looks) for i, looks in enumerate(HASHES, 1)]
    carousel = [picture.product_id for picture in ranked(*images).carousel]
    assert len(carousel) == SETTINGS.carousel_size == len(set(carousel))


def test_unscored_images_do_not_begin_a_carousel_that_has_scored_ones() -> None:
    ranking = ranked(
        image(1, one_class=True, quality=100, looks=HASHES[0]),
        image(2, cafes=0.1, quality=10, looks=HASHES[1]),
    )
    assert [picture.product_id for picture in ranking.carousel] == [2, 1]


def test_enhanced_holds_what_has_an_enhanced_version() -> None:
    ranking = ranked(image(1, cafes=0.9), image(2, cafes=0.8, enhanced=True))
    assert [picture.product_id for picture in ranking.enhanced] == [2]
    assert ranking.enhanced[0].enhanced_width == 960


def test_an_image_that_was_kept_as_it_is_has_no_enhanced_version() -> None:
    ranking = ranked(image(1, cafes=0.9, enhanced="/1.jpg"))
    assert ranking.enhanced == []
    assert ranking.dynamic[0].enhanced_url == ""


def test_live_scores_stand_in_for_stored_ones() -> None:
    live = PageScores(
        {1: 0.2, 2: 0.9, 3: None},
        {
            1: {"image": 0.2, "image_cosine": 0.1},
            2: {"image": 0.9, "image_cosine": 0.6},
            3: {},
        },
    )
    ranking = ranked(
        image(1, cafes=0.9),
        image(2, cafes=0.1),
        image(3, one_class=True),
        wanted=Wanted("latte art", live=live),
    )
    assert ids(ranking) == [2, 1, 3]
    assert [picture.why.live for picture in ranking.dynamic] == [True, True, False]
    assert ranking.source == "mixed"
    assert ranking.dynamic[0].why.target == "latte art"


def test_why_gives_the_weights_of_the_parts_that_are_there() -> None:
    parts = {"image": 0.5, "image_cosine": 0.4, "description": 0.5, "description_cosine": 0.3}
    (picture,) = ranked(image(1, cafes=0.5, parts=parts)).dynamic
    weights = picture.why.weights
    assert weights["image"] + weights["description"] == pytest.approx(1)
    expected = SETTINGS.weight_image / SETTINGS.weight_description
    assert weights["image"] / weights["description"] == pytest.approx(expected)
    assert "category_match" not in weights
    assert (weights["relevance"], weights["quality"]) == (0.9, 0.1)


def test_limit_bounds_the_dynamic_pictures_and_their_source() -> None:
    ranking = ranked(image(1, cafes=0.9), image(2, one_class=True), limit=1)
    assert ids(ranking) == [1]
    assert ranking.source == "scores"
    assert len(ranking.carousel) == 2


def test_rows_of_other_categories_do_not_count() -> None:
    ranking = ranked(image(1, bars=0.9), image(2, cafes=0.1))
    assert ids(ranking) == [2]


SHOTS = ("0" * 64, "f" * 64)  # signatures of different things


def test_near_duplicates_by_hash_and_vector_are_shown_once() -> None:
    cropped = "0000000000000fff"  # 12 bits: too many for the hash alone
    assert SETTINGS.duplicate_bits < 12 <= SETTINGS.duplicate_likely_bits
    original = image(1, cafes=0.9, looks=HASHES[0], shows=SHOTS[0])
    same = ranked(original, image(2, cafes=0.8, looks=cropped, shows=SHOTS[0]))
    assert (ids(same), same.dynamic[0].near_duplicates) == ([1], [2])
    other = ranked(original, image(2, cafes=0.8, looks=cropped, shows=SHOTS[1]))
    assert ids(other) == [1, 2]


def test_photos_of_the_same_kind_of_thing_are_no_duplicates() -> None:
    cups = [
        image(i, cafes=0.9 - i / 100, looks=looks, shows=SHOTS[0])
        for i, looks in enumerate(HASHES, 1)
    ]
    assert ids(ranked(*cups)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_duplicate_of_a_duplicate_alone_is_shown() -> None:
    ranking = ranked(
        image(1, cafes=0.9, looks="0000000000000000"),
        image(2, cafes=0.8, looks="000000000000003f"),
        image(3, cafes=0.7, looks="0000000000000fff"),
    )
    assert ids(ranking) == [1, 3]


@pytest.mark.parametrize(("share", "order"), [(1.0, [1, 2, 3]), (0.0, [1, 3, 2])])
def test_lambda_weighs_the_best_against_the_most_unlike(share: float, order: list[int]) -> None:
    settings = SETTINGS.model_copy(update={"carousel_lambda": share})
    ranking = ranked(
        image(1, cafes=0.9, looks=HASHES[0], shows=SHOTS[0]),
        image(2, cafes=0.8, looks=HASHES[1], shows=SHOTS[0]),  # another photo of the same thing
        image(3, cafes=0.1, looks=HASHES[2], shows=SHOTS[1]),
        settings=settings,
    )
    assert [picture.product_id for picture in ranking.carousel] == order


def test_the_weights_of_relevance_and_quality_are_settings() -> None:
    images = (image(1, cafes=0.9, quality=10), image(2, cafes=0.1, quality=90))
    for relevance, first in ((1.0, 1), (0.0, 2)):
        weights = {"weight_relevance": relevance, "weight_quality": 1 - relevance}
        ranking = ranked(*images, settings=SETTINGS.model_copy(update=weights))
        assert ids(ranking)[0] == first
        assert ranking.dynamic[0].why.weights["relevance"] == relevance
        assert ranking.dynamic[0].why.weights["quality"] == 1 - relevance


def test_every_business_of_a_page_is_ranked_by_itself() -> None:
    copies = [image(i, cafes=i / 10, looks=HASHES[0]).image for i in (1, 2)]
    few = PageImages.of([copies[0]])
    few.scores = {CAFES: PageScores({1: 0.1, 2: 0.2}, {1: {"image": 0.1}, 2: {"image": 0.2}})}
    page = [Asked(few, CAFE, CAFE), Asked(PageImages(), CAFE, CAFE), Asked(few, BAR, CAFE)]
    first, none, third = rank(page, list, SETTINGS, 10)
    assert (ids(first), ids(none), ids(third)) == ([1], [], [1])
    assert first.dynamic[0].near_duplicates == third.dynamic[0].near_duplicates == []
    assert third.static is None
