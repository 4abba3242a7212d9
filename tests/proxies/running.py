"""Real proxies in front of the broker, configured as people configure them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.processes import wait_until

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@dataclass(frozen=True)
class Proxy:
    """How a proxy is run.

    Args:
        configure: writes its configuration for a folder, its own port and the broker's, and returns the command.
    """

    configure: Callable[[Path, int, int], list[str]]


def nginx(folder: Path, http: str, *, events: str = "worker_connections 4096;") -> list[str]:
    """Write a configuration with these lines in its `http` block, and return the command."""
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ {events} }}
http {{
    {temporary}
    access_log off;
    {http}
}}
""",
        encoding="utf-8",
    )
    return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]


def haproxy(folder: Path, port: int, backend: str, *, defaults: str = "") -> list[str]:
    """Write a configuration with this backend, named `broker`, at a port, and return the command."""
    (folder / "haproxy.cfg").write_text(
        f"""
defaults
    mode http
    {defaults}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend people
    bind 127.0.0.1:{port}
    default_backend broker
{backend}
""",
        encoding="utf-8",
    )
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


def _nginx(*more: str) -> Proxy:
    """Return nginx as the template of ingress-nginx (nginx.tmpl) sets it up."""

    def configure(folder: Path, port: int, broker: int) -> list[str]:
        http = f"""
            keepalive_timeout 75s;
            client_header_buffer_size 1k;
            large_client_header_buffers 4 8k;
            client_max_body_size 1m;
            {" ".join(more)}
            map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
            upstream upstream_balancer {{
                server 127.0.0.1:{broker};
                keepalive 320;
                keepalive_timeout 60s;
                keepalive_requests 10000;
            }}
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_set_header Host $http_host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    proxy_set_header X-Request-ID $request_id;
                    proxy_set_header X-Real-IP $remote_addr;
                    proxy_set_header X-Forwarded-For $remote_addr;
                    proxy_set_header X-Forwarded-Host $http_host;
                    proxy_set_header X-Forwarded-Proto $scheme;
                    proxy_set_header Proxy "";
                    proxy_connect_timeout 5s;
                    proxy_buffering off;
                    proxy_buffer_size 16k;
                    proxy_buffers 4 16k;
                    proxy_request_buffering on;
                    proxy_http_version 1.1;
                    proxy_next_upstream error timeout;
                    proxy_next_upstream_tries 3;
                    proxy_redirect off;
                    proxy_pass http://upstream_balancer;
                }}
            }}
        """
        return nginx(folder, http, events="worker_connections 2048; multi_accept on;")

    return Proxy(configure)


def _haproxy(folder: Path, port: int, broker: int) -> list[str]:
    backend = f"backend broker\n    server one 127.0.0.1:{broker}"
    return haproxy(folder, port, backend, defaults="option http-keep-alive\n    http-reuse always")


def _caddy(folder: Path, port: int, broker: int) -> list[str]:
    (folder / "Caddyfile").write_text(f"""{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{broker}
}}
""")
    return ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]


PROXIES: Mapping[str, Proxy] = {
    "nginx, as ingress-nginx": _nginx("client_body_buffer_size 8k;"),
    "nginx, with default body buffers": _nginx(),
    "HAProxy": Proxy(_haproxy),
    "Caddy": Proxy(_caddy),
}


@contextmanager
def running(proxy: Proxy, folder: Path, port: int, broker: int) -> Iterator[None]:
    """Run a proxy on a port, in front of the broker at another, while the block runs."""
    command = proxy.configure(folder, port, broker)
    home = {"PATH": PATH, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "proxy.txt").open("wb") as output:
        process = subprocess.Popen(command, env=home, cwd=folder, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), "the proxy starts")
        assert process.poll() is None, (folder / "proxy.txt").read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
