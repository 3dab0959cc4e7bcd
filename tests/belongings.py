"""All that an image which is done has, in every store, and what of it is left."""

from typing import Any

import numpy as np

from pipeline.dead_letters import Parking, Publish
from pipeline.ingest import Intake
from pipeline.queues import Stage
from pipeline.records import (
    ANY_CATEGORY,
    AltTag,
    Card,
    DeadLetter,
    Enhancement,
    ImageRelevance,
)
from pipeline.stores import Stores

QUEUE = Stage.TAG.value


def leave(
    stores: Stores,
    intake: Intake,
    publish: Publish,
    docid: str,
    product_id: int,
    content: bytes,
    enhanced: str = "",
) -> None:
    """Leave all of it, two objects among it.

    Args:
        publish: how the message of the dead letter goes out.
        enhanced: key of the enhanced version; empty: the original is good enough.
    """
    intake.accept_bytes(docid, product_id, content)
    documents, key = stores.documents, (docid, product_id)
    image = documents.image(*key)
    assert image is not None
    enhanced = enhanced or image.original_key
    stores.objects.put(enhanced, b"enhanced")
    enhancement = Enhancement(action="enhanced", key=enhanced).model_dump(mode="json")
    documents.save_pixel_fact(image.sha256, "enhancement", "m", enhancement)
    documents.save_pixel_fact(image.sha256, "text", "m", {"text": "MENU"})
    documents.patch_metadata(*key, image.generation, {"enhancement": enhancement})
    relevance = ImageRelevance(
        docid=docid,
        product_id=product_id,
        catid=ANY_CATEGORY,
        generation=image.generation,
        card=Card(url="/a.png"),
    )
    documents.save_relevance([relevance])
    stores.vectors.save_image("m", "picture", *key, np.ones(4))
    stores.vectors.save_image("m", "description", *key, np.ones(4))
    stores.directory.save_alt_text(
        AltTag(docid=docid, product_id=product_id, alttag="a", score=0.5, source="manual")
    )
    letter = DeadLetter(
        key=letter_key(docid, product_id),
        queue=QUEUE,
        task=QUEUE,
        task_id="t",
        docid=docid,
        product_id=product_id,
        exception="ValueError",
        message="m",
    )
    Parking(documents, publish).park(letter, ends_image=False)


def letter_key(docid: str, product_id: int) -> str:
    """The key of an image's dead letter."""
    return f"{QUEUE}/{docid}/{product_id}"


def left(stores: Stores) -> dict[str, list[Any]]:
    """Everything that is kept of images but their rows."""
    documents = stores.documents
    everything = {
        "objects": stores.objects.keys(),
        "facts": documents.every_pixel_hash(),
        "metadata": documents.every_metadata(),
        "scores": documents.every_scored(),
        "vectors": stores.vectors.every_image(),
        "alt texts": ((one.docid, one.product_id) for one in stores.directory.every_alt_text()),
        "letters": (letter.key for letter in documents.dead_letters()),
    }
    return {name: found for name, read in everything.items() if (found := list(read))}
