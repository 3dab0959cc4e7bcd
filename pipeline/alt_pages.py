"""Alt texts on their way from ``alttags`` to the pages that show them."""

from pipeline.records import AltTag
from pipeline.stores import Stores


def show_alt_text(
    stores: Stores,
    docid: str,
    product_id: int,
    generation: int,
    shown: str | None = None,
) -> AltTag | None:
    """Bring the metadata and the cards of an image to what ``alttags`` says; returns that.

    Runs and people write there at the same time, and each brings it to the pages after that. What
    the row says is looked at again after each copy: whoever copies last has copied what stands.

    Args:
        generation: of the photo; its pages are left alone when there is a newer one.
        shown: what has been copied there already.
    """
    stands = stores.directory.alt_text(docid, product_id)
    while stands is not None and stands.alttag != shown:
        shown = stands.alttag
        stores.documents.show_alt_text(docid, product_id, generation, shown)
        stands = stores.directory.alt_text(docid, product_id)
    return stands
