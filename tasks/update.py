"""``image_enhance_update``: write the enhanced version's address, size and hash back."""

from typing import Any

from pipeline.imaging import decode
from pipeline.queues import Stage
from pipeline.records import Enhancement
from tasks.enhance import enhancement_model, original, unchanged
from tasks.stage import Run, StageTask


class Update(StageTask):
    """Where the enhancement failed, the original takes its place and the record says so."""

    name = Stage.UPDATE.value
    stage = Stage.UPDATE
    stops_on = (Exception,)

    def inputs(self, run: Run) -> tuple[Any, ...]:
        fact = _fact(run)
        return run.image.sha256, fact["key"] if fact else None

    def work(self, run: Run) -> str:
        fact = _fact(run)
        enhancement = Enhancement.model_validate(fact) if fact else _without(run)
        documents = run.runtime.stores.documents
        documents.patch_metadata(*run.fence, {"enhancement": enhancement.model_dump(mode="json")})
        documents.update_image(
            *run.fence,
            {"width": enhancement.source_width, "height": enhancement.source_height},
        )
        return enhancement.action


def _without(run: Run) -> Enhancement:
    """The record of an image whose enhancement failed."""
    image, content = original(run)
    picture = decode(content, run.runtime.settings.max_pixels)
    failed = run.metadata.stages.get(Stage.ENHANCE.value) if run.metadata else None
    detail = failed.detail if failed else "the enhancer has left no result"
    return unchanged(image, picture, "failed", detail)


def _fact(run: Run) -> dict[str, Any] | None:
    model = enhancement_model(run.runtime, run.image)
    return run.runtime.stores.documents.pixel_fact(run.image.sha256, "enhancement", model)
