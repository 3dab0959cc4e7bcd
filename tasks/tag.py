"""``image_tag_process``: image embedding, class labels, flags, quality, one-class flag."""

from dataclasses import asdict
from typing import Any

import numpy as np

from models.detector import PRESENT
from models.image_text import UNSAFE
from pipeline.messages import ImageMessage
from pipeline.queues import Stage
from tasks.pixels import Pixels, encodings
from tasks.runtime import Runtime
from tasks.stage import Run, StageTask


class Tag(StageTask):
    """What the image shows and how good it is."""

    name = Stage.TAG.value
    stage = Stage.TAG

    def inputs(self, run: Run) -> tuple[Any, ...]:
        encoder = run.runtime.model("image_text")
        background = run.scorer.background.version
        threshold = run.runtime.settings.one_class_threshold
        return (
            run.image.sha256,
            encoder.identity,
            run.runtime.model("quality").identity,
            run.runtime.model("detector").identity,
            category_names(run),
            background,
            threshold,
        )

    def _run(self, message: ImageMessage, here: Runtime) -> dict[str, Any]:
        with encodings().coming():
            return super()._run(message, here)

    def work(self, run: Run) -> str:
        here = run.runtime
        names = category_names(run)
        with Pixels(run) as pixels:
            embedding = pixels.embedding(names)
            measures = pixels.measures()
            people = pixels.people()
        shows, share = run.scorer.shows(embedding.vector, names)
        encoder = here.model("image_text")
        nsfw = encoder.nsfw(embedding.vector)
        here.stores.vectors.save_image(encoder.space, "picture", *run.key, embedding.vector)
        run.found.update(
            {
                "labels": [asdict(label) for label in embedding.labels],
                "one_class": shows,
                "quality": measures["score"],
                "quality_parts": measures["parts"],
                "perceptual_hash": measures["perceptual_hash"],
                **{f"flags.{name}": value for name, value in measures["flags"].items()},
                "flags.contains_people": None if people is None else people >= PRESENT,
                "flags.nsfw": None if nsfw is None else nsfw >= UNSAFE,
                **{f"measures.{name}": value for name, value in measures["measures"].items()},
                "measures.people": people,
                "measures.nsfw": nsfw,
                f"models.{self.stage.value}": encoder.identity,
            },
        )
        return f"{embedding.labels[0].name}; one class {int(shows)} at {share:.3f}"


def picture_vector(run: Run) -> np.ndarray | None:
    """The embedding (D,) that this stage has left; where it has failed, none of an older photo."""
    if run.metadata is None or Stage.TAG.value not in run.metadata.models:
        return None
    here = run.runtime
    space = here.model("image_text").space
    return here.stores.vectors.images_of(space, "picture", [run.key]).get(run.key)


def category_names(run: Run) -> list[str]:
    """The names of the categories that the image's business is listed under, in order."""
    return [category.name for category in run.categories]
