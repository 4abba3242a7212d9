"""What a provider sends as its answer, in whatever pieces it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from broker.oidc.answer import MAX_HEADER_LINES, Answer

LIMIT = 64  # bytes of a body
HOST = "idp.example"

Outcome = tuple[int, bytes, bool] | str
"""Status, body, and whether the connection may be kept; or why there is no answer."""


def judge(pieces: Sequence[bytes], *, ends_with_head: bool = False) -> Outcome:
    """Return what is read from these pieces and the end of the connection, after the bounds are checked."""
    answer = Answer(LIMIT, ends_with_head=ends_with_head)
    for piece in pieces:
        answer.feed(piece)
    answer.end(None, HOST)
    assert answer.is_over
    assert len(answer.headers) <= MAX_HEADER_LINES
    if answer.failure is not None:
        words = str(answer.failure)
        assert 0 < len(words) < 200
        assert words.isprintable()
        return words
    assert len(answer.body) <= LIMIT
    assert 100 <= answer.status <= 999
    assert not ends_with_head or b"".join(pieces).endswith(answer.early)
    return answer.status, bytes(answer.body), answer.keeps_alive


@contextmanager
def validation() -> Iterator[Callable[[bytes], None]]:
    """Give what the fuzzer calls: an answer in one piece, byte by byte, and as an answer to CONNECT."""

    def one_input(data: bytes) -> None:
        whole = judge([data])
        bytewise = judge([data[place : place + 1] for place in range(len(data))])
        # An answer that failed may have failed elsewhere: the parser stops at the first bad byte it is given.
        assert isinstance(whole, str) or whole == bytewise or isinstance(bytewise, str)
        assert isinstance(bytewise, str) or isinstance(whole, str) or whole[:2] == bytewise[:2]
        judge([data], ends_with_head=True)

    yield one_input
