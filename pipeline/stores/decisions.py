"""What every implementation of the document store decides alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.records import ANY_CATEGORY, CatalogueImage, DeadLetter, ImageRelevance, ImageState


@dataclass(frozen=True)
class Acceptance:
    """What becomes of a photo that came in.

    Parameters:
        row: the row as it is to be stored.
        is_work: whether the photo has to go through the graph.
        is_changed: whether the row differs from the one that is stored.
        is_new_photo: whether metadata and scores of an earlier photo have to be dropped.
    """

    row: CatalogueImage
    is_work: bool
    is_changed: bool
    is_new_photo: bool


def acceptance(row: CatalogueImage | None, image: CatalogueImage) -> Acceptance:
    """The rule of ``DocumentStore.accept_image`` for the stored row and the photo that came in."""
    if row is None or row.state is ImageState.DELETED or not is_same_photo(row, image):
        changes = {
            "generation": 1 if row is None else row.generation + 1,
            "state": ImageState.ACCEPTED,
        }
        return Acceptance(image.model_copy(update=changes), True, True, row is not None)
    asked = image.prompt_name or row.prompt_name
    if image.force or row.state is ImageState.FAILED or asked != row.prompt_name:
        # Back to accepted, so that the reconciler finds the row should its message never be sent.
        changes = {
            "state": ImageState.ACCEPTED,
            "failure": "",
            "force": image.force or row.force,
            "prompt_name": asked,
            "correlation_id": image.correlation_id,
            "moved_at": image.moved_at,
        }
        return Acceptance(row.model_copy(update=changes), True, True, False)
    return Acceptance(row, row.state is ImageState.ACCEPTED, False, False)


def is_same_photo(row: CatalogueImage, image: CatalogueImage) -> bool:
    """Same bytes, or the same address where no bytes are handed in; and the same type."""
    if row.image_type != image.image_type:
        return False
    if image.sha256:
        return row.sha256 == image.sha256
    return bool(row.url) and row.url == image.url


def of_one_image(rows: Sequence[ImageRelevance]) -> tuple[str, int, int]:
    """The docid, product_id and generation that rows of ``imgrel``, all of one space, share.

    Raises:
        ValueError: as for ``DocumentStore.save_relevance``.
    """
    images = {(row.docid, row.product_id, row.generation) for row in rows}
    if len(images) != 1:
        raise ValueError(f"rows of exactly one image are wanted, not of {len(images)}")
    if len({row.space for row in rows}) != 1:
        raise ValueError("rows of one space are wanted")
    own = [row for row in rows if row.catid == ANY_CATEGORY]
    if len(own) != 1:
        raise ValueError(f"one row under {ANY_CATEGORY} is wanted, not {len(own)}")
    for row in rows:
        if (row.quality, row.one_class, row.card) != (
            own[0].quality,
            own[0].one_class,
            own[0].card,
        ):
            raise ValueError("the rows of an image differ in what is the image's own")
    return images.pop()


def counted_up(earlier: DeadLetter | None, letter: DeadLetter) -> DeadLetter:
    """The record of a failure that may have been parked before: the new cause, all the tries."""
    if earlier is None:
        return letter
    changes = {
        "tries": earlier.tries + letter.tries,
        "first_at": min(earlier.first_at, letter.first_at),
        "last_at": max(earlier.last_at, letter.last_at),
    }
    return letter.model_copy(update=changes)
