"""Which files can be the logo. Small pictures of each kind are made here, byte by byte."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest

from broker.settings.values import MAX_LOGO_BYTES
from tests.settings.admin import Admin


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def webp_of(content: bytes) -> bytes:
    return b"RIFF" + (len(content) + 4).to_bytes(4, "little") + b"WEBP" + content


ONE_PIXEL = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
PNG = b"\x89PNG\r\n\x1a\n" + ONE_PIXEL + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
JPEG = b"\xff\xd8\xff\xe0" + bytes(20) + b"\xff\xd9"
WEBP = webp_of(b"VP8L" + bytes(12))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 1"><rect width="4" height="1"/></svg>'
PREFIXED = b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>'
DRAWN = b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE svg PUBLIC "x" "http://acme.example/svg.dtd">\n' + SVG
GROWING = b'<!DOCTYPE svg [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>' + SVG


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        pytest.param(PNG, "image/png", id="PNG"),
        pytest.param(JPEG, "image/jpeg", id="JPEG"),
        pytest.param(WEBP, "image/webp", id="WebP"),
        pytest.param(SVG, "image/svg+xml", id="SVG"),
        pytest.param(PREFIXED, "image/svg+xml", id="SVG with a prefix"),
        pytest.param(DRAWN, "image/svg+xml", id="SVG of a drawing program"),
        pytest.param(
            SVG.replace(b"<rect", b" " * (MAX_LOGO_BYTES - len(SVG)) + b"<rect"), "image/svg+xml", id="the largest"
        ),
    ],
)
def test_a_picture_is_known_by_its_content(admin: Admin, content: bytes, media_type: str) -> None:
    (admin.folder / "logo").write_bytes(content)
    logo = admin.load(admin.settings(logo_file="logo")).logo_file
    assert logo is not None
    assert logo.data_uri == f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    assert repr(content)[2:20] not in repr(logo)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is truncated or is not", id="nothing"),
        pytest.param(PNG[:-1], "is truncated or is not", id="a PNG cut off"),
        pytest.param(JPEG[:-2], "is truncated or is not", id="a JPEG cut off"),
        pytest.param(WEBP[:-1], "is truncated or is not", id="a WebP cut off"),
        pytest.param(SVG[:-1], "is truncated or is not", id="an SVG cut off"),
        pytest.param(SVG.replace(b"2000/svg", b"1999/xhtml"), "is truncated or is not", id="other XML"),
        pytest.param(b"<svg/>", "is truncated or is not", id="an SVG for inside of HTML"),
        pytest.param(GROWING, "is truncated or is not", id="an SVG that grows"),
        pytest.param(
            b'<?xml version="1.0" encoding="none"?>' + SVG, "is truncated or is not", id="an SVG in no encoding"
        ),
        pytest.param(b"<html><body>404</body></html>", "is truncated or is not", id="a page"),
        pytest.param(b"GIF89a" + bytes(20), "is truncated or is not", id="a GIF"),
        pytest.param(PNG + bytes(MAX_LOGO_BYTES), "more than 6000 bytes", id="too large"),
    ],
)
def test_what_browsers_would_not_show_is_a_mistake(admin: Admin, content: bytes, problem: str) -> None:
    (admin.folder / "logo.png").write_bytes(content)
    [mistake] = admin.refused(admin.settings(logo_file="logo.png"))
    assert mistake.path == "logo_file"
    assert problem in mistake.problem
    assert mistake.example == "logo_file: logo.svg"


def test_the_logo_is_looked_for_beside_the_settings_file_or_where_it_is(admin: Admin, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "logo").write_bytes(PNG)
    logo = admin.load(admin.settings(logo_file=str(elsewhere / "logo"))).logo_file
    assert logo is not None
    assert logo.content == PNG
