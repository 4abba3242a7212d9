"""Reads a Secret as Helm writes its own records: in Kubernetes' protobuf form, and in no other.

The numbers are those of `generated.proto` in k8s.io/api/core/v1 and k8s.io/apimachinery/pkg/apis/meta/v1.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.chart.tools import Object

MAGIC = b"k8s\x00"  # what such a body begins with


def read_secret(body: bytes) -> Object:
    """Read a Secret with its name, labels, type and data."""
    raw = b"".join(part for number, part in _fields(body.removeprefix(MAGIC)) if number == 2)
    secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"labels": {}}, "data": {}}
    for number, part in _fields(raw):
        if number == 1:
            secret["metadata"] = _metadata(part)
        elif number == 2:
            name, content = _entry(part)
            secret["data"][name.decode()] = base64.b64encode(content).decode()
        elif number == 3:
            secret["type"] = part.decode()
    return secret


def _metadata(raw: bytes) -> Object:
    metadata: Object = {"labels": {}}
    for number, part in _fields(raw):
        if number == 1:
            metadata["name"] = part.decode()
        elif number == 11:
            name, text = _entry(part)
            metadata["labels"][name.decode()] = text.decode()
    return metadata


def _entry(raw: bytes) -> tuple[bytes, bytes]:
    parts = dict(_fields(raw))
    return parts.get(1, b""), parts.get(2, b"")


def _fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each field that has bytes; numbers are passed over."""
    place = 0
    while place < len(raw):
        tag, place = _number(raw, place)
        length, place = _number(raw, place)
        if tag & 7 == 2:
            yield tag >> 3, raw[place : place + length]
            place += length


def _number(raw: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = raw[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
