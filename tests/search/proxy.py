"""A TCP proxy in front of a server, whose clients can be cut off without the server hearing."""

import socket
import struct
import threading
from contextlib import suppress

_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset


class Proxy:
    """Forwards connections to a port of this machine, while the block runs.

    It listens where it is told to, or on any free port.
    """

    def __init__(self, port: int, listens: int = 0) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", listens))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._left: list[socket.socket] = []  # the server's ends of clients that were reset
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts, and keeps it open
        self._listener.close()
        self.reset_clients()
        self.close_servers()

    def reset_clients(self) -> None:
        """Reset every client's connection; the server's ends stay open, and are silent."""
        with self._lock:
            for client, server in self._pairs:
                self._left.append(server)
                with suppress(OSError):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    client.shutdown(socket.SHUT_RD)  # wakes the thread that reads
                client.close()
            self._pairs.clear()

    def close_servers(self) -> None:
        """Close the server's ends of the connections whose clients were reset."""
        with self._lock:
            for server in self._left:
                with suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)  # wakes its reader, who keeps it open
                server.close()
            self._left.clear()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                with self._lock:
                    self._pairs.append((client, server))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes over until one end is closed; never tell the other end."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
