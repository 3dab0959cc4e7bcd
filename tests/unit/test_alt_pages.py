"""Alt texts on their way to the pages, while others write."""

from collections.abc import Callable

from api.wiring import Services
from pipeline.alt_pages import show_alt_text
from pipeline.records import ANY_CATEGORY, AltSource, AltTag
from pipeline.stores import Stores

KEY = ("cafe", 101)


def save(stores: Stores, text: str, source: AltSource = AltSource.GENERATED) -> None:
    docid, product_id = KEY
    tag = AltTag(docid=docid, product_id=product_id, alttag=text, score=0.5, source=source)
    stores.directory.save_alt_text(tag)


def shown(stores: Stores) -> set[str]:
    """What metadata and cards say."""
    rows = stores.documents.relevance(["cafe"], [ANY_CATEGORY, 1, 2])
    cards = {row.card.alt for row in rows if row.product_id == KEY[1]}
    return cards | {stores.documents.metadata([KEY])[KEY].alt_text}


def before_each_copy(stores: Stores, act: Callable[[], None]) -> None:
    copy = stores.documents.show_alt_text

    def acted(*arguments: object) -> bool:
        act()
        return copy(*arguments)  # type: ignore[arg-type]

    stores.documents.show_alt_text = acted  # type: ignore[assignment, method-assign]


def test_metadata_and_all_cards_say_what_was_written(own_shops: Services) -> None:
    save(own_shops.stores, "A run's words")
    show_alt_text(own_shops.stores, *KEY, 1)
    assert shown(own_shops.stores) == {"A run's words"}


def test_an_edit_in_the_middle_of_a_run_is_what_pages_show_in_the_end(
    own_shops: Services,
) -> None:
    stores = own_shops.stores
    save(stores, "A run's words")
    left = ["A person's words"]

    def edit() -> None:
        if left:
            save(stores, left.pop(), AltSource.MANUAL)
            # The edit reaches the pages first; the run's words, read before it, comes after.
            show_alt_text(stores, *KEY, 1)

    before_each_copy(stores, edit)
    stands = show_alt_text(stores, *KEY, 1)
    assert stands is not None and stands.alttag == "A person's words"
    assert shown(stores) == {"A person's words"}


def test_pages_of_a_newer_photo_are_left_alone(own_shops: Services) -> None:
    before = shown(own_shops.stores)
    save(own_shops.stores, "An old photo's words")
    show_alt_text(own_shops.stores, *KEY, 0)
    assert shown(own_shops.stores) == before


def test_an_image_without_alt_text_is_left_as_it_is(own_shops: Services) -> None:
    before = shown(own_shops.stores)
    assert show_alt_text(own_shops.stores, *KEY, 1) is None
    assert shown(own_shops.stores) == before
