"""``image_relevance_score``: the relevance to each category of the business, into ``imgrel``."""

from typing import Any

import numpy as np

from pipeline.catalogue import image_findings
from pipeline.looks import SIGNATURE_VERSION, signature
from pipeline.queues import Stage
from pipeline.records import ANY_CATEGORY, Card, ImageMetadata, ImageRelevance
from tasks.describe import description_vector
from tasks.stage import Run, StageTask
from tasks.tag import picture_vector


class ScoreStage(StageTask):
    """The body of the chord: it takes what the two stages before it have left, or goes without."""

    name = Stage.SCORE.value
    stage = Stage.SCORE
    stops_on = (Exception,)

    def inputs(self, run: Run) -> tuple[Any, ...]:
        settings = run.runtime.settings
        stages = run.metadata.stages if run.metadata else {}
        upstream = [
            (record.key, record.outcome, record.detail if record.outcome == "failed" else "")
            for stage in (Stage.ENHANCE, Stage.UPDATE, Stage.TAG, Stage.DESCRIBE)
            if (record := stages.get(stage.value))
        ]
        weights = (
            settings.weight_description,
            settings.weight_image,
            settings.weight_category_match,
            settings.softmax_scale,
            settings.image_softmax_scale,
        )
        listed = [(category.catid, category.name) for category in run.categories]
        return (
            run.image.sha256,
            upstream,
            weights,
            listed,
            run.scorer.background.version,
            (settings.rules.least_side, settings.rules.most_text),
            SIGNATURE_VERSION,
        )

    def work(self, run: Run) -> str:
        here = run.runtime
        metadata = run.metadata or ImageMetadata(
            docid=run.image.docid,
            product_id=run.image.product_id,
            generation=run.image.generation,
        )
        picture, about = picture_vector(run), description_vector(run)
        scorer, categories = run.scorer, run.categories
        here.right_of_way.give_way()
        card = _card(run, metadata, picture)
        common = {
            "docid": run.image.docid,
            "product_id": run.image.product_id,
            "generation": run.image.generation,
            "quality": metadata.quality or 0.0,
            "one_class": metadata.one_class,
            "card": card,
        }
        run.relevance.append(ImageRelevance(catid=ANY_CATEGORY, **common))
        targets = scorer.targets([category.name for category in categories])
        scores = scorer.scores(targets, [picture], [about], [metadata.cat_match])
        for category, (score,) in zip(categories, scores, strict=True):
            if score.value is None:
                continue
            run.relevance.append(
                ImageRelevance(
                    catid=category.catid,
                    score=score.value,
                    parts=score.parts,
                    background=scorer.background.version,
                    **common,
                )
            )
        return f"{len(run.relevance) - 1} categories"

    def recorded(self, run: Run) -> None:
        """Other text models score what is known by then, whichever are kept up."""
        for rescoring in run.runtime.rescorings():
            rescoring.images(run.image.docid, [run.image.product_id])


def _card(run: Run, metadata: ImageMetadata, picture: np.ndarray | None) -> Card:
    objects, encoder = run.runtime.stores.objects, run.runtime.model("image_text")
    found = image_findings(run.image, metadata, run.runtime.settings.rules)
    enhancement = metadata.enhancement
    improved = enhancement is not None and enhancement.action in ("enhanced", "denoised")
    return Card(
        url=objects.url(run.image.original_key),
        enhanced_url=objects.url(enhancement.key) if enhancement and improved else "",
        width=run.image.width,
        height=run.image.height,
        enhanced_width=enhancement.width if enhancement and improved else 0,
        enhanced_height=enhancement.height if enhancement and improved else 0,
        alt=metadata.alt_text,
        description=metadata.description,
        perceptual_hash=metadata.perceptual_hash,
        signature="" if picture is None else signature(encoder.among_texts(picture)),
        invalid=[str(reason) for reason in found],
    )
