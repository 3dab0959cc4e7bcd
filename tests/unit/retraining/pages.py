"""Pages as serving answers them, with nothing in them but orders and scores."""

from pipeline.ranking import Picture, Why
from pipeline.serving import BusinessPictures, Page


def page(degraded: str = "", **businesses: list[tuple[int, float | None]]) -> Page:
    """The first pictures of each business: their product_ids and scores."""
    return Page(
        resolution=None,
        businesses=[_business(docid, pictures) for docid, pictures in businesses.items()],
        unknown=[],
        degraded=[degraded] if degraded else [],
    )


def _business(docid: str, pictures: list[tuple[int, float | None]]) -> BusinessPictures:
    return BusinessPictures(
        static=None,
        dynamic=[_picture(*one) for one in pictures],
        carousel=[],
        enhanced=[],
        source="scores",
        reason="",
        docid=docid,
        name=docid,
        categories=[],
        target="",
        listed=True,
        fallback=None,
    )


def _picture(product_id: int, score: float | None) -> Picture:
    why = Why("scores", "", False, score or 0.0, {}, {}, None)
    return Picture(product_id, "", "", 0, 0, 0, 0, "", score, 50.0, [], why)
