"""A port to listen on."""

import os
import socket
from contextlib import closing

from dfcvae.errors import UserError

TRIED = 20


def free_port(host: str, port: int) -> int:
    """The port itself, or the next one that is free.

    Raises:
        UserError: if none of 20 is, or there is no such host.
    """
    for candidate in range(port, min(port + TRIED, 65536)):
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:  # the latter: it cannot be a name at all
            raise UserError(f"There is no address {host!r} to listen on; use 127.0.0.1 or 0.0.0.0.") from error
        with closing(socket.socket(family, kind)) as probe:
            if os.name == "posix":  # as the server does: a port that was left a moment ago is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError:
                continue
            return candidate
    raise UserError(f"No port from {port} to {port + TRIED - 1} is free on {host}; choose another with --port.")
