"""Configures nginx and HAProxy in front of several replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.benchmarks.units import nginx_before
from tests.proxies.running import Proxy, haproxy, nginx

ProxyName = Literal["nginx", "haproxy", "haproxy without retries"]
PROBE = "inter 500ms fall 1 rise 1"


@dataclass(frozen=True)
class Upstream:
    """The ports of a replica."""

    port: int
    operations_port: int


def _nginx(upstreams: Sequence[Upstream]) -> Proxy:
    """Return nginx as docs/admin/capacity.md shows it."""

    def configure(folder: Path, port: int, _broker: int) -> list[str]:
        return nginx_before(folder, port, [each.port for each in upstreams])

    return Proxy(configure)


def _haproxy(upstreams: Sequence[Upstream], *, retries: bool) -> Proxy:
    """Return HAProxy that asks /readyz twice a second, and sends a request once or tries another replica."""

    def configure(folder: Path, port: int, _broker: int) -> list[str]:
        policy = (
            "retries 3\n    option redispatch 1\n    retry-on conn-failure empty-response" if retries else "retries 0"
        )
        servers = "\n".join(
            f"    server replica{number} 127.0.0.1:{each.port} check port {each.operations_port} {PROBE}"
            for number, each in enumerate(upstreams)
        )
        backend = f"backend broker\n    option httpchk GET /readyz\n    {policy}\n{servers}"
        return haproxy(folder, port, backend, defaults="option http-keep-alive\n    option forwardfor")

    return Proxy(configure)


PROXIES: Mapping[ProxyName, Callable[[Sequence[Upstream]], Proxy]] = {
    "nginx": _nginx,
    "haproxy": lambda upstreams: _haproxy(upstreams, retries=True),
    "haproxy without retries": lambda upstreams: _haproxy(upstreams, retries=False),
}


def bare_responder(port: int) -> tuple[Proxy, Proxy]:
    """Return the nginx of the rows in front of another nginx, which answers each request by itself at a port."""

    def configure(folder: Path, own: int, _broker: int) -> list[str]:
        location = f'location / {{ return 200 "{"x" * 1000}"; }}'
        return nginx(folder, f"server {{ listen 127.0.0.1:{own}; {location} }}")

    return _nginx([Upstream(port, 0)]), Proxy(configure)
