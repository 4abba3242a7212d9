"""Render the demo's templates, and the headers of its pages."""

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
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # for YAML, which joins no surrogate pairs


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
"""Headers of every page: one inline style, no script, nothing loaded from elsewhere."""


def build_page(template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Return a page rendered from a file in `templates/`."""
    return HTMLResponse(render(template, **values), status_code=status, headers=PAGE_HEADERS)


def render(template: str, **values: object) -> str:
    """Return the text of a template, as in `build_page`."""
    return _ENVIRONMENT.get_template(template).render(values)
