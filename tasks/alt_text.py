"""``image_relevance_seo_process``: alt-text candidates scored by image-text similarity."""

import time
from typing import Any

from pipeline.alt_text import candidates
from pipeline.queues import Stage
from pipeline.records import AltTag, ImageState
from tasks.runtime import Runtime
from tasks.stage import Run, StageTask

# A label less likely than this is not worth a sentence.
LEAST_PROBABILITY = 0.2


class AltText(StageTask):
    """The last stage: with it, or with its failure parked, the image is done."""

    name = Stage.ALT_TEXT.value
    stage = Stage.ALT_TEXT

    def inputs(self, run: Run) -> tuple[Any, ...]:
        return run.image.sha256, run.runtime.model("image_text").identity, _candidates(run)

    def work(self, run: Run) -> str:
        here = run.runtime
        texts = _candidates(run)
        encoder = here.model("image_text")
        pictures = here.stores.vectors.images(encoder.space, "picture", [run.image.docid])
        picture = pictures.get(run.key)
        best, score = texts[0], 0.0
        if picture is not None:
            similarities = encoder.encode_texts(texts) @ picture
            best, score = texts[int(similarities.argmax())], float(similarities.max())
        tag = AltTag(
            product_id=run.image.product_id, docid=run.image.docid, alttag=best, score=score
        )
        if not here.stores.directory.save_alt_text(tag):
            best = here.stores.directory.alt_texts([run.image.docid])[run.key].alttag
        here.stores.documents.patch_metadata(*run.fence, {"alt_text": best})
        here.stores.documents.patch_relevance(*run.fence, {"card.alt": best})
        return best

    def ended(self, run: Run) -> None:
        _done(run.fence, run.runtime)

    def degrade(self, fence: tuple[str, int, int], here: Runtime) -> None:
        _done(fence, here)


def _done(fence: tuple[str, int, int], here: Runtime) -> None:
    changes = {"state": ImageState.DONE, "moved_at": time.time()}
    here.stores.documents.update_image(*fence, changes)


def _candidates(run: Run) -> list[str]:
    metadata = run.metadata
    business = run.runtime.stores.documents.businesses([run.image.docid]).get(run.image.docid)
    labels = metadata.labels if metadata else []
    return candidates(
        metadata.alt_candidates if metadata else [],
        [label.name for label in labels if label.probability >= LEAST_PROBABILITY],
        business.name if business else "",
    )
