"""Fails when private parts of libraries that the broker overrides or relies on are not what they were when read."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from asyncio import selector_events
from collections.abc import Callable
from importlib.metadata import version

import httptools
import pytest
from uvicorn.config import Config
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.server import Server, ServerState

from broker.http_protocol import BoundedProtocol

# What broker/http_protocol.py was written against. A new digest: read the part's changes, and the overriding method;
# run `make test-proxies` and tests/hostile; then put the new digest here.
READ = {
    httptools_impl.HttpToolsProtocol: "18fdf324b11bf160",
    httptools_impl.RequestResponseCycle: "e67d470d435dcc1c",
    flow_control.FlowControl: "126debcdaa894c83",
    ServerState: "f2260fbf10154746",
    Server.shutdown: "9b33c50562992b1e",
}

# The parser is compiled: its behaviour is what the tests of this protocol pin, for this version.
PARSER = "0.9"


@pytest.mark.parametrize("part", READ, ids=lambda part: part.__qualname__)
def test_a_part_of_uvicorn_is_as_it_was_when_we_read_it(part: type | Callable[..., object]) -> None:
    digest = hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:16]
    assert digest == READ[part], (
        f"uvicorn {version('uvicorn')} changed {part.__qualname__}: compare it with broker/http_protocol.py, "
        f"run tests/test_http_protocol.py, tests/hostile and make test-proxies, then write {digest} here"
    )


def test_the_parser_is_of_the_version_whose_behaviour_is_tested() -> None:
    assert version("httptools").startswith(f"{PARSER}."), (
        "httptools changed: read what its llhttp does with Upgrade, Connection: close, trailers and chunk extensions, "
        "run tests/test_http_protocol.py, tests/oidc/test_transport.py, tests/hostile and make test-proxies, then "
        "change PARSER here"
    )
    for name in ("feed_data", "get_http_version", "should_keep_alive", "should_upgrade", "set_dangerous_leniencies"):
        assert callable(getattr(httptools.HttpRequestParser, name))


def test_the_parser_of_answers_has_what_the_client_uses() -> None:
    for name in ("feed_data", "get_http_version", "get_status_code", "should_keep_alive"):
        assert callable(getattr(httptools.HttpResponseParser, name))


def test_each_method_that_is_overridden_is_there_to_be_overridden() -> None:
    ours = {name for name, member in vars(BoundedProtocol).items() if inspect.isfunction(member)}
    new = {"drop", "hang_up", "_drop_data", "_note", "_awaits_client", "_has_host", "_refuse", "_count", "_check"}
    new |= {"_start_timer", "_stop_timer", "_stop_write_timer"}
    assert ours - new == ours & set(dir(httptools_impl.HttpToolsProtocol))
    assert not new & set(dir(httptools_impl.HttpToolsProtocol)), "uvicorn has a method of a name of ours now"


def test_uvicorn_runs_the_class_it_is_given() -> None:
    config = Config(app=lambda: None, http=BoundedProtocol, log_config=None)  # keeps logging as it is
    config.load()
    assert config.http_protocol_class is BoundedProtocol


def test_asyncio_has_the_parts_we_use() -> None:
    transport = selector_events._SelectorSocketTransport  # type: ignore[attr-defined] # noqa: SLF001
    reading, writing = ("pause_reading", "resume_reading"), ("get_write_buffer_size", "set_write_buffer_limits")
    for name in ("abort", "close", "is_closing", *reading, *writing, "write_eof"):
        assert callable(getattr(transport, name))
    assert issubclass(transport, asyncio.Transport)
