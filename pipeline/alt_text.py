"""Choosing the alt text of an image among candidates."""

from collections.abc import Sequence

MOST_CHARACTERS = 125


def candidates(suggested: Sequence[str], labels: Sequence[str], business: str) -> list[str]:
    """Texts worth comparing: what the describer suggested, and the plainest that labels allow.

    Args:
        suggested: the describer's, best first.
        labels: what is seen, most probable first.
        business: name of the business.

    Returns:
        Different texts of at most 125 characters, never none.
    """
    texts = [text.strip() for text in suggested]
    seen = ", ".join(labels[:2])
    if seen:
        texts.append(f"{seen.capitalize()} at {business}" if business else seen.capitalize())
    texts = [text for text in dict.fromkeys(texts) if text and len(text) <= MOST_CHARACTERS]
    return texts or [f"Photo of {business}" if business else "Photo"]
