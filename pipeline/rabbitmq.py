"""Kombu's transport for RabbitMQ, which reads what has arrived at once.

py-amqp reads each frame in three pieces, and makes the socket one that does not wait before each
and one that waits after it: for the three frames of a message 21 calls of the system, at each of
which the thread lets go of the interpreter and has to get it back. Here it takes two, however many
messages have come together; and a frame that is waited for, like the confirm of a message, takes
two instead of three. With TLS everything is as in py-amqp.
"""

import socket
from typing import Any

from amqp.transport import TCPTransport
from kombu.transport import pyamqp

# Of a frame beside its payload: a header that ends with the payload's size, and a last byte.
_HEADER, _FRAME = 7, 8
_AT_ONCE = 1 << 16


class _ReadAhead(TCPTransport):
    """A socket, and what has been read of it and not asked for yet."""

    _read_buffer: bytes

    def take_what_arrived(self) -> None:
        """Have the next frame at hand, and whatever else has arrived.

        Only for those who take frames until this raises: nobody is told of what lies here.

        Raises:
            TimeoutError: it has not arrived.
            OSError: the connection is lost.
        """
        while not self._has_frame():
            try:
                arrived = self.sock.recv(_AT_ONCE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                raise TimeoutError from None
            except OSError:
                self.connected = False
                raise
            if not arrived:
                self.connected = False
                raise ConnectionResetError("RabbitMQ closed the connection")
            self._read_buffer += arrived

    def _has_frame(self) -> bool:
        at_hand = self._read_buffer
        size = int.from_bytes(at_hand[3:_HEADER], "big")
        return len(at_hand) >= _FRAME + size

    def _read(self, n: int, initial: bool = False, *others: Any) -> bytes:
        """Exactly n bytes; the one behind them, which ends a frame or begins its payload, is read
        along and kept."""
        if n == 1 or len(self._read_buffer) > n:
            return bytes(super()._read(n, initial, *others))
        read = super()._read(n + 1, initial, *others)
        self._read_buffer = read[n:] + self._read_buffer
        return bytes(read[:n])


class Connection(pyamqp.Connection):
    """py-amqp's connection on such a socket."""

    def Transport(
        self,
        host: str,
        connect_timeout: float,
        ssl: Any = False,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """What frames are read from and written to."""
        if ssl:
            return super().Transport(
                host, connect_timeout, ssl, read_timeout, write_timeout, **options
            )
        return _ReadAhead(host, connect_timeout, read_timeout, write_timeout, **options)

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Take a frame; with a timeout of 0 only one that has arrived, else TimeoutError."""
        transport = self.transport
        if timeout == 0 and isinstance(transport, _ReadAhead):
            transport.take_what_arrived()
            return self.on_inbound_frame(transport.read_frame())
        return super().blocking_read(timeout)


class Transport(pyamqp.Transport):
    """``amqp://``, as ``celeryconfig`` registers it."""

    Connection = Connection
