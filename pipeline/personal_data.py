"""What people type about themselves into a search box, which is not kept."""

import re

_EMAIL_ADDRESS = re.compile(r"\S+@\S+")
# Seven digits or more, with what people write between those of a telephone or card number. A year,
# a house number and most postal codes are shorter, and say where something is looked for.
_LONG_NUMBER = re.compile(r"\+?\(?\d(?:[\s()./\u2010-\u2015-]{0,3}\d){6,}\)?")


def without_personal_data(text: str) -> str:
    """The text without e-mail addresses, telephone numbers and any number of seven digits or more.

    Names of people are not recognised. White space is single, and none is at the ends.
    """
    for pattern in (_EMAIL_ADDRESS, _LONG_NUMBER):
        text = pattern.sub(" ", text)
    return " ".join(text.split())
