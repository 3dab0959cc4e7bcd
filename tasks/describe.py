"""``image_relevance_process``: description, tags, alt-text candidate, category match."""

from typing import Any

from pipeline.queues import Stage
from tasks.pixels import Pixels
from tasks.stage import Run, StageTask
from tasks.tag import category_names

# Share of the picture that text may cover before it is called text-heavy.
TEXT_HEAVY = 0.25


class Describe(StageTask):
    """What the image says, in words."""

    name = Stage.DESCRIBE.value
    stage = Stage.DESCRIBE

    def inputs(self, run: Run) -> tuple[Any, ...]:
        here = run.runtime
        return (
            run.image.sha256,
            here.model("describer").identity,
            here.model("reader").identity,
            here.model("image_text").identity,
            here.model("text").identity,
            run.message.prompt_name,
            _business_name(run),
            category_names(run),
        )

    def work(self, run: Run) -> str:
        here = run.runtime
        with Pixels(run) as pixels:
            text = pixels.text()
            found = here.model("describer")(
                pixels.rgb,
                labels=pixels.embedding().labels,
                text=text,
                business=_business_name(run),
                categories=category_names(run),
            )
        encoder = here.model("text")
        vector = encoder([found.description])[0]
        here.stores.vectors.save_image(encoder.identity, "description", *run.key, vector)
        here.stores.documents.patch_metadata(
            *run.fence,
            {
                "description": found.description,
                "tags": list(found.tags),
                "text": text.text,
                "alt_candidates": [found.alt_text],
                "cat_match": found.category_match,
                "flags.text_heavy": text.coverage >= TEXT_HEAVY,
                f"models.{self.stage.value}": here.model("describer").identity,
            },
        )
        return f"made from {found.made_from}"


def _business_name(run: Run) -> str:
    business = run.runtime.stores.documents.businesses([run.image.docid]).get(run.image.docid)
    return business.name if business else ""
