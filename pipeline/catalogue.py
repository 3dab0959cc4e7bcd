"""The catalogue rules: which images of a business may be shown, and why the others may not.

Rules take away what no business would want on its page. They are careful: a photo that is merely
poor stays and is ranked low, because a poor photo of the right thing beats no photo. So does
one with people, much text, a mark or several photos in it: a menu or a portrait may be what was
asked for.
"""

from enum import StrEnum

from pipeline.records import CatalogueImage, Contract, ImageMetadata, ImageState

# Below this a photo is a thumbnail or an icon: enhancing it would make details up.
LEAST_SIDE = 100

ACTIVE = "active"


class Reason(StrEnum):
    """Why an image is not shown."""

    CONTRACT_NOT_ACTIVE = "contract_not_active"
    CONTRACT_EXPIRED = "contract_expired"
    DELETED = "deleted"
    FAILED = "failed"
    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    NEARLY_BLANK = "nearly_blank"
    SCREENSHOT = "screenshot"
    NSFW = "nsfw"


WORDS = {
    Reason.CONTRACT_NOT_ACTIVE: "The contract with the business is not active.",
    Reason.CONTRACT_EXPIRED: "The contract with the business has expired.",
    Reason.DELETED: "The image was deleted.",
    Reason.FAILED: "The image could not be fetched or decoded.",
    Reason.TOO_SMALL: f"The shorter side has fewer than {LEAST_SIDE} pixels.",
    Reason.BLURRED: "Nothing in the image is sharp.",
    Reason.NEARLY_BLANK: "There is almost nothing on the image.",
    Reason.SCREENSHOT: "The image is a screenshot.",
    Reason.NSFW: "The image is not fit for a public page.",
}


def contract_reasons(contract: Contract, now: float) -> list[Reason]:
    """Why no image of the business may be shown at ``now`` (Unix time); empty: they may."""
    reasons = []
    if contract.status.strip().casefold() != ACTIVE:
        reasons.append(Reason.CONTRACT_NOT_ACTIVE)
    if contract.valid_until is not None and contract.valid_until <= now:
        reasons.append(Reason.CONTRACT_EXPIRED)
    return reasons


def image_reasons(image: CatalogueImage, metadata: ImageMetadata | None) -> list[Reason]:
    """Why the image itself may not be shown; what is not known yet is not held against it."""
    reasons = []
    if image.state is ImageState.DELETED:
        reasons.append(Reason.DELETED)
    # A later stage may have parked an image that is fit to be shown: its quality was measured.
    if image.state is ImageState.FAILED and (metadata is None or metadata.quality is None):
        reasons.append(Reason.FAILED)
    if image.width and image.height and min(image.width, image.height) < LEAST_SIDE:
        reasons.append(Reason.TOO_SMALL)
    if metadata is not None:
        flags = metadata.flags
        if flags.blurred:
            reasons.append(Reason.BLURRED)
        if flags.nearly_blank:
            reasons.append(Reason.NEARLY_BLANK)
        if flags.screenshot:
            reasons.append(Reason.SCREENSHOT)
        if flags.nsfw:
            reasons.append(Reason.NSFW)
    return reasons


def invalid_reasons(
    image: CatalogueImage, metadata: ImageMetadata | None, contract: Contract, now: float
) -> list[str]:
    """Every reason why an image is not shown, as ``Reason`` values; empty: it is.

    Args:
        image: its catalogue row.
        metadata: what the stages found so far, if anything.
        contract: of its business.
        now: Unix time.
    """
    return [
        reason.value
        for reason in (*contract_reasons(contract, now), *image_reasons(image, metadata))
    ]
