"""Taking photos in: the original is stored, the row is written, then one message is sent.

In that order, so that nothing accepted can be lost: a row whose message was never confirmed stays
``accepted``, and the reconciler sends it.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ValidationError

from pipeline.errors import InvalidMessage
from pipeline.forgetting import forget_bytes
from pipeline.imaging import content_type
from pipeline.logs import correlation_id
from pipeline.messages import ImageJob, ImageType, explain
from pipeline.queues import Lane, Stage
from pipeline.records import Business, CatalogueImage, Category, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores
from pipeline.stores.objects import object_key

log = logging.getLogger(__name__)

Send = Callable[[CatalogueImage, Stage], None]
"""Sends the graph of an image from a stage on; raises BrokerUnavailable unless confirmed."""


class Receipt(BaseModel):
    """What came of a photo that was handed in."""

    docid: str
    product_id: int
    generation: int
    state: ImageState
    correlation_id: str
    queued: bool


class Intake:
    """The one door through which photos and businesses come in."""

    def __init__(self, stores: Stores, settings: Settings, send: Send) -> None:
        self._stores = stores
        self._settings = settings
        self._send = send

    def save_business(self, business: Business, categories: Sequence[Category]) -> None:
        """Record a business and the categories it is listed under."""
        self.save_businesses([(business, categories)])

    def save_businesses(self, entries: Sequence[tuple[Business, Sequence[Category]]]) -> None:
        """Record many businesses with their categories, one write for each store."""
        self._stores.documents.save_businesses([business for business, _ in entries])
        self._stores.directory.save_many_categories(
            {business.docid: categories for business, categories in entries}
        )

    def accept_bytes(
        self,
        docid: str,
        product_id: int,
        content: bytes,
        *,
        name: str = "",
        image_type: ImageType = "general",
        force: bool = False,
        lane: Lane = Lane.INTERACTIVE,
    ) -> Receipt:
        """Take in a photo's bytes, whatever they are: what cannot be decoded is parked later.

        Raises:
            InvalidMessage: the file is larger than ``max_bytes``, or an id does not fit.
            StoreUnavailable, BrokerUnavailable: nothing is lost; the same call is safe to repeat.
        """
        if len(content) > self._settings.max_bytes:
            raise InvalidMessage(
                f"the file has {len(content)} bytes, the limit is {self._settings.max_bytes}"
            )
        try:
            job = ImageJob(
                docid=docid, product_id=product_id, product_url="", image_type=image_type
            )
        except ValidationError as error:
            raise InvalidMessage(explain(error)) from error
        sha256 = hashlib.sha256(content).hexdigest()
        kind = content_type(content)
        key = object_key("originals", sha256, kind)
        self._stores.objects.put(key, content)
        image = CatalogueImage(
            docid=job.docid,
            product_id=job.product_id,
            name=name,
            original_key=key,
            sha256=sha256,
            size=len(content),
            content_type=kind,
            image_type=image_type,
            force=force,
            lane=lane,
            correlation_id=correlation_id(),
        )
        return self._accept(image, content)

    def accept_job(
        self, job: ImageJob, *, start: Stage = Stage.ENHANCE, lane: Lane = Lane.INTERACTIVE
    ) -> Receipt:
        """Take in a photo by its address; the first stage fetches it.

        Raises:
            InvalidMessage: the job names no address and the image is not known.
            StoreUnavailable, BrokerUnavailable: the same call is safe to repeat.
        """
        address = job.org_product_url or job.product_url
        known = self._stores.documents.image(job.docid, job.product_id)
        asked_under = correlation_id()
        if known is not None and known.state is not ImageState.DELETED:
            known = known.model_copy(update={"correlation_id": asked_under})
            if start is not Stage.ENHANCE and address in ("", known.url):
                return self._again(known, start, job.prompt_name)
            if not address:
                return self._again(known, start, job.prompt_name)
        if not address:
            raise InvalidMessage("product_url: an image that is not known needs an address")
        image = CatalogueImage(
            docid=job.docid,
            product_id=job.product_id,
            url=address,
            image_type=job.image_type,
            force=job.force,
            prompt_name=job.prompt_name,
            lane=lane,
            correlation_id=asked_under,
        )
        return self._accept(image)

    def replay(
        self,
        docid: str,
        product_id: int,
        generation: int,
        start: Stage,
        lane: Lane = Lane.INTERACTIVE,
    ) -> bool:
        """Run the graph of an image from ``start`` on.

        Returns:
            False where the row has moved on to another generation or is a tombstone.

        Raises:
            StoreUnavailable, BrokerUnavailable: the same call is safe to repeat.
        """
        image = self._stores.documents.image(docid, product_id)
        if image is None or image.generation != generation or image.state is ImageState.DELETED:
            return False
        self._again(image.model_copy(update={"lane": lane}), start, "")
        return True

    def _again(self, image: CatalogueImage, start: Stage, prompt_name: str) -> Receipt:
        """Run the graph of a known image from ``start`` on; an empty prompt is the row's own."""
        asked = {"prompt_name": prompt_name or image.prompt_name}
        self._stores.documents.update_image(
            image.docid,
            image.product_id,
            image.generation,
            {
                "state": ImageState.ACCEPTED,
                "stage": start,
                "moved_at": time.time(),
                "failure": "",
                "correlation_id": image.correlation_id,
                **asked,
            },
        )
        return self._queue(image.model_copy(update=asked), start)

    def _accept(self, image: CatalogueImage, content: bytes = b"") -> Receipt:
        documents = self._stores.documents
        earlier = documents.image(image.docid, image.product_id)
        stored, work = documents.accept_image(image)
        if image.original_key:
            # The last photo with the same bytes may have been forgotten since they were stored.
            self._stores.objects.put(image.original_key, content)
        receipt = self._queue(stored, Stage.ENHANCE) if work else _receipt(stored, queued=False)
        if earlier is not None and earlier.generation < stored.generation:
            forget_bytes(self._stores, earlier.sha256, earlier.original_key)
        return receipt

    def _queue(self, image: CatalogueImage, start: Stage) -> Receipt:
        self._send(image, start)
        # The worker may be done by now: only a row still waiting is marked as queued.
        self._stores.documents.update_image(
            image.docid,
            image.product_id,
            image.generation,
            {"state": ImageState.QUEUED, "moved_at": time.time()},
            only_in=ImageState.ACCEPTED,
        )
        # A replay goes on under the image's own id, not under that of the request.
        log.info(
            "queued %s/%s from %s under %s",
            image.docid,
            image.product_id,
            start.value,
            image.correlation_id,
        )
        return _receipt(image.model_copy(update={"state": ImageState.QUEUED}), queued=True)


def _receipt(image: CatalogueImage, *, queued: bool) -> Receipt:
    return Receipt(
        docid=image.docid,
        product_id=image.product_id,
        generation=image.generation,
        state=image.state,
        correlation_id=image.correlation_id,
        queued=queued,
    )
