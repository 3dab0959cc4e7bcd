"""The records that the stores hold, in the words of the directory."""

import time
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from pipeline.messages import DocId, ImageType, new_correlation_id
from pipeline.queues import Lane, Stage

# imgrel rows under this category are the image itself, before any category: what the
# Classification Rule-Set ranks, and what a page shows of an image without a score.
ANY_CATEGORY = 0


class Record(BaseModel):
    """Base of all records: plain JSON values, no surprise fields.

    Lists and the like are made where they are missing: pydantic copies one that is given in the
    field part by part, which takes longer than the rest of a record.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Contract(Record):
    """The contract between the directory and a business."""

    contract_id: Annotated[str, StringConstraints(max_length=191)] = ""
    status: Annotated[str, StringConstraints(max_length=64)] = "active"
    valid_until: float | None = Field(default=None, description="Unix time; none: no end.")


class Category(Record):
    """A category that a business is listed under."""

    catid: int
    name: str
    is_hot: bool = False


class Business(Record):
    """A business of the directory. Its categories live in the relational store."""

    docid: DocId
    name: str
    contract: Contract = Contract()


class ImageState(StrEnum):
    """Where an image is on its way."""

    ACCEPTED = "accepted"  # stored, its message not confirmed by the broker yet
    QUEUED = "queued"  # in the graph
    DONE = "done"
    FAILED = "failed"  # parked; the reason is in the dead letters
    DELETED = "deleted"  # a tombstone


class CatalogueImage(Record):
    """A row of ``catalogue_details``: one image of one business.

    ``generation`` is raised by a new upload and by a deletion; every write of a stage is
    conditional on it.
    """

    docid: str
    product_id: int
    generation: int = 1
    state: ImageState = ImageState.ACCEPTED
    url: str = Field(default="", description="Where the photo came from, when it was fetched.")
    name: str = Field(default="", description="File name it was uploaded under.")
    original_key: str = ""
    sha256: str = Field(default="", description="Of the original's bytes; empty: not fetched yet.")
    size: int = Field(default=0, description="Bytes of the original.")
    content_type: str = ""
    width: int = 0
    height: int = 0
    image_type: ImageType = "general"
    force: bool = False
    prompt_name: str = Field(
        default="", description="What the describer is asked; empty: that of the settings."
    )
    lane: Lane = Lane.INTERACTIVE
    correlation_id: str = Field(default_factory=new_correlation_id)
    stage: Stage = Stage.ENHANCE  # the stage that runs or is waited for
    moved_at: float = Field(default_factory=time.time, description="Unix time of the last step.")
    accepted_at: float = Field(default_factory=time.time, description="Unix time.")
    failure: str = Field(default="", description="Why the image is parked.")


class StageRecord(Record):
    """How a stage ended for one image. ``key`` is a hash of the stage's real inputs."""

    key: str
    outcome: str = Field(description="done, unchanged (nothing to do) or failed (parked).")
    ended_at: float
    seconds: float = 0.0
    detail: str = ""
    task_id: str = Field(default="", description="The message that ended it.")


class Enhancement(Record):
    """What became of an image in the enhancer."""

    action: str = Field(description="enhanced, denoised, kept (met the target) or failed.")
    key: str = Field(description="Object that serves as the enhanced version.")
    sha256: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    content_type: str = ""
    source_width: int = 0
    source_height: int = 0
    model: str = Field(default="", description="What it went through, in this order.")
    choice: str = Field(default="", description="Which enhancer was chosen by its type, and why.")
    detail: str = ""


class LabelRecord(Record):
    """A class seen in the image, with its probability."""

    name: str
    probability: float


class Flags(Record):
    """What is so and not so about an image; none where the backend cannot know."""

    valid: bool | None = None
    nsfw: bool | None = None
    blurred: bool | None = None
    nearly_blank: bool | None = None
    screenshot: bool | None = None
    watermarked: bool | None = None
    text_heavy: bool | None = None
    contains_people: bool | None = None
    collage: bool | None = None
    shows_name: bool | None = Field(
        default=None, description="The business's name was read in the image."
    )


