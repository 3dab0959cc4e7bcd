"""``image_relevance_seo_process``: alt-text candidates scored by image-text similarity."""

import time
from typing import Any

from models.class_words import everyday
from pipeline.alt_pages import show_alt_text
from pipeline.alt_text import candidates
from pipeline.queues import Stage
from pipeline.records import AltTag, ImageState
from tasks.runtime import Runtime
from tasks.stage import Run, StageTask
from tasks.tag import picture_vector

# A label less likely than this is not worth a sentence.
LEAST_PROBABILITY = 0.2
MOST_LABELS = 2


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
        picture = picture_vector(run)
        best, score = texts[0], 0.0
        if picture is not None:
            similarities = encoder.encode_texts(texts) @ encoder.among_texts(picture)
            best, score = texts[int(similarities.argmax())], float(similarities.max())
        docid, product_id, generation = run.fence
        stands = here.stores.directory.save_alt_text(
            AltTag(
                docid=docid,
                product_id=product_id,
                generation=generation,
                alttag=best,
                score=score,
            )
        )
        run.found["alt_text"] = stands.alttag
        run.changes["state"] = ImageState.DONE
        return stands.alttag

    def recorded(self, run: Run) -> None:
        """Somebody may have written another text meanwhile, or the cards anew."""
        show_alt_text(run.runtime.stores, *run.fence, run.written.get("alt_text"))

    def ended(self, run: Run) -> None:
        _done(run.fence, run.runtime)

    def degrade(self, fence: tuple[str, int, int], here: Runtime) -> None:
        _done(fence, here)


def _done(fence: tuple[str, int, int], here: Runtime) -> None:
    changes = {"state": ImageState.DONE, "moved_at": time.time()}
    here.stores.documents.update_image(*fence, changes)


def _candidates(run: Run) -> list[str]:
    metadata = run.metadata
    labels = metadata.labels if metadata else []
    return candidates(
        metadata.alt_candidates if metadata else [],
        [
            everyday(label.name)
            for label in labels[:MOST_LABELS]
            if label.probability >= LEAST_PROBABILITY
        ],
        run.business_name,
    )
