"""Renders the demo's own pages; owns their look and the headers they are sent with.

Refuses to know what the pages are about: the stand-in and the provider hand in the words.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import jinja2
from starlette.responses import HTMLResponse

TEMPLATES = Path(__file__).with_name("templates")

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
)


def _style_hash() -> str:
    style = _ENVIRONMENT.get_template("style.css").render()
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


# No form-action: Chromium applies it to the redirects after a form too, and a sign-in is a chain of redirects.
PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{_style_hash()}'; img-src data:; "
            "frame-ancestors 'none'; base-uri 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
)
"""What every page of the demo is sent with: one inline style, no script, nothing loaded from anywhere."""


def build_page(template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Return the page made from the template of that file name and the values it asks for."""
    html = _ENVIRONMENT.get_template(template).render(values)
    return HTMLResponse(html, status_code=status, headers=PAGE_HEADERS)
