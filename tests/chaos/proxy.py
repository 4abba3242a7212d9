"""Configures nginx and HAProxy in front of several replicas."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.benchmarks.units import Unit, nginx_configuration
from tests.proxies.running import Proxy

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
        units = [Unit(folder, each.port, each.operations_port, 0) for each in upstreams]
        (folder / "nginx.conf").write_text(nginx_configuration(folder, port, units), encoding="utf-8")
        return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]

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
        (folder / "haproxy.cfg").write_text(
            f"""
defaults
    mode http
    option http-keep-alive
    option forwardfor
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend people
    bind 127.0.0.1:{port}
    default_backend broker
backend broker
    option httpchk GET /readyz
    {policy}
{servers}
""",
            encoding="utf-8",
        )
        return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]

    return Proxy(configure)


PROXIES: Mapping[ProxyName, Callable[[Sequence[Upstream]], Proxy]] = {
    "nginx": _nginx,
    "haproxy": lambda upstreams: _haproxy(upstreams, retries=True),
    "haproxy without retries": lambda upstreams: _haproxy(upstreams, retries=False),
}


def bare_responder(port: int) -> tuple[Proxy, Proxy]:
    """Return the nginx of the rows in front of another nginx, which answers each request by itself at a port."""

    def configure(folder: Path, own: int, _broker: int) -> list[str]:
        (folder / "nginx.conf").write_text(
            f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{own};
        location / {{ return 200 "{"x" * 1000}"; }}
    }}
}}
""",
            encoding="utf-8",
        )
        return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]

    return _nginx([Upstream(port, 0)]), Proxy(configure)
