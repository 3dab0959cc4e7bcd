"""The catalogue rules: what is found about the images of a business, and what of it hides them.

What is found is written down whether it hides an image or not; the rules in force, which are
settings, decide when an image is asked for. So a change of the rules holds at once, for pages too.

The default rules take away what no business would want on its page. They are careful: a photo that
is merely poor stays and is ranked low, because a poor photo of the right thing beats no photo. So
does one with people, much text, a mark or several photos in it: a menu or a portrait may be what
was asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.records import CatalogueImage, Contract, Flags, ImageMetadata, ImageState

ACTIVE = "active"


class Reason(StrEnum):
    """What can be found about an image."""

    CONTRACT_NOT_ACTIVE = "contract_not_active"
    CONTRACT_EXPIRED = "contract_expired"
    DELETED = "deleted"
    FAILED = "failed"
    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    NEARLY_BLANK = "nearly_blank"
    SCREENSHOT = "screenshot"
    NSFW = "nsfw"
    TEXT_HEAVY = "text_heavy"
    WATERMARKED = "watermarked"
    COLLAGE = "collage"
    CONTAINS_PEOPLE = "contains_people"
    DUPLICATE = "duplicate"


# These hide an image under any rules.
ALWAYS = frozenset(
    {Reason.CONTRACT_NOT_ACTIVE, Reason.CONTRACT_EXPIRED, Reason.DELETED, Reason.FAILED}
)
# These do where the rules name them.
CHOOSABLE = tuple(reason for reason in Reason if reason not in ALWAYS)
HIDING = frozenset(
    {
        Reason.TOO_SMALL,
        Reason.BLURRED,
        Reason.NEARLY_BLANK,
        Reason.SCREENSHOT,
        Reason.NSFW,
        Reason.DUPLICATE,
    }
)

WORDS: Mapping[Reason, str] = {
    Reason.CONTRACT_NOT_ACTIVE: "The contract with the business is not active.",
    Reason.CONTRACT_EXPIRED: "The contract with the business has expired.",
    Reason.DELETED: "The image was deleted.",
    Reason.FAILED: "The image could not be fetched or decoded.",
    Reason.TOO_SMALL: "The shorter side has fewer than {rules.least_side} pixels.",
    Reason.BLURRED: "Nothing in the image is sharp.",
    Reason.NEARLY_BLANK: "There is almost nothing on the image.",
    Reason.SCREENSHOT: "The image is a screenshot.",
    Reason.NSFW: "The image is not fit for a public page.",
    Reason.TEXT_HEAVY: "Text covers {rules.most_text:.0%} of the image or more.",
    Reason.WATERMARKED: "The image bears a mark of whom it belongs to.",
    Reason.COLLAGE: "The image is put together from several photos.",
    Reason.CONTAINS_PEOPLE: "People can be seen in the image.",
    Reason.DUPLICATE: "The image looks the same as another one.",
}

# Read off the flags as they are.
_BY_FLAG: Mapping[Reason, str] = {
    Reason.BLURRED: "blurred",
    Reason.NEARLY_BLANK: "nearly_blank",
    Reason.SCREENSHOT: "screenshot",
    Reason.NSFW: "nsfw",
    Reason.WATERMARKED: "watermarked",
    Reason.COLLAGE: "collage",
    Reason.CONTAINS_PEOPLE: "contains_people",
}


@dataclass(frozen=True)
class Rules:
    """Which findings hide an image, and from which measure on something is found.

    Args:
        hiding: of ``CHOOSABLE``.
        least_side: pixels of the shorter side; an image with fewer is too small. Below 100 a photo
            is a thumbnail or an icon: enhancing it would make details up.
        most_text: share of an image, 0..1, from which text makes it text-heavy.
    """

    hiding: frozenset[Reason] = HIDING
    least_side: int = 100
    most_text: float = 0.25

    def hides(self, findings: Iterable[str]) -> bool:
        """Whether an image with these findings (values of ``Reason``) is not shown."""
        return any(finding in self.hiding or finding in ALWAYS for finding in findings)


def in_words(reason: Reason, rules: Rules) -> str:
    """A finding as a sentence."""
    return WORDS[reason].format(rules=rules)


def contract_reasons(contract: Contract, now: float) -> list[Reason]:
    """Why no image of the business may be shown at ``now`` (Unix time); empty: they may."""
    reasons = []
    if contract.status.strip().casefold() != ACTIVE:
        reasons.append(Reason.CONTRACT_NOT_ACTIVE)
    if contract.valid_until is not None and contract.valid_until <= now:
        reasons.append(Reason.CONTRACT_EXPIRED)
    return reasons


def image_findings(
    image: CatalogueImage, metadata: ImageMetadata | None, rules: Rules
) -> list[Reason]:
    """What is found about an image by itself; what is not known yet is not held against it.

    Args:
        image: its catalogue row.
        metadata: what the stages found so far, if anything.
        rules: of which only the measures count.
    """
    flags = metadata.flags if metadata else Flags()
    text = metadata.measures.get("text") if metadata else None
    is_found = {
        Reason.DELETED: image.state is ImageState.DELETED,
        # A later stage may have parked an image that is fit to be shown: its quality was measured.
        Reason.FAILED: image.state is ImageState.FAILED
        and (metadata is None or metadata.quality is None),
        Reason.TOO_SMALL: 0 < min(image.width, image.height) < rules.least_side,
        **{reason: bool(getattr(flags, flag)) for reason, flag in _BY_FLAG.items()},
        Reason.TEXT_HEAVY: text is not None and text >= rules.most_text,
    }
    return [reason for reason in Reason if is_found.get(reason)]
