"""What an alt text must look like, whoever wrote it, and which ones an image could have.

The rules follow what people who use a screen reader ask for: short, said at once, without what the
reader says by itself (that it is a picture) and without what means nothing when it is read out.
They look for English words.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

# Common screen readers stop after so many.
MOST_CHARACTERS = 125
# From here on, parts between commas are keywords for a search engine and no sentence.
KEYWORDS_FROM = 5

NOTHING_KNOWN = "Not described yet"

_PICTURE = r"(?:image|photo|photograph|picture|pic|snapshot|graphic)s?"
_LOOK = (
    r"(?:close-?up|colou?r|black[- ]and[- ]white|blurred|blurry|stock|aerial|wide|beautiful"
    r"|high[- ](?:quality|resolution))"
)
_CALLS_ITSELF_A_PICTURE = re.compile(
    rf"""\W*
    (?: (?:this|that|here|it)\s+(?:is|are)\s+ | it's\s+ )?
    (?: (?:an?|the|this|that)\s+ )?
    (?: {_LOOK}\s+ ){{0,2}}
    (?: {_PICTURE} (?: \s+(?:of|shows|showing|depicts|depicting|displays|displaying|featuring)\b
                     | \s*: | \s+[\u2013\u2014-]\s
                     | \s*\#?\d*\W*$ )
      | in\s+(?:this|the)\s+{_PICTURE}\b ,? )
    \s*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FILE_NAME = re.compile(
    r"\S\.(?:jpe?g|png|gif|webp|avif|heic|bmp|tiff?|svg)\b|\b(?:IMG|DSC[NF]?|PXL)[ _-]?\d{3}",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<[/!]?[a-z][^<>]*>|&(?:[a-z]+|#x?[0-9a-f]+);", re.IGNORECASE)
_CUT_OFF = re.compile(r"\s*(?:\.\.|…)[.…\s]*$")
# The categories Cc, Zl and Zp of Unicode.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Words that stand in the picture are repeated as they are.
_QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"")


class Rule(StrEnum):
    """What an alt text can break."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    SEVERAL_LINES = "several_lines"
    MARKUP = "markup"
    FILE_NAME = "file_name"
    CALLS_ITSELF_A_PICTURE = "calls_itself_a_picture"
    ONLY_THE_NAME = "only_the_name"
    KEYWORDS = "keywords"
    NO_CAPITAL = "no_capital"
    CUT_OFF = "cut_off"


WORDS: Mapping[Rule, str] = {
    Rule.EMPTY: "It says nothing.",
    Rule.TOO_LONG: f"It has more than {MOST_CHARACTERS} characters.",
    Rule.SEVERAL_LINES: "It has line breaks, tabs or other control characters.",
    Rule.MARKUP: "It holds HTML.",
    Rule.FILE_NAME: "It holds the name of a file.",
    Rule.CALLS_ITSELF_A_PICTURE: "It says that it is a picture; screen readers do so.",
    Rule.ONLY_THE_NAME: "It says the name of the business and nothing else.",
    Rule.KEYWORDS: f"It is a list of keywords: {KEYWORDS_FROM} or more parts between commas.",
    Rule.NO_CAPITAL: "It does not begin with a capital letter, as a sentence does.",
    Rule.CUT_OFF: "It ends with an ellipsis.",
}


def broken_rules(text: str, business: str = "") -> list[Rule]:
    """The rules that an alt text breaks; none: it may be used.

    Args:
        text: of the picture.
        business: name of the business; empty: not known.
    """
    letters = _letters(text)
    if not letters:
        return [Rule.EMPTY]
    own_words = _QUOTED.sub("", text)
    first = next(sign for sign in text if sign.isalnum())
    is_broken = {
        Rule.TOO_LONG: len(text) > MOST_CHARACTERS,
        Rule.SEVERAL_LINES: bool(CONTROL.search(text)),
        Rule.MARKUP: bool(_MARKUP.search(text)),
        Rule.FILE_NAME: bool(_FILE_NAME.search(own_words)),
        Rule.CALLS_ITSELF_A_PICTURE: bool(_CALLS_ITSELF_A_PICTURE.match(text)),
        Rule.ONLY_THE_NAME: letters == _letters(business),
        Rule.KEYWORDS: len(_parts(own_words)) >= KEYWORDS_FROM,
        Rule.NO_CAPITAL: first.islower(),
        Rule.CUT_OFF: bool(_CUT_OFF.search(own_words)),
    }
    return [rule for rule, broken in is_broken.items() if broken]


def tidied(text: str) -> str:
    """A model's words on one line, beginning with what is seen and with a capital letter."""
    words = " ".join(text.split())
    if said := _CALLS_ITSELF_A_PICTURE.match(words):
        words = words[said.end() :]
    words = _CUT_OFF.sub("", words)
    return words[:1].upper() + words[1:]


def candidates(suggested: Sequence[str], seen: Sequence[str], business: str) -> list[str]:
    """Texts worth comparing: what the describer suggested, and the plainest that labels allow.

    Args:
        suggested: the describer's, best first.
        seen: what the picture shows, in everyday words, most probable first.
        business: name of the business; empty: not known.

    Returns:
        Different texts that break no rule, never none.
    """
    at = f" at {business}" if business else ""
    texts = [tidied(text) for text in (*suggested, *(f"{thing}{at}" for thing in seen))]
    fitting = [text for text in dict.fromkeys(texts) if not broken_rules(text, business)]
    return fitting or [plainest(business)]


def plainest(business: str) -> str:
    """An alt text for a picture of which nothing is known but whose it is."""
    text = f"Seen at {business}"
    return text if business and not broken_rules(text, business) else NOTHING_KNOWN


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[,;|]", text) if part.strip()]
