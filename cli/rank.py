"""``justlens rank``: what the relevancy API would answer, without the API."""

from rich.table import Table

from api.wiring import Services
from cli.output import out, print_json
from pipeline.errors import JustLensError
from pipeline.ranking import Picture
from pipeline.settings import settings


def rank(docid: str, *, query: str, category: str, limit: int, json_output: bool) -> None:
    """Print static picture, dynamic order and carousel of one business."""
    if query and category:
        raise JustLensError("give --query or --category, not both")
    services = Services(settings())
    try:
        services.warm_up()
        page = services.serving.page([docid], category=category, query=query, limit=limit)
    finally:
        services.close()
    if page.unknown:
        raise JustLensError(f"the directory has no business {docid}")
    business = page.businesses[0]
    if json_output:
        print_json(page.model_dump(mode="json"))
        return
    out.print(f"[bold]{business.name}[/]: {business.target}", highlight=False)
    if business.static:
        out.print(f"static   {_line(business.static)}", highlight=False)
    table = Table("", "picture", "alt", "score", "quality", "why", box=None)
    for number, picture in enumerate(business.dynamic, 1):
        score = "" if picture.score is None else f"{picture.score:.3f}"
        parts = ", ".join(f"{name} {value:.2f}" for name, value in picture.why.parts.items())
        table.add_row(
            str(number),
            str(picture.product_id),
            picture.alt,
            score,
            f"{picture.quality:.0f}",
            f"{picture.why.rule}: {parts}",
        )
    out.print(table if business.dynamic else f"nothing to show: {business.reason}")
    out.print("carousel " + ", ".join(str(picture.product_id) for picture in business.carousel))


def _line(picture: Picture) -> str:
    return f"{picture.product_id} {picture.alt}"
