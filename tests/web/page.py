"""An HTML page taken apart, for tests that look at what it says.

Refuses to know whose page it is.
"""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "path", "circle", "img"}


class Page(HTMLParser):
    """One page taken apart: its tags with attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += " ".join(data.split()) + "\n"

    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]

    def count(self, wanted: str) -> int:
        return sum(tag == wanted for tag, _ in self.tags)