class ImageMetadata(Record):
    """A row of ``metadata``: all that is known of one image, and who said so."""

    docid: str
    product_id: int
    generation: int
    description: str = ""
    tags: list[str] = Field(default_factory=list)
    text: str = Field(default="", description="Text read in the image.")
    alt_text: str = ""
    alt_candidates: list[str] = Field(default_factory=list)
    labels: list[LabelRecord] = Field(default_factory=list)
    cat_match: bool | None = None
    one_class: bool | None = None
    flags: Flags = Field(default_factory=Flags)
    measures: dict[str, float | None] = Field(
        default_factory=dict,
        description="What the flags were decided on; none where the backend cannot know.",
    )
    quality: float | None = Field(default=None, description="0-100.")
    quality_parts: dict[str, float] = Field(default_factory=dict)
    perceptual_hash: str = Field(default="", description="64 bits as hexadecimal digits.")
    enhancement: Enhancement | None = None
    models: dict[str, str] = Field(
        default_factory=dict, description="Stage to the identity of its model."
    )
    stages: dict[str, StageRecord] = Field(default_factory=dict)


class Card(Record):
    """What a page needs of an image, so that serving reads nothing else."""

    url: str
    enhanced_url: str = ""
    width: int = 0
    height: int = 0
    enhanced_width: int = 0
    enhanced_height: int = 0
    alt: str = ""
    description: str = ""
    perceptual_hash: str = Field(
        default="", pattern="^([0-9a-f]{16})?$", description="64 bits as hexadecimal digits."
    )
    signature: str = Field(
        default="",
        pattern="^([0-9a-f]{64})?$",
        description="Of the picture's vector: 256 bits, see ``pipeline.looks``.",
    )
    invalid: list[str] = Field(
        default_factory=list,
        description="What was found about it; the rules in force say what hides it.",
    )


class ImageRelevance(Record):
    """A row of ``imgrel``: one image scored against one category of its business.

    ``space``: the retrained text model that the score comes from; empty: the one of the settings.
    ``score`` is in 0..1; none under ``ANY_CATEGORY``. ``parts`` holds each part of the score
    beside its raw cosine. ``quality``, ``one_class`` and ``card`` are the image's own: the same in
    all of its rows of one space.
    """

    space: str = ""
    docid: str
    catid: int
    product_id: int
    generation: int
    score: float | None = None
    parts: dict[str, float] = Field(default_factory=dict)
    background: str = Field(default="", description="Version of the background set.")
    quality: float = 0.0
    one_class: bool | None = None
    card: Card


class AltSource(StrEnum):
    """Who wrote an alt text."""

    MANUAL = "manual"
    GENERATED = "generated"


class ReviewState(StrEnum):
    """Whether a person has said that an alt text is right for its photo."""

    OPEN = "open"
    APPROVED = "approved"


class AltTag(Record):
    """A row of ``alttags``. One that a person wrote is never overwritten by a run."""

    product_id: int
    docid: str
    alttag: str
    score: float = Field(
        description="Image-text cosine similarity of the text to the image; 0: not measured."
    )
    source: AltSource = AltSource.GENERATED
    review_state: ReviewState = ReviewState.OPEN
    updated_at: float = Field(default_factory=time.time)
    generation: int = Field(default=0, description="Of the photo that it is about; 0: not known.")


class DeadLetter(Record):
    """A failure, parked. ``key`` is unique, so that one failure is one record."""

    key: str
    queue: str
    task: str
    task_id: str
    root_id: str = ""
    correlation_id: str = ""
    docid: str = ""
    product_id: int | None = None
    generation: int | None = None
    args: Any = None
    kwargs: Any = None
    tries: int = 1
    exception: str
    message: str
    traceback: str = ""
    first_at: float = Field(default_factory=time.time)
    last_at: float = Field(default_factory=time.time)
    host: str = ""

    @field_validator("*", mode="before")
    @classmethod
    def _without_surrogates(cls, value: Any) -> Any:
        return _encodable(value)


def _encodable(value: Any) -> Any:
    """The value with lone surrogates written out: JSON can spell them, UTF-8 cannot."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(part) for part in value]
    return value
