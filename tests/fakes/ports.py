"""Ports for programs that have to be told theirs before they can listen.

The kernel gives its own, above these, to whoever asks for any: to a connection, or to another test process, in the
moment before the program listens. So each process of the tests has a share of the lower ones, and takes one after the
other.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

_FIRST, _SHARE, _SHARES = 12_000, 2_500, 8  # up to 31,999; Linux gives away 32,768 and more
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
_START = random.randrange(_SHARE)  # noqa: S311 - two sessions at once on one machine begin at different places
_PORTS = (_FIRST + _WORKER * _SHARE + (_START + number) % _SHARE for number in itertools.count())


def free_port() -> int:
    """Return a loopback port nobody listens on, and which nobody else will be given soon."""
    for port in itertools.islice(_PORTS, _SHARE):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
