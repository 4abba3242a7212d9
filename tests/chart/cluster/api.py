"""The cluster's API over HTTP, as far as Helm uses it: discovery, objects, patches, watches, logs.

It owns addresses and forms. What may be written is the store's.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.chart.cluster.discovery import discovery
from tests.chart.cluster.merging import merge_plainly, merge_strategically
from tests.chart.cluster.protobuf import MAGIC, read_secret
from tests.chart.cluster.resources import BY_ADDRESS, Resource
from tests.chart.cluster.store import NotTaken, Store
from tests.chart.tools import Object

_ADDRESS = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/v\d+))(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<part>log|status))?"
)
_WATCH_SECONDS = 30.0


class Api(BaseHTTPRequestHandler):
    """One request; `store` is set by `cluster`."""

    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the library's name
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer discovery, a read or a watch."""
        self._answered(self._read)

    def do_POST(self) -> None:
        """Create."""
        self._answered(lambda: (201, self.store.create(self._resource, self._body())))

    def do_PUT(self) -> None:
        """Replace."""
        self._answered(lambda: (200, self.store.replace(self._resource, self._body())))

    def do_PATCH(self) -> None:
        """Change."""
        self._answered(self._patch)

    def do_DELETE(self) -> None:
        """Delete."""
        self._answered(lambda: (200, self.store.delete(self._key)))

    def _answered(self, act: Callable[[], tuple[int, Any] | None]) -> None:
        self._split()
        try:
            done = act()
        except NotTaken as refusal:
            status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": refusal.status}
            done = refusal.status, {**status, "reason": refusal.reason, "message": refusal.words}
        if done is not None:
            self._send(*done)

    def _send(self, status: int, content: Any) -> None:
        raw = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _split(self) -> None:
        self._raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self._where = parts.path.rstrip("/")
        self._query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self._found = _ADDRESS.fullmatch(self._where)

    @property
    def _resource(self) -> Resource:
        if self._found is None:
            raise NotTaken(404, "NotFound", f"no such address: {self._where}")
        api = self._found["core"] or self._found["group"]
        if self._found["plural"] == "namespaces" or (api, self._found["plural"]) in BY_ADDRESS:
            return BY_ADDRESS[api, self._found["plural"]]
        raise NotTaken(404, "NotFound", f"no such resource: {self._where}")

    @property
    def _key(self) -> tuple[str, str, str]:
        resource = self._resource
        assert self._found
        return resource.kind, self._found["namespace"] or "", self._found["name"] or ""

    def _body(self) -> Object:
        one = read_secret(self._raw) if self._raw.startswith(MAGIC) else yaml.safe_load(self._raw)
        one.setdefault("apiVersion", self._resource.api)
        one.setdefault("kind", self._resource.kind)
        if self._resource.namespaced:
            one["metadata"]["namespace"] = self._key[1]
        one.pop("status", None)
        one["metadata"].pop("managedFields", None)
        return dict(one)

    def _patch(self) -> tuple[int, Any]:
        kind = self.headers["Content-Type"]
        if "apply-patch" in kind:  # server-side apply, with one manager alone: what it applies is all there is
            one = self._body()
            if self._key in self.store.objects:
                return 200, self.store.replace(self._resource, one)
            return 201, self.store.create(self._resource, one)
        merge = merge_strategically if "strategic" in kind else merge_plainly
        merged = merge(self.store.get(self._key), json.loads(self._raw))
        return 200, self.store.replace(self._resource, merged)

    def _read(self) -> tuple[int, Any] | None:
        discovered = discovery(self._where, self.store.version)
        if discovered is not None:
            return 200, discovered
        key = self._key
        if self._found and self._found["part"] == "log":
            return 200, self.store.logs[key]
        if key[2]:
            return 200, self.store.get(key)
        if self._query.get("watch") in {"true", "1"}:
            self._watch()
            return None
        found = self.store.list(key[0], key[1], self._matches)
        version = {"resourceVersion": str(len(self.store.changes))}
        return 200, {"apiVersion": self._resource.api, "kind": f"{key[0]}List", "metadata": version, "items": found}

    def _matches(self, one: Object) -> bool:
        labels = one["metadata"].get("labels", {})
        for term in filter(None, self._query.get("labelSelector", "").split(",")):
            name, _, text = term.replace("==", "=").partition("=")
            if labels.get(name) != text:
                return False
        for term in filter(None, self._query.get("fieldSelector", "").split(",")):
            name, _, text = term.replace("==", "=").partition("=")
            if name.startswith("metadata.") and one["metadata"].get(name.partition(".")[2]) != text:
                return False
        return True

    def _watch(self) -> None:
        if "sendInitialEvents" in self._query:
            raise NotTaken(422, "Invalid", "sendInitialEvents is not offered here")
        kind, namespace, _ = self._key
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        seen = int(self._query.get("resourceVersion") or 0)
        ends = time.monotonic() + _WATCH_SECONDS
        try:
            while time.monotonic() < ends:
                with self.store.changed:
                    self.store.changed.wait_for(lambda: len(self.store.changes) > seen, timeout=0.5)  # noqa: B023
                    news = self.store.changes[seen:]
                    seen = len(self.store.changes)
                for _, change, one in news:
                    where = one["metadata"].get("namespace", "")
                    if one["kind"] == kind and namespace in ("", where) and self._matches(one):
                        self.wfile.write(json.dumps({"type": change, "object": one}).encode() + b"\n")
                self.wfile.flush()
        except OSError:
            return  # the other side hung up


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """Serve a store on loopback and return its address."""
    handler = type("ApiOfStore", (Api,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
