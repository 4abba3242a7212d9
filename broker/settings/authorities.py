"""The certificate authorities of outbound TLS: trusted_ca_file is read again when the file changes."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from broker.errors import Mistake, SettingsError
from broker.oidc.network import tls_context
from broker.settings.secrets import Fingerprint, fingerprint
from broker.settings.values import InvalidValue, check_authorities

LOOK_SECONDS = 1.0  # between looks at the file, as for a secret

AuthoritiesReader = Callable[[Path | None], ssl.SSLContext]
"""Returns a context that trusts the public authorities, and those of the file. Raises InvalidValue."""

_log = logging.getLogger("broker.settings")


class WatchedAuthorities:
    """The TLS context of outbound connections; the last good context stays while the file cannot be used.

    Certificates are read in a thread: a hundred of them take 20 ms.

    Args:
        file: the admin's authorities, besides the public ones; None for the public ones alone.
    """

    def __init__(
        self, file: Path | None, seen: Fingerprint | None, context: ssl.SSLContext, read: AuthoritiesReader
    ) -> None:
        self._file = file
        self._read = read
        self._seen = seen
        self._context = context
        self._is_rejected = False

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        return self._context

    def is_rejected(self) -> bool:
        """Tell whether the file's current content cannot be used, so that the last good context stays."""
        return self._is_rejected

    async def watch(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Look at the file again and again."""
        while self._file is not None:
            await asyncio.sleep(look_seconds)
            try:
                await self._look(self._file)
            except Exception as defect:  # noqa: BLE001 - a defect must not end the looks
                self._is_rejected = True
                _log.error("defect", exc_info=defect)

    async def _look(self, file: Path) -> None:
        seen = fingerprint(file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._context = await asyncio.to_thread(self._read, file)
        except InvalidValue as invalid:
            self._is_rejected = True
            _log.error("%s changed and %s; the previous value stays in use", file, invalid.problem)
        else:
            self._is_rejected = False
            _log.info("%s changed; the new value is in use", file)


def read_authorities(file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the public authorities, and those of the file.

    Raises:
        InvalidValue: the file cannot be used.
    """
    if file is not None:
        check_authorities(file)
    try:
        return tls_context(file)
    except (OSError, ValueError):  # ssl.SSLError is an OSError; the file changed since the check
        raise InvalidValue("changes while it is read") from None


async def open_authorities(file: Path | None, read: AuthoritiesReader = read_authorities) -> WatchedAuthorities:
    """Read the authorities; the caller runs `watch`.

    Raises:
        SettingsError: the file cannot be used.
    """
    seen = fingerprint(file) if file else None  # before reading: the next look then sees a change in between
    try:
        context = await asyncio.to_thread(read, file)
    except InvalidValue as invalid:
        example = "trusted_ca_file: /etc/ssl/acme-ca.pem"
        raise SettingsError((Mistake("trusted_ca_file", f"names a file that {invalid.problem}", example),)) from None
    return WatchedAuthorities(file, seen, context, read)
