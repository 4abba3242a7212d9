"""The logo on the agents' pages: which files can be one.

It owns the judgement of a picture by its first and last bytes, or, of an SVG, by its form. It knows no page.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from broker.settings.invalid_value import InvalidValue

MAX_BYTES = 6_000  # in base64 8,000 characters: with them every page of agents stays under 20 KB

_SVG = "http://www.w3.org/2000/svg svg"


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture that browsers can show.

    Args:
        media_type: of the picture.
        content: its bytes.
    """

    media_type: str
    content: bytes = field(repr=False)

    @property
    def data_uri(self) -> str:
        """The whole picture as an address (RFC 2397), so that a page needs no second request."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


def read_logo(file: Path) -> Logo:
    """Read a picture, and tell its kind by its content.

    Args:
        file: PNG, JPEG, WebP or SVG; the name does not count.

    Raises:
        InvalidValue: it is too large, or no whole picture of these kinds.
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InvalidValue(f"names a file of more than {MAX_BYTES} bytes: it is part of every page")
    kind = _kind(content)
    if kind is None:
        raise InvalidValue("names a file that is no whole picture: PNG, JPEG, WebP or SVG")
    return Logo(kind, content)


def _kind(content: bytes) -> str | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") and content.endswith(b"IEND\xaeB`\x82"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff") and content.endswith(b"\xff\xd9"):
        return "image/jpeg"
    if (
        content[:4] == b"RIFF"
        and content[8:12] == b"WEBP"
        and int.from_bytes(content[4:8], "little") + 8 == len(content)
    ):
        return "image/webp"
    return "image/svg+xml" if _is_svg(content) else None


def _is_svg(content: bytes) -> bool:
    """Tell whether this is well-formed XML whose outermost element is SVG's; browsers show nothing else."""
    elements: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda name, _: elements.append(name)
    parser.EntityDeclHandler = _refuse_entity  # they can grow without bounds
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, _Entity, LookupError, ValueError):  # the last two: it names an encoding nobody can read
        return False
    return elements[0] == _SVG


class _Entity(Exception):
    pass


def _refuse_entity(*_: object) -> None:
    raise _Entity
