"""What RabbitMQ sends comes out frame by frame, however it arrives."""

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from amqp.transport import SSLTransport
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rabbitmq import Connection, _ReadAhead

Frame = tuple[int, int, bytes]

FIRST: Frame = (1, 1, b"a method")
SECOND: Frame = (3, 2, b"a body of it")
HEARTBEAT: Frame = (8, 0, b"")


def sent(*frames: Frame) -> bytes:
    return b"".join(
        struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
        for kind, channel, payload in frames
    )


class Wire:
    """Both ends of a connection."""

    def __init__(self) -> None:
        self.server, client = socket.socketpair()
        self.transport: Any = _ReadAhead("localhost")
        self.transport.sock = client
        self.transport.connected = True
        self.transport._setup_transport()

    def arrived(self) -> list[Frame]:
        """As an event loop takes it: until nothing is left."""
        found: list[Frame] = []
        while True:
            try:
                self.transport.take_what_arrived()
            except TimeoutError:
                return found
            found.append(self.transport.read_frame())

    def close(self) -> None:
        self.server.close()
        self.transport.sock.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_what_has_arrived_together_is_taken_frame_by_frame(wire: Wire) -> None:
    wire.server.sendall(sent(FIRST, HEARTBEAT, SECOND))
    assert wire.arrived() == [FIRST, HEARTBEAT, SECOND]


def test_nothing_is_waited_for(wire: Wire) -> None:
    assert wire.arrived() == []
    assert wire.transport.sock.gettimeout() is None


def test_a_part_of_a_frame_is_kept_for_the_rest(wire: Wire) -> None:
    whole = sent(FIRST)
    for cut in range(1, len(whole)):
        wire.server.sendall(whole[:cut])
        assert wire.arrived() == []
        wire.server.sendall(whole[cut:])
        assert wire.arrived() == [FIRST]


def test_whoever_waits_for_a_frame_takes_nothing_of_the_next(wire: Wire) -> None:
    """An event loop is told of what lies in the socket alone."""
    wire.server.sendall(sent(FIRST, HEARTBEAT, SECOND))
    assert wire.transport.read_frame() == FIRST
    assert wire.transport.read_frame() == HEARTBEAT
    assert wire.transport.sock.recv(1000) == sent(SECOND)


def test_frames_before_the_end_of_a_connection_are_taken(wire: Wire) -> None:
    wire.server.sendall(sent(FIRST, SECOND))
    wire.server.close()
    found = []
    with pytest.raises(OSError, match="closed"):
        while True:
            wire.transport.take_what_arrived()
            found.append(wire.transport.read_frame())
    assert found == [FIRST, SECOND]
    assert not wire.transport.connected


def test_a_lost_connection_is_an_error(wire: Wire) -> None:
    wire.transport.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError):
        wire.transport.take_what_arrived()
    assert not wire.transport.connected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, 8]),
            st.integers(0, 65535),
            st.binary(max_size=300) | st.just(b"x" * 100_000),
        ),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.integers(1, 400), max_size=20),
    st.booleans(),
)
def test_frames_come_out_as_they_went_in(
    frames: list[Frame], cuts: list[int], is_waited_for: bool
) -> None:
    wire = Wire()
    try:
        whole, found = sent(*frames), []
        for size in cuts:
            wire.server.sendall(whole[:size])
            whole = whole[size:]
            found += wire.arrived()
        wire.server.setblocking(False)
        while whole:
            whole = whole[wire.server.send(whole) :]
            if not whole and is_waited_for:
                break
            found += wire.arrived()
        while len(found) < len(frames):
            found.append(wire.transport.read_frame())
    finally:
        wire.close()
    assert found == frames


def test_with_tls_it_is_kombus_own() -> None:
    connection = Connection("localhost")
    plain = connection.Transport("localhost", 1.0)
    secret = connection.Transport("localhost", 1.0, {"server_hostname": "localhost"})
    assert isinstance(plain, _ReadAhead)
    assert isinstance(secret, SSLTransport)
