"""The batcher: many messages, one forward pass.

Every message runs in a thread of its own and is acknowledged by itself; what they share is the
forward pass. A batch is run when it is full, when its oldest item has waited long enough, or when
nobody else is on the way, where callers say so.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tasks.block import Block

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Entry(Generic[Item, Result]):
    item: Item
    group: Hashable
    result: "Future[Result]" = field(default_factory=Future)


class Batcher(Generic[Item, Result]):
    """Collects items of many threads into batches.

    The slots of the worker are the back pressure: no more items wait than threads do.

    Args:
        run: called with the items of one group; returns their results in the same order.
        size: most items in a batch.
        wait: seconds that a batch waits for more.
        observe: told the size of each batch.
        announced: whether all callers come by ``coming``: a batch then waits for nobody else.
    """

    def __init__(
        self,
        run: Callable[[Hashable, Sequence[Item]], Sequence[Result]],
        size: int,
        wait: float,
        observe: Callable[[float], object] = lambda _: None,
        *,
        announced: bool = False,
    ) -> None:
        self._run = run
        self._size = size
        self._wait = wait
        self._observe = observe
        self._announced = announced
        self._coming = 0
        self._here = threading.local()
        self._coming_block = Block(self._expect, self._expect_no_longer)
        self._entries: deque[_Entry[Item, Result]] = deque()
        self._changed = threading.Condition()
        self._start = threading.Lock()
        self._pass = threading.Lock()
        self._thread: threading.Thread | None = None

    def __call__(self, item: Item, group: Hashable = None, timeout: float | None = None) -> Result:
        """The result for one item; items of different groups never share a forward pass.

        Raises:
            TimeoutError: the result took longer than ``timeout`` seconds.
            Exception: what ``run`` raised for this item alone.
        """
        entry: _Entry[Item, Result] = _Entry(item, group)
        if self._size == 1 and timeout is None:
            # There is nobody to share with, and no reason to change threads.
            with self._pass:
                self._settle(group, [entry])
            return entry.result.result()
        self._ensure_thread()
        with self._changed:
            self._entries.append(entry)
            self._arrive()
        return entry.result.result(timeout)

    def coming(self) -> Block:
        """This thread may bring an item: batches wait for it until then, or the block's end."""
        return self._coming_block

    def _expect(self) -> None:
        if self._size > 1:
            with self._changed:
                self._here.is_coming = True
                self._coming += 1

    def _expect_no_longer(self) -> None:
        if getattr(self._here, "is_coming", False):
            with self._changed:
                self._arrive()

    def _arrive(self) -> None:
        if getattr(self._here, "is_coming", False):
            self._here.is_coming = False
            self._coming -= 1
        # The thread waits for a first item, and then for a whole batch: it need not look at others.
        if len(self._entries) == 1 or self._is_complete():
            self._changed.notify()

    def _ensure_thread(self) -> None:
        with self._start:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            batch = self._collect()
            for group in dict.fromkeys(entry.group for entry in batch):
                with self._pass:
                    self._settle(group, [entry for entry in batch if entry.group == group])

    def _collect(self) -> list[_Entry[Item, Result]]:
        with self._changed:
            self._changed.wait_for(lambda: self._entries)
            self._changed.wait_for(self._is_complete, self._wait)
            count = min(len(self._entries), self._size)
            return [self._entries.popleft() for _ in range(count)]

    def _is_complete(self) -> bool:
        is_alone = self._announced and not self._coming
        return is_alone or len(self._entries) >= self._size

    def _settle(self, group: Hashable, entries: list[_Entry[Item, Result]]) -> None:
        """Run one batch; when it fails, each of its items alone, so that only the culprit fails."""
        self._observe(len(entries))
        try:
            results = self._run(group, [entry.item for entry in entries])
            for entry, result in zip(entries, results, strict=True):
                entry.result.set_result(result)
        except Exception as error:  # noqa: BLE001 - handed on to the thread that waits for it
            if len(entries) == 1:
                entries[0].result.set_exception(error)
                return
            for entry in entries:
                if not entry.result.done():
                    self._settle(group, [entry])
