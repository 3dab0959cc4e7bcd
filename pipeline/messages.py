"""The message that an image travels with: references and a few choices, never pixels."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from pipeline.errors import InvalidMessage

SCHEMA_VERSION: Literal[1] = 1

# Of what is wrong with a message.
MOST_TOLD = 20
LONGEST_FIELD = 100

# Printable, in one word, and bounded: it stands in logs as it came.
CORRELATION_ID = r"[A-Za-z0-9][A-Za-z0-9_\-.]{0,63}"

CorrelationId = Annotated[str, StringConstraints(pattern=rf"^{CORRELATION_ID}$")]
DocId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-.]{0,63}$")]


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are no ids")
    return value


ProductId = Annotated[int, BeforeValidator(_number), Field(ge=1, le=2**63 - 1)]
CatId = Annotated[int, BeforeValidator(_number), Field(ge=1, le=2**63 - 1)]
PromptName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-.]{0,64}$")]
WebAddress = Annotated[str, StringConstraints(pattern=r"^(https?://\S{1,2000})?$")]
ImageType = Literal["general", "text", "face"]


def new_correlation_id() -> str:
    """An id that follows one request through logs, messages and dead letters."""
    return uuid.uuid4().hex


class ImageMessage(BaseModel):
    """What every stage of the graph is given.

    ``generation`` fences the stage's writes: a newer upload or a deletion raises the row's
    generation, and whatever still travels with the old one changes nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    docid: DocId
    product_id: ProductId
    generation: Annotated[int, Field(ge=1)]
    correlation_id: CorrelationId = Field(default_factory=new_correlation_id)
    force: bool = False
    prompt_name: PromptName = Field(default="", description="Empty: that of the settings.")

    def encode(self) -> dict[str, Any]:
        """The message as JSON-compatible values."""
        return self.model_dump(mode="json")

    @classmethod
    def decode(cls, body: Any) -> "ImageMessage":
        """Read a message.

        Raises:
            InvalidMessage: with every field that does not fit.
        """
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise InvalidMessage(explain(error)) from error


class ImageJob(BaseModel):
    """What producers send: plain JSON that asks for one image to be taken in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    docid: DocId
    product_id: ProductId
    product_url: WebAddress
    org_product_url: WebAddress = ""
    image_type: ImageType = "general"
    force: bool = Field(default=False, description="Enhance even what is large enough.")
    prompt_name: PromptName = Field(
        default="", description="What the describer is asked; empty: that of the settings."
    )
    is_json: bool = Field(default=True, description="Accepted and ignored.")


class ImageEnhanced(BaseModel):
    """What other systems are told, as plain JSON, once an enhanced version is written back.

    Delivery is at least once: a repeated event has the same ``event_id``, a hash of the image, its
    generation and the enhanced bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    event_id: str
    docid: DocId
    product_id: ProductId
    generation: Annotated[int, Field(ge=1)]
    product_url: str = Field(description="Where the photo came from; empty: it was uploaded.")
    original_url: str = Field(description="The stored original.")
    enhanced_url: str
    width: int = Field(description="Of the enhanced version, pixels; so is `height`.")
    height: int
    size: int = Field(description="Bytes of the enhanced version.")
    sha256: str = Field(description="Of the enhanced version's bytes.")
    action: Literal["enhanced", "denoised"]
    enhanced_at: float = Field(description="Unix time.")
    correlation_id: str


def explain(error: ValidationError) -> str:
    """One line that names the fields at fault, twenty at most, and what is wrong with each."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{'.'.join(str(part) for part in problem['loc'])[:LONGEST_FIELD] or 'message'}: "
        f"{problem['msg']}"
        for problem in problems[:MOST_TOLD]
    ]
    more = len(problems) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)
