"""Asking a model on several Triton servers, over gRPC.

Servers are asked in turn. One that fails, or does not answer in time, is left out, and what it was
asked goes to another. It is looked at from time to time; once it says that its model is ready, it
is tried with one request, and is back when it answers that.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from enum import Enum, auto
from typing import Any

import grpc
from tritonclient.grpc import MAX_GRPC_MESSAGE_SIZE, InferInput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from models.errors import DescriberRefused, DescriberUnavailable
from models.event_loop import LoopThread
from models.triton_models import OUTPUT, ServedModel

log = logging.getLogger(__name__)

FIRST_REST = 0.5
"""Seconds after which a server that was left out is looked at; then twice as long each time."""
LONGEST_REST = 15.0
PROBE_SECONDS = 2.0

FAILURES = 2
"""Of servers at a request, different ones where there are several, until it is at fault."""

CHANNEL: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", MAX_GRPC_MESSAGE_SIZE),
    # By itself a channel waits up to two minutes before it connects to a restarted server.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class ServerFault(Exception):
    """The server cannot answer now."""


class RequestFault(Exception):
    """The server answers, and says that it failed at this request."""


class Standing(Enum):
    """Whether a server is asked."""

    IN = auto()
    ON_TRIAL = auto()  # one request at a time
    OUT = auto()


class Server:
    """One Triton server, as this process sees it; lives in the event loop."""

    def __init__(self, address: str) -> None:
        scheme, _, rest = address.rpartition("://")
        self.address = rest
        self.client = InferenceServerClient(rest, ssl=scheme == "grpcs", channel_args=CHANNEL)
        self.standing = Standing.IN
        self.in_flight = 0
        self.rest = FIRST_REST
        self.fault = ""

    @property
    def is_free(self) -> bool:
        return self.standing is Standing.IN or (
            self.standing is Standing.ON_TRIAL and not self.in_flight
        )

    async def is_ready(self, model: str) -> bool:
        """Whether it says that it could answer."""
        try:
            return bool(await self.client.is_model_ready(model, client_timeout=PROBE_SECONDS))
        except InferenceServerException:
            return False

    async def answer(self, model: ServedModel, inputs: Sequence[InferInput]) -> str:
        """What the model answers.

        Raises `ServerFault`, `RequestFault`, and `DescriberRefused`.
        """
        try:
            if model.is_decoupled:
                return await self._streamed(model.name, inputs)
            return _text(await self.client.infer(model.name, inputs))
        except (InferenceServerException, grpc.RpcError) as error:
            status, said = _status(error)
            if status is grpc.StatusCode.INVALID_ARGUMENT:
                raise DescriberRefused(f"{self.address} refuses the request: {said}") from error
            # Errors within a stream have no status.
            if status in (None, grpc.StatusCode.INTERNAL) and await self.is_ready(model.name):
                raise RequestFault(f"{self.address}: {said}") from error
            raise ServerFault(said) from error

    async def _streamed(self, model: str, inputs: Sequence[InferInput]) -> str:
        async def once() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": model, "inputs": inputs}

        responses = self.client.stream_infer(once())
        parts = []
        try:
            async for result, error in responses:
                if error is not None:
                    raise error
                parts.append(_text(result))
        finally:
            responses.cancel()
        return "".join(parts)


class Triton:
    """A model on several servers; may be shared by threads, must be made after any fork.

    Parameters
    ----------
    addresses:
        ``host:port`` of each server's gRPC, with ``grpcs://`` before it for TLS.
    model:
        The model that is asked.
    deadline:
        Seconds for an answer, tries on other servers included.
    timeout:
        Seconds after which a server that has not answered is left out.
    concurrency:
        Most requests in flight.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        model: ServedModel,
        *,
        deadline: float,
        timeout: float,
        concurrency: int,
    ) -> None:
        self._model = model
        self._deadline = deadline
        self._timeout = timeout
        self._loop = LoopThread("triton")
        self._slots = asyncio.Semaphore(concurrency)
        self._changed = asyncio.Event()
        self._resting: set[asyncio.Task[None]] = set()
        self._servers = self._loop.run(self._open(addresses))

    def ask(self, question: str, picture: bytes, max_tokens: int) -> str:
        """The model's answer about a picture, which is a JPEG.

        Raises `DescriberRefused` when servers fail at this request, `DescriberUnavailable` when no
        server answers before the deadline.
        """
        inputs = self._model.inputs(question, picture, max_tokens)
        return self._loop.run(self._ask_in_time(inputs))

    def servers(self) -> dict[str, str]:
        """Each server's address, and why it is left out; empty: it is not."""

        async def look() -> dict[str, str]:
            return {
                server.address: server.fault if server.standing is Standing.OUT else ""
                for server in self._servers
            }

        return self._loop.run(look())

    def close(self) -> None:
        """Ends what is in flight, and the connections."""

        async def close() -> None:
            for server in self._servers:
                await server.client.close()

        self._loop.run(close())
        self._loop.close()

    async def _open(self, addresses: Sequence[str]) -> deque[Server]:
        return deque(Server(address) for address in addresses)

    async def _ask_in_time(self, inputs: Sequence[InferInput]) -> str:
        try:
            async with asyncio.timeout(self._deadline), self._slots:
                return await self._ask_in_turn(inputs)
        except TimeoutError:
            faults = ", ".join(
                f"{server.address} ({server.fault or 'no answer yet'})" for server in self._servers
            )
            raise DescriberUnavailable(
                f"no answer of {self._model.name} within {self._deadline:g} s from {faults}"
            ) from None

    async def _ask_in_turn(self, inputs: Sequence[InferInput]) -> str:
        tried: set[Server] = set()
        failures: list[str] = []
        while len(failures) < FAILURES:
            server = await self._next(tried)
            tried.add(server)
            server.in_flight += 1
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await server.answer(self._model, inputs)
            except TimeoutError:
                self._leave_out(server, f"no answer within {self._timeout:g} s")
            except ServerFault as fault:
                self._leave_out(server, str(fault))
            except RequestFault as fault:
                failures.append(str(fault))
                self._take_in(server)
            else:
                self._take_in(server)
                return answer
            finally:
                server.in_flight -= 1
                self._changed.set()
        raise DescriberRefused(f"{self._model.name} failed: {'; '.join(failures)}")

    async def _next(self, tried: Collection[Server]) -> Server:
        """The next server in turn; one that was not tried yet if any is left; waits for one."""
        while True:
            asked = [server for server in self._servers if server.standing is not Standing.OUT]
            fresh = [server for server in asked if server not in tried]
            for server in fresh or asked:
                if server.is_free:
                    self._servers.remove(server)
                    self._servers.append(server)
                    return server
            self._changed.clear()
            await self._changed.wait()

    def _take_in(self, server: Server) -> None:
        if server.standing is Standing.ON_TRIAL:
            log.info("%s is back", server.address)
            server.standing = Standing.IN
            server.rest = FIRST_REST
            server.fault = ""

    def _leave_out(self, server: Server, fault: str) -> None:
        if server.standing is Standing.OUT:
            return
        log.warning("%s is left out: %s", server.address, fault)
        server.standing = Standing.OUT
        server.fault = fault
        resting = asyncio.create_task(self._watch(server))
        self._resting.add(resting)
        resting.add_done_callback(self._resting.discard)

    async def _watch(self, server: Server) -> None:
        """Looks at a server that is left out until it says that it is ready."""
        is_ready = False
        while not is_ready:
            await asyncio.sleep(server.rest)
            server.rest = min(2 * server.rest, LONGEST_REST)
            is_ready = await server.is_ready(self._model.name)
        server.standing = Standing.ON_TRIAL
        self._changed.set()


def _text(result: InferResult) -> str:
    """The text of a response; empty for one that only ends its stream."""
    found = result.as_numpy(OUTPUT)
    return "" if found is None or not found.size else found.reshape(-1)[0].decode(errors="replace")


def _status(error: Exception) -> tuple[grpc.StatusCode | None, str]:
    """The status of an error, if it has one, and its message."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code(), str(error.details())
    said = str(error.message()) if isinstance(error, InferenceServerException) else str(error)
    known = {str(code): code for code in grpc.StatusCode}
    status = error.status() if isinstance(error, InferenceServerException) else None
    return known.get(str(status)), said
