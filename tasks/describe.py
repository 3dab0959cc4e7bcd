"""``image_relevance_process``: description, tags, alt-text candidate, category match."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.describer import Description
from models.errors import DescriberUnavailable
from models.image_text import Label
from models.reader import ReadText
from models.watermark import MARKED, watermark
from pipeline.business_name import FOUND, name_likeness
from pipeline.errors import ModelUnavailable
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
        describer = here.model("describer")
        return (
            run.image.sha256,
            describer.identity,
            here.model("reader").identity,
            here.model("image_text").identity,
            here.model("text").identity,
            describer.asked(_prompt(run)),
            run.business_name,
            category_names(run),
        )

    def work(self, run: Run) -> str:
        image, labels, text = _seen(run)
        # What the text says of the picture is known even if nobody describes it.
        flags, measures = text_flags(text, run.business_name)
        run.found["text"] = text.text
        run.found.update({f"flags.{name}": value for name, value in flags.items()})
        run.found.update({f"measures.{name}": value for name, value in measures.items()})
        about = {
            "labels": labels,
            "text": text,
            "business": run.business_name,
            "categories": category_names(run),
            "prompt": _prompt(run),
        }
        try:
            with run.runtime.right_of_way.waiting():
                found: Description = run.runtime.model("describer")(image, **about)
        except Exception as error:
            run.write()
            if isinstance(error, DescriberUnavailable):
                raise ModelUnavailable(str(error)) from error
            raise
        self._leave(run, found)
        return f"made from {found.made_from}"

    def _leave(self, run: Run, found: Description) -> None:
        """What a prompt does not ask for stays as an earlier one has found it.

        But not the match, which holds for this run's categories alone.
        """
        here = run.runtime
        run.found["cat_match"] = found.category_match
        run.found[f"models.{self.stage.value}"] = here.model("describer").identity
        if found.description:
            encoder = here.model("text")
            vector = encoder([found.description])[0]
            here.stores.vectors.save_image(encoder.identity, "description", *run.key, vector)
            run.found["description"] = found.description
        if found.tags:
            run.found["tags"] = list(found.tags)
        if found.alt_text:
            run.found["alt_candidates"] = [found.alt_text]


def description_vector(run: Run) -> np.ndarray | None:
    """The embedding (D,) that this stage has left; where it has failed, none of an older photo."""
    if run.metadata is None or not run.metadata.description:
        return None
    here = run.runtime
    model = here.model("text").identity
    return here.stores.vectors.images_of(model, "description", [run.key]).get(run.key)


def text_flags(
    text: ReadText, business: str
) -> tuple[dict[str, bool | None], dict[str, float | None]]:
    """What the text says of the picture: flags, and the measures that they were decided on."""
    mark, likeness = watermark(text), name_likeness(business, text.text)
    flags = {
        "text_heavy": text.coverage >= TEXT_HEAVY,
        "watermarked": mark >= MARKED,
        "shows_name": None if likeness is None else likeness >= FOUND,
    }
    return flags, {"text": text.coverage, "watermark": mark, "name": likeness}


def _seen(run: Run) -> tuple[np.ndarray, Sequence[Label], ReadText]:
    """What the describer needs of the photo, whose pixels go back to the budget.

    A far model takes seconds, during which others could work on theirs.
    """
    with Pixels(run) as pixels:
        image = run.runtime.model("describer").reduced(pixels.rgb)
        return image, pixels.embedding(category_names(run)).labels, pixels.text()


def _prompt(run: Run) -> str:
    return run.message.prompt_name or run.runtime.settings.prompt
