"""What we keep of one provider between sign-ins: its metadata and its keys.

This file owns their refreshing. Each is fetched once for everybody; both survive the provider's outages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker.oidc.cached import Cached, Clock, Sleep
from broker.oidc.keys import KeySet, build_keys_request, check_keys
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.metadata import ProviderMetadata, build_discovery_request, check_discovery
from broker.oidc.registration import PROTOCOL_PARAMETERS, Registration

METADATA_LIFETIME = 3600.0  # seconds
RETRY_MISSING_SECONDS = 1.0  # between attempts while there is no document
RETRY_STALE_SECONDS = 60.0  # between attempts while there is an old one

_log = logging.getLogger("broker")

Send = Callable[[ProviderRequest], Awaitable[ProviderResponse]]


class Discovery:
    """One provider's metadata and keys, kept for everyone.

    Args:
        registration: ours at the provider.
        send: the provider's client.
        clock: seconds since the epoch.
        sleep: waits for a refetch's turn.
    """

    def __init__(self, registration: Registration, send: Send, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._registration = registration
        self._send = send
        self._ignored: tuple[str, ...] = ()
        self.metadata: Cached[ProviderMetadata] = Cached(
            self._fetch_metadata,
            clock,
            retry_missing=RETRY_MISSING_SECONDS,
            retry_stale=RETRY_STALE_SECONDS,
            sleep=sleep,
        )
        self.keys: Cached[KeySet] = Cached(
            self._fetch_keys,
            clock,
            retry_missing=RETRY_MISSING_SECONDS,
            retry_stale=RETRY_STALE_SECONDS,
            sleep=sleep,
        )

    async def keep_warm(self) -> None:
        """Fetch what is missing or old, so that no sign-in has to wait for it.

        Raises:
            BrokerError: something is missing and cannot be had now.
        """
        await self.metadata.get()
        await self.keys.get()

    async def _fetch_metadata(self) -> tuple[ProviderMetadata, float]:
        request = build_discovery_request(self._registration.issuer, self._registration.metadata_url)
        answer = await self._send(request)
        metadata = check_discovery(
            answer,
            expected_issuer=self._registration.metadata_issuer,
            allow_loopback=self._registration.allow_loopback,
            own_parameters=PROTOCOL_PARAMETERS | self._registration.authorization_parameters.keys(),
        )
        if metadata.ignored != self._ignored:
            self._ignored = metadata.ignored
            facts = {"issuer": metadata.issuer, "ignored": metadata.ignored}
            _log.warning("members of the discovery document are ignored", extra={"facts": facts})
        return metadata, METADATA_LIFETIME

    async def _fetch_keys(self) -> tuple[KeySet, float]:
        metadata = await self.metadata.get()
        return check_keys(await self._send(build_keys_request(metadata.jwks_uri)))
