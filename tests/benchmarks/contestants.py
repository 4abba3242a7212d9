"""Describes what the benchmark measures side by side: each contestant starts one product for one setting."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """What a product is set up with.

    Args:
        issuer: The stub provider's issuer, over TLS or plain http.
        ca_file: The certificate that signs the provider's; None over plain http.
        shared_secret: Signs the token for Comm100 (HS256).
        endpoint: Where a callback's redirect leads, with `jwt` in its query where the product makes one.
        folder: An empty folder of the product's own.
        core: The processor core that the product's processes run on.
    """

    issuer: str
    ca_file: Path | None
    client_id: str
    client_secret: str
    shared_secret: str
    endpoint: str
    folder: Path
    core: int


@dataclass(frozen=True)
class Running:
    """A started product.

    Args:
        login_url: Takes `redirect_url` as a query parameter and redirects to the provider.
        pid: The root of the product's process tree.
    """

    login_url: str
    pid: int


@dataclass(frozen=True)
class Peer:
    """A product and how to start it.

    Args:
        versions: Names what runs, with versions, for the report.
        start: Runs the product until the context ends.
    """

    name: str
    versions: Callable[[], str]
    start: Callable[[Setting], AbstractContextManager[Running]]
