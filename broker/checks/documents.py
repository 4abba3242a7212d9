"""What a provider publishes: its discovery document and its keys.

It owns the sentences about them. They are judged by the functions a sign-in uses, so that a document passes here
exactly if it passes there.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.checks.connection import explain
from broker.checks.finding import CheckFailed, Verdict, failed, ok, sentence, unknown, warning
from broker.errors import (
    AnswerUnreadable,
    BrokerError,
    MetadataInvalid,
    MetadataIssuer,
    OutboundProxyFailed,
    ProviderAddressRefused,
    ProviderUnavailable,
)
from broker.oidc.client import NetworkPolicy
from broker.oidc.keys import MAX_CANDIDATES, MAX_KEYS, KeySet, build_keys_request, check_keys
from broker.oidc.messages import JsonObject, ProviderRequest, ProviderResponse, read_json_object, safe_error_text
from broker.oidc.metadata import ProviderMetadata, build_discovery_request, check_discovery
from broker.oidc.refusal import check_success
from broker.oidc.registration import SIGNATURE_ALGORITHMS
from broker.providers import Provider
from broker.text import printable

CLOCK_WARNING_SECONDS = 30.0
CLOCK_FAILED_SECONDS = 60.0  # what a sign-in allows, in the times of an ID token


async def fetch(provider: Provider, network: NetworkPolicy, request: ProviderRequest) -> ProviderResponse:
    """Return the provider's answer, whatever it says.

    Args:
        provider: whose client is used.
        network: how far it goes.
        request: ready to send.

    Raises:
        CheckFailed: no answer came; with the reason, if it can be found.
    """
    try:
        return await provider.send(request)
    except OutboundProxyFailed as error:
        raise CheckFailed(failed(f"No way through outbound_proxy: {printable(error.got)}.", error.remedy)) from None
    except (ProviderUnavailable, ProviderAddressRefused) as error:
        reason = await explain(request.url, network)
        raise CheckFailed(reason or failed(f"No answer: {sentence(error.got)}", error.remedy)) from None
    except BrokerError as error:  # an answer, but none that may be read
        raise CheckFailed(failed(f"The answer cannot be read: {sentence(error.got)}", error.remedy)) from None


async def fetch_discovery(provider: Provider, network: NetworkPolicy) -> tuple[ProviderResponse, Verdict]:
    """Fetch the discovery document; it must be there and be JSON.

    Args:
        provider: whose.
        network: how far requests go.

    Raises:
        CheckFailed: it is not.
    """
    answer = await fetch(
        provider, network, build_discovery_request(provider.registration.issuer, provider.registration.metadata_url)
    )
    return answer, judge_discovery(provider, answer)


def judge_discovery(provider: Provider, answer: ProviderResponse) -> Verdict:
    """Say whether what came from the discovery address is a document at all.

    Args:
        provider: that was asked.
        answer: what it said.

    Raises:
        CheckFailed: it is none.
    """
    request = build_discovery_request(provider.registration.issuer, provider.registration.metadata_url)
    try:
        check_success(answer)
        read_json_object(answer.body)
    except AnswerUnreadable as error:
        raise CheckFailed(
            failed(
                f"{request.url} answers, but not with JSON: {sentence(error.got)}",
                f"Compare issuer with {provider.console_paths.issuer}. A proxy may have answered in its place.",
            )
        ) from None
    except BrokerError as error:
        said = _error_in(answer)
        message = f"{request.url} answers with status {answer.status}{f': {sentence(said)}' if said else '.'}"
        if isinstance(error, ProviderUnavailable):
            raise CheckFailed(failed(message, error.remedy)) from None
        remedy = provider.preset.remedy(said) or f"Compare issuer with {provider.console_paths.issuer}."
        if answer.location is not None:
            message = f"{request.url} answers with status {sentence(error.got)}"
            remedy = f"Redirects are not followed: set issuer to the address that answers itself. {remedy}"
        raise CheckFailed(failed(message, remedy)) from None
    return ok(f"{request.url} answers.")


def check_issuer(provider: Provider, answer: ProviderResponse) -> tuple[None, Verdict]:
    """Compare the issuer the document names with the one configured, as a sign-in does.

    Args:
        provider: with our registration.
        answer: the discovery document, JSON.

    Raises:
        CheckFailed: they differ.
    """
    expected = provider.registration.metadata_issuer
    try:
        _check_discovery(provider, answer)
    except MetadataIssuer as error:
        raise CheckFailed(_explain_issuer(provider, expected, printable(error.got))) from None
    except MetadataInvalid:
        pass  # the issuer was compared first; the rest is the next check's
    return None, ok(f"The issuer is {expected}, as configured.")


def check_metadata(provider: Provider, answer: ProviderResponse) -> tuple[ProviderMetadata, Verdict]:
    """Check that the document has what a sign-in needs, and compare what it offers with what is configured.

    Args:
        provider: with our registration.
        answer: the discovery document, of the right issuer.

    Raises:
        CheckFailed: something is missing or unusable.
    """
    try:
        metadata = _check_discovery(provider, answer)
    except BrokerError as error:
        message = (
            f"The discovery document is not usable. Expected {printable(error.expected)}; got {sentence(error.got)}"
        )
        raise CheckFailed(failed(message, f"This has to be corrected at the provider. {error.remedy}")) from None
    unusable = [one for one in metadata.ignored if one.startswith("userinfo_endpoint")]
    if unusable and provider.userinfo != "never":
        return metadata, warning(
            f"The discovery document has a member that cannot be used and is ignored: {sentence(unusable[0])}",
            "Unless the ID token has the e-mail address, nobody can sign in: the provider has to correct the member. "
            "If the ID token has it, set userinfo: never.",
        )
    return metadata, _compare_offers(provider, read_json_object(answer.body))


async def check_provider_keys(
    provider: Provider, network: NetworkPolicy, metadata: ProviderMetadata
) -> tuple[None, Verdict]:
    """Check that one of the keys published can verify a token of the configured algorithms.

    Args:
        provider: with the algorithms.
        network: how far requests go.
        metadata: says where the keys are.
    """
    answer = await fetch(provider, network, build_keys_request(metadata.jwks_uri))
    try:
        keys, _ = check_keys(answer)
    except BrokerError as error:
        message = (
            f"{metadata.jwks_uri} holds no usable keys. Expected {printable(error.expected)}; got {sentence(error.got)}"
        )
        raise CheckFailed(failed(message, error.remedy)) from None
    return None, _judge_keys(keys, sorted(provider.registration.signing_algorithms))


def compare_clocks(answer: ProviderResponse, clock: Callable[[], float]) -> Verdict:
    """Compare the provider's clock with ours, by the Date of an answer just received.

    Args:
        answer: fresh.
        clock: ours, seconds since the epoch.
    """
    if answer.date is None:
        return unknown(
            "The provider does not say what time it is.", "Compare this machine's clock by eye: date -u shows it."
        )
    ahead = answer.date - clock()
    seconds = round(abs(ahead))
    size = f"{seconds} seconds" if seconds < 120 else f"{round(seconds / 60)} minutes"
    message = f"This machine's clock is {size} {'behind' if ahead > 0 else 'ahead of'} the provider's."
    remedy = "Synchronise this machine's clock (NTP: timedatectl set-ntp true; in a container: the node's clock)."
    if seconds >= CLOCK_FAILED_SECONDS:
        return failed(message, remedy)
    if seconds >= CLOCK_WARNING_SECONDS:
        return warning(message, remedy)
    return ok("This machine's clock and the provider's agree.")


def _check_discovery(provider: Provider, answer: ProviderResponse) -> ProviderMetadata:
    registration = provider.registration
    return check_discovery(
        answer, expected_issuer=registration.metadata_issuer, allow_loopback=registration.allow_loopback
    )


def _explain_issuer(provider: Provider, expected: str, got: str) -> Verdict:
    message = f"The discovery document names another issuer. Configured: {expected}; the document says: {got}."
    if "://" not in got:  # no address: the member is missing, or is no text
        return failed(
            message, f"Compare issuer with {provider.console_paths.issuer}. The provider has to name itself there."
        )
    remedy = f"Set issuer to exactly {got}, if that is your provider."
    if got.rstrip("/") == expected.rstrip("/"):
        has = "ends with a slash" if got.endswith("/") else "has no slash at the end"
        return failed(f"{message} Only the slash differs: the provider's {has}.", remedy)
    if got.partition("://")[2] == expected.partition("://")[2]:
        return failed(f"{message} Only the scheme differs: http against https.", remedy)
    if got.lower() == expected.lower():
        return failed(f"{message} Only upper and lower case differ.", remedy)
    elsewhere = "If the document is not below that address, leave issuer so and set metadata_url to the document's."
    if provider.registration.metadata_url is None:
        remedy = f"{remedy} {elsewhere}"
    return failed(message, f"Compare issuer with {provider.console_paths.issuer}. {remedy}")


_METHOD_NAMES = {"federated_credential": "private_key_jwt"}


def announced_methods(document: JsonObject) -> list[str]:
    """Return the ways of client authentication a discovery document names.

    Args:
        document: as it was read.
    """
    return _texts(document.get("token_endpoint_auth_methods_supported"))


def announces(methods: list[str], method: str) -> bool:
    """Whether ours is among the ways announced.

    Args:
        methods: announced.
        method: the value of `client_authentication`.
    """
    return _METHOD_NAMES.get(method, method) in methods


def _compare_offers(provider: Provider, document: JsonObject) -> Verdict:
    """A provider may offer more than it announces: what is not announced is worth a warning, no more."""
    registration = provider.registration
    algorithms = _texts(document.get("id_token_signing_alg_values_supported"))
    if algorithms and not registration.signing_algorithms & set(algorithms):
        return _judge_algorithms(algorithms, sorted(registration.signing_algorithms))
    method = registration.client_authentication
    methods = announced_methods(document)
    if methods and not announces(methods, method):
        return warning(
            f"The provider announces client authentication by {printable(', '.join(methods))}, but "
            f"client_authentication is {method}.",
            "Set client_authentication to one of those, as the client is registered there.",
        )
    return ok("The discovery document has everything a sign-in needs.")


def _judge_algorithms(announced: list[str], ours: list[str]) -> Verdict:
    usable = [one for one in announced if one in SIGNATURE_ALGORITHMS]
    message = (
        f"The provider announces that it signs with {printable(', '.join(announced))}, but signing_algorithms has "
    )
    if usable:
        return warning(
            f"{message}{', '.join(ours)}.",
            f"Set signing_algorithms: [{usable[0]}], if the client is registered at the provider with {usable[0]}.",
        )
    by_secret = next((one for one in announced if one.startswith("HS")), "")
    why = f"{by_secret} is signed with the client secret and" if by_secret else "Such an ID token is"
    return failed(
        f"{message}{', '.join(ours)}. {why} never accepted.",
        "Change the client's ID token signature algorithm at the provider to "
        f"{'RS256' if 'RS256' in ours else ours[0]}.",
    )


def _judge_keys(keys: KeySet, algorithms: list[str]) -> Verdict:
    fitting = [key for key in keys.keys if any(key.fits(algorithm) for algorithm in algorithms)]
    without_id = max(sum(key.kid is None and key.fits(one) for key in keys.keys) for one in algorithms)
    if without_id > MAX_CANDIDATES:
        judge = warning if any(key.kid is not None for key in fitting) else failed
        return judge(
            f"{without_id} keys of the provider have no id (kid), and a sign-in tries {MAX_CANDIDATES} at most.",
            f"Have the provider publish its keys with a kid, or only {MAX_CANDIDATES} of them.",
        )
    if len(keys.keys) + len(keys.passed_over) > MAX_KEYS:
        return warning(
            f"The provider publishes more than {MAX_KEYS} keys, and a sign-in looks at the first {MAX_KEYS}.",
            "Have the provider publish only the keys in use.",
        )
    if fitting:
        return ok(f"{len(fitting)} of {len(keys.keys)} keys can verify {' or '.join(algorithms)}.")
    theirs = sorted({key.algorithm or (f"curve {key.curve}" if key.curve else "RSA") for key in keys.keys})
    usable = sorted(one for one in SIGNATURE_ALGORITHMS if any(key.fits(one) for key in keys.keys))
    return failed(
        f"No key of the provider can verify {' or '.join(algorithms)}: its keys are for {printable(theirs)}.",
        f"Set signing_algorithms to what the provider signs our ID tokens with ({' or '.join(usable) or 'RS256'}), or "
        "change that in the client's registration there.",
    )


def _error_in(answer: ProviderResponse) -> str:
    try:
        document = read_json_object(answer.body)
    except AnswerUnreadable:
        return ""
    return safe_error_text(document.get("error"), document.get("error_description"))


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
