"""What a lying identity provider says instead of the truth: each lie alters one message, the rest stays honest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

Document = dict[str, Any]
Alter = Callable[[Document], Document]
AlterAnswer = Callable[[httpx.Response], httpx.Response]


def truth(document: Document) -> Document:
    return document


def as_it_is(response: httpx.Response) -> httpx.Response:
    return response


@dataclass(frozen=True)
class Lies:
    """One field per message; the default is the truth.

    Args:
        discovery: alters the metadata.
        jwks: alters the key set.
        header: alters the ID token's header before it is signed.
        claims: alters the ID token's claims before it is signed.
        sign: signs the token, where the honest way will not do; gets header and claims.
        id_token: alters the signed token.
        token_response: alters the token response.
        userinfo: alters the userinfo claims.
        callback: alters the parameters sent back to the broker.
        answers: alters the HTTP answer of a path as a whole.
    """

    discovery: Alter = truth
    jwks: Alter = truth
    header: Alter = truth
    claims: Alter = truth
    sign: Callable[[Document, Document], str] | None = None
    id_token: Callable[[str], str] = str
    token_response: Alter = truth
    userinfo: Alter = truth
    callback: Alter = truth
    answers: Mapping[str, AlterAnswer] = field(default_factory=dict)


def with_(**members: Any) -> Alter:
    """Set members."""
    return lambda document: {**document, **members}


def without(*members: str) -> Alter:
    """Leave members out."""
    return lambda document: {name: value for name, value in document.items() if name not in members}


def status(code: int, **headers: str) -> AlterAnswer:
    """Answer with another status."""
    return lambda response: httpx.Response(code, headers=headers, content=response.content)


def says(body: bytes, media_type: str = "application/json", **headers: str) -> AlterAnswer:
    """Answer with another body."""
    return lambda response: httpx.Response(
        response.status_code, headers={"Content-Type": media_type, **headers}, content=body
    )
