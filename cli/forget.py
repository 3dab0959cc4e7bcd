"""``justlens forget``: a business or an image, and all that was kept of it."""

from collections import Counter

import typer

from cli.output import out, print_json, progress
from pipeline.errors import JustLensError, UnknownBusiness, UnknownImage
from pipeline.forgetting import Forgetting
from pipeline.graph import Sender
from pipeline.purge import purge_of_objects
from pipeline.records import ImageState
from pipeline.settings import settings
from pipeline.stores import Stores, open_stores


def forget(docid: str, product_id: int | None, *, yes: bool, json_output: bool) -> None:
    """Forget an image, or a business with all of its images."""
    stores = open_stores(settings())
    try:
        counts = _forget(stores, docid, product_id, yes=yes, json_output=json_output)
    finally:
        stores.close()
    if json_output:
        print_json(counts)
    else:
        told = (f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        out.print(f"Forgotten: {', '.join(told) or 'nothing was left'}.", highlight=False)


def _forget(
    stores: Stores, docid: str, product_id: int | None, *, yes: bool, json_output: bool
) -> Counter[str]:
    purge = purge_of_objects(settings(), stores.objects)
    forgetting = Forgetting(stores, Sender().error_queues.withdraw, purge)
    if product_id is not None:
        _confirm(f"the image {docid}/{product_id}", yes=yes, json_output=json_output)
        counts = forgetting.image(docid, product_id)
        if not counts.total() and stores.documents.image(docid, product_id) is None:
            raise UnknownImage(f"the business {docid!r} has no image {product_id}")
        return counts
    states = stores.documents.count_states([docid])
    business = stores.documents.businesses([docid]).get(docid)
    if business is None and not any(states.values()):
        raise UnknownBusiness(f"there is no business {docid!r}")
    name = f"{docid} ({business.name})" if business else docid
    images = sum(states.values()) - states[ImageState.DELETED]
    _confirm(f"the business {name} and its {images} images", yes=yes, json_output=json_output)
    with progress() as bars:
        bar = bars.add_task("forgetting", total=sum(states.values()), note="")
        return forgetting.business(docid, lambda count: bars.advance(bar, count))


def _confirm(what: str, *, yes: bool, json_output: bool) -> None:
    if yes:
        return
    if json_output:
        raise JustLensError("--json asks nothing: say --yes as well to forget for good")
    typer.confirm(f"Forget {what} for good?", abort=True)
