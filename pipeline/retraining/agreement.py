"""How far two answers to the same question agree."""

from collections.abc import Sequence

from pipeline.retraining.comparison import Likeness
from pipeline.serving import BusinessPictures, Page

# Of rank-biased overlap: the first ten places have 86 % of the weight.
PERSISTENCE = 0.9
# The scores of so many businesses of a page are kept: a record stays below a kilobyte.
MOST_SCORES = 50


def likeness(champion: Page, challenger: Page) -> Likeness:
    """Compares the ``dynamic`` order of each business of two pages.

    Businesses without any picture on either page say nothing and are left out.
    """
    theirs = {business.docid: _order(business) for business in challenger.businesses}
    orders = [(_order(own), theirs.get(own.docid, [])) for own in champion.businesses]
    pairs = [pair for pair in orders if any(pair)]
    overlaps = [rank_biased_overlap(*pair) for pair in pairs]
    return Likeness(
        businesses=len(pairs),
        same_top=sum(one[:1] == other[:1] for one, other in pairs),
        overlap=sum(overlaps) / len(overlaps) if overlaps else 0.0,
        champion_scores=_scores(champion),
        challenger_scores=_scores(challenger),
    )


def rank_biased_overlap(
    one: Sequence[int], other: Sequence[int], persistence: float = PERSISTENCE
) -> float:
    """How alike two orders are, 0..1: 1, the same; 0, nothing in common; upper places weigh more.

    RBO_EXT, equation 32 of Webber, Moffat and Zobel 2010, "A similarity measure for indefinite
    rankings", ACM TOIS 28 (4). The orders repeat nothing and may differ in length; two empty ones
    are the same.
    """
    shorter, longer = sorted((one, other), key=len)
    if not shorter:
        return 0.0 if longer else 1.0
    short, long = len(shorter), len(longer)
    common = [len({*shorter[:depth]} & {*longer[:depth]}) for depth in range(1, long + 1)]
    total = 0.0
    for depth, shared in enumerate(common, 1):
        # What the shorter one would agree in, if it went on as it has begun.
        assumed = common[short - 1] * max(depth - short, 0) / short
        total += (shared + assumed) / depth * persistence**depth
    at_end = (common[-1] - common[short - 1]) / long + common[short - 1] / short
    return (1 - persistence) / persistence * total + at_end * persistence**long


def _order(business: BusinessPictures) -> list[int]:
    return [picture.product_id for picture in business.dynamic]


def _scores(page: Page) -> tuple[float, ...]:
    """Of the first picture of each business, with four digits."""
    firsts = (business.dynamic[0].score for business in page.businesses if business.dynamic)
    return tuple(round(score, 4) for score in firsts if score is not None)[:MOST_SCORES]
