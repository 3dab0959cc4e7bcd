"""Shadow: a share of the questions is put to the challenger as well, and only recorded."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

from pipeline.errors import JustLensError
from pipeline.metrics import SHADOWED
from pipeline.retraining.agreement import likeness
from pipeline.retraining.comparison import Comparison, Question
from pipeline.serving import Page, Serving

log = logging.getLogger(__name__)

Answer = Callable[[Question], Page]
Save = Callable[[Sequence[Comparison]], object]

# The challenger's pages come with gaps: it answered, but without its model or its vectors.
DEGRADED = "Degraded"


@dataclass(frozen=True)
class Pair:
    """Two text models, and what answers by the second.

    Attributes:
        champion: identity of the one that serves.
        challenger: of the other.
        answer: answers by it as the champion would be asked. It raises what serving raises.
    """

    champion: str
    challenger: str
    answer: Answer


@dataclass(frozen=True)
class Answered:
    """What the challenger made of a question.

    Attributes:
        page: none where it failed with an error.
        error: the error's name, or ``Degraded``; empty: it answered.
    """

    page: Page | None
    seconds: float
    error: str = ""


def pair_of(champion: Serving, challenger: Serving | None) -> Pair | None:
    """The pair of what serves and what is to be compared with it, if there is one."""
    if challenger is None:
        return None
    return Pair(
        champion.text_model,
        challenger.text_model,
        lambda question: challenger.page(**question.options()),
    )


def takes(key: str, share: float) -> bool:
    """Whether a question is among the share (0..1) that is taken.

    Args:
        key: ``Question.key``, hexadecimal digits that are spread evenly: the same question is
            taken or left by every process, today and tomorrow.
    """
    return int(key[:13], 16) < share * 16**13


class Shadow:
    """Puts questions to the challenger behind the champion's back.

    Args:
        pair: the models to compare at the moment; none: there is no challenger.
        save: keeps comparisons; raises ``StoreUnavailable``.
        share: of the questions, 0..1.
        waiting: most answers that wait to be compared, one of which is being worked at.
    """

    def __init__(
        self, pair: Callable[[], Pair | None], save: Save, share: float, waiting: int
    ) -> None:
        self._pair = pair
        self._save = save
        self._share = share
        self._room = threading.BoundedSemaphore(waiting)
        # One thread takes little of the interpreter from those who answer. At a lower priority it
        # would take more: it would hold the interpreter's lock while it waits for a processor.
        self._thread = ThreadPoolExecutor(1, "shadow")

    def follow(self, question: Question, answer: Callable[[], Page]) -> Page:
        """What ``answer`` returns, or raises; timed, and offered for comparison."""
        began = time.perf_counter()
        page = answer()
        self.offer(question, page, time.perf_counter() - began)
        return page

    def offer(self, question: Question, page: Page, seconds: float) -> None:
        """Compare an answer later, if its question is among those taken; never waits.

        What finds no room is left out and counted. So are answers that the champion gave without
        its model: they say nothing of it.

        Args:
            question: what was asked.
            page: the champion's answer.
            seconds: how long it took.
        """
        pair = self._pair()
        if pair is None or page.degraded or not takes(question.key, self._share):
            return
        if not self._room.acquire(blocking=False):
            SHADOWED.labels("dropped").inc()
            return
        # What it logs is still about this request.
        in_context = copy_context().run
        self._thread.submit(in_context, self._record, pair, question, page, seconds)

    def close(self) -> None:
        """Finish the comparison that is being made, and forget the others."""
        self._thread.shutdown(cancel_futures=True)

    def _record(self, pair: Pair, question: Question, page: Page, seconds: float) -> None:
        try:
            self._save([compared(pair, question, page, seconds, ask(pair, question))])
        except JustLensError as error:
            SHADOWED.labels("lost").inc()
            log.warning("a comparison with the challenger is lost: %s", error)
        finally:
            self._room.release()


def ask(pair: Pair, question: Question) -> Answered:
    """Puts a question to the challenger; what it fails with is in the result."""
    began = time.perf_counter()
    page, error = None, ""
    try:
        page = pair.answer(question)
    except JustLensError as raised:
        log.warning("the challenger %s failed: %s", pair.challenger, raised)
        error = type(raised).__name__
    except Exception as raised:
        # What breaks in a way that nobody thought of is what this is to find out.
        log.exception("the challenger %s failed", pair.challenger)
        error = type(raised).__name__
    seconds = time.perf_counter() - began
    return Answered(page, seconds, DEGRADED if page and page.degraded else error)


def compared(
    pair: Pair,
    question: Question,
    ours: Page,
    seconds: float,
    theirs: Answered,
    is_replay: bool = False,
) -> Comparison:
    """What there is to record of an answer of the champion's and one of the challenger's."""
    SHADOWED.labels("failed" if theirs.error else "compared").inc()
    return Comparison(
        champion=pair.champion,
        challenger=pair.challenger,
        question=question.key,
        query=question.words,
        champion_seconds=seconds,
        challenger_seconds=theirs.seconds,
        likeness=likeness(ours, theirs.page) if theirs.page and not theirs.error else None,
        error=theirs.error,
        is_replay=is_replay,
    )
