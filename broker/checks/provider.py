"""Check the discovery document and the keys of a provider with the functions of a sign-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from broker.checks.finding import Finding, Topic, sentence
from broker.checks.reach import failed_step, no_answer, reach
from broker.errors import AnswerUnreadable, BrokerError, MetadataIssuer, ProviderUnavailable
from broker.oidc.health import CLOCK_WARNING_SECONDS, OWN_CLOCK_REMEDY, describe_clock
from broker.oidc.keys import MAX_CANDIDATES, MAX_KEYS, KeySet, build_keys_request, check_keys
from broker.oidc.messages import JsonObject, ProviderResponse, check_success, read_json_object
from broker.oidc.metadata import ProviderMetadata, build_discovery_request, check_discovery
from broker.oidc.registration import SIGNATURE_ALGORITHMS
from broker.providers import Provider
from broker.text import printable

CLOCK_FAILED_SECONDS = 60.0  # what a sign-in allows, in the times of an ID token
OTHER_METHOD_REMEDY = "Set client_authentication to an announced method, the method of the client's registration."
_METHOD_NAMES = {"federated_credential": "private_key_jwt"}


@dataclass(frozen=True, slots=True)
class Documents:
    """The answer with the discovery document, and the findings about it.

    Args:
        answer: None if no answer came, or none that can be read.
        document: None if the answer is not a JSON object with status 200.
        metadata: None if the document is not usable, or is of another issuer.
        findings: in the order of the checks, up to the first failure that the next check depends on.
    """

    answer: ProviderResponse | None
    document: JsonObject | None
    metadata: ProviderMetadata | None
    findings: tuple[Finding, ...]

    @property
    def announced(self) -> list[str]:
        """The methods of client authentication that the document announces."""
        return _texts((self.document or {}).get("token_endpoint_auth_methods_supported"))

    @property
    def failure(self) -> Finding | None:
        """The first failed finding."""
        return next((finding for finding in self.findings if finding.status == "failed"), None)


def topic_of(provider: Provider, check: str) -> Topic:
    """Return the topic for a check of a provider."""
    return Topic(provider.id, check, provider.kind.guide)


async def check_documents(provider: Provider, *, proxied: bool = False) -> Documents:
    """Fetch the discovery document; return it with the findings dns, tls, discovery, issuer and metadata."""
    request = build_discovery_request(provider.registration.issuer, provider.registration.metadata_url)
    answer, findings = await reach(provider.send, request, provider.id, proxied=proxied)
    if isinstance(answer, BrokerError):
        if failed_step(answer) == "answer":
            findings.append(no_answer(topic_of(provider, "discovery"), request.url, answer))
        return Documents(None, None, None, tuple(findings))
    document, discovery = _read_document(provider, request.url, answer)
    findings.append(discovery)
    if document is None:
        return Documents(answer, None, None, tuple(findings))
    metadata, compared = check_metadata(provider, answer)
    return Documents(answer, document, metadata, (*findings, *compared))


def _read_document(provider: Provider, url: str, answer: ProviderResponse) -> tuple[JsonObject | None, Finding]:
    """Return the JSON object of an answer with status 200, and the finding about it."""
    topic = topic_of(provider, "discovery")
    compare = f"Compare issuer with {provider.console_paths.issuer}."
    try:
        check_success(answer)
        return read_json_object(answer.body), topic.ok(f"{url} answers.")
    except AnswerUnreadable as error:
        message = f"{url} answers, but not with JSON: {sentence(error.got)}"
        return None, topic.failed(message, f"{compare} A proxy may have answered in its place.")
    except ProviderUnavailable as error:
        got, remedy = error.got, error.remedy
    except BrokerError as error:
        got, remedy = error.got, provider.kind.remedy(str(error.got)) or compare
        if answer.location is not None:
            remedy = f"Redirects are not followed: set issuer to the address that answers itself. {remedy}"
    return None, topic.failed(f"{url} answers with status {sentence(got)}", remedy)


def check_metadata(provider: Provider, answer: ProviderResponse) -> tuple[ProviderMetadata | None, list[Finding]]:
    """Check a discovery document as a sign-in does, and compare it with the settings.

    The findings are `issuer`, and `metadata` unless the issuer failed.

    Args:
        answer: a JSON object.
    """
    registration, topic = provider.registration, topic_of(provider, "metadata")
    expected = registration.metadata_issuer
    same_issuer = topic_of(provider, "issuer").ok(f"The issuer is {expected}, as configured.")
    try:
        metadata = check_discovery(answer, expected_issuer=expected, allow_loopback=registration.allow_loopback)
    except MetadataIssuer as error:  # compared before all else
        return None, [_another_issuer(provider, expected, printable(error.got))]
    except BrokerError as error:
        return None, [same_issuer, _refused(topic, "The discovery document is not usable.", error)]
    return metadata, [same_issuer, _compare_announced(provider, topic, metadata, read_json_object(answer.body))]


async def check_provider_keys(provider: Provider, metadata: ProviderMetadata) -> Finding:
    """Check that a published key can verify a token of the configured algorithms."""
    topic = topic_of(provider, "keys")
    try:
        answer = await provider.send(build_keys_request(metadata.jwks_uri))
    except BrokerError as error:
        return no_answer(topic, metadata.jwks_uri, error)
    try:
        keys, _ = check_keys(answer)
    except BrokerError as error:
        return _refused(topic, f"{metadata.jwks_uri} has no usable keys.", error)
    return _compare_keys(topic, keys, sorted(provider.registration.signing_algorithms))


def check_clock(provider: Provider, answer: ProviderResponse, clock: Callable[[], float]) -> Finding:
    """Compare the provider's clock with this machine's, by the Date of an answer just received.

    Args:
        clock: seconds since the epoch.
    """
    topic = topic_of(provider, "clock")
    if answer.date is None:
        by_eye = "Compare this machine's clock by eye: date -u shows it."
        return topic.unknown("The provider's answer has no Date.", by_eye)
    ahead = clock() - answer.date
    if round(abs(ahead)) >= CLOCK_FAILED_SECONDS:
        return topic.failed(describe_clock(ahead), OWN_CLOCK_REMEDY)
    if round(abs(ahead)) >= CLOCK_WARNING_SECONDS:
        return topic.warning(describe_clock(ahead), OWN_CLOCK_REMEDY)
    return topic.ok("This machine's clock and the provider's agree.")


def describe_other_method(provider: Provider, announced: list[str]) -> str:
    """Say that the announced methods of client authentication lack the configured one; empty if they do not."""
    method = provider.registration.client_authentication
    if not announced or _METHOD_NAMES.get(method, method) in announced:
        return ""
    return f"announces client authentication by {printable(announced)}, but client_authentication is {method}."


def _refused(topic: Topic, message: str, error: BrokerError) -> Finding:
    return topic.failed(f"{message} Expected {printable(error.expected)}, got {sentence(error.got)}", error.remedy)


def _another_issuer(provider: Provider, expected: str, got: str) -> Finding:
    topic, compare = topic_of(provider, "issuer"), f"Compare issuer with {provider.console_paths.issuer}."
    message = f"The discovery document names another issuer. Expected {expected}, got {got}."
    if "://" not in got:  # not an address: the member is missing or not a text
        return topic.failed(message, f"{compare} The provider has to name itself there.")
    remedy = f"Set issuer to exactly {got}, if that is your provider."
    if got.rstrip("/") == expected.rstrip("/"):
        ends = "ends with a slash" if got.endswith("/") else "has no slash at the end"
        return topic.failed(f"{message} Only the slash differs: the provider's {ends}.", remedy)
    if got.partition("://")[2] == expected.partition("://")[2]:
        return topic.failed(f"{message} Only the scheme differs: http against https.", remedy)
    if got.lower() == expected.lower():
        return topic.failed(f"{message} Only upper and lower case differ.", remedy)
    if provider.registration.metadata_url is None:
        remedy += " If the document is not below that address, leave issuer so and set metadata_url to the document's."
    return topic.failed(message, f"{compare} {remedy}")


def _compare_announced(provider: Provider, topic: Topic, metadata: ProviderMetadata, document: JsonObject) -> Finding:
    """Compare what the document announces with the settings; a provider may offer more than it announces."""
    unusable = [member for member in metadata.ignored if member.startswith("userinfo_endpoint")]
    if unusable and provider.userinfo != "never":
        return topic.warning(
            f"The discovery document has a member that cannot be used and is ignored: {sentence(unusable[0])}",
            "Sign-ins fail unless the ID token has the e-mail address: the provider has to correct the member. "
            "If the ID token has it, set userinfo: never.",
        )
    configured = provider.registration.signing_algorithms
    algorithms = _texts(document.get("id_token_signing_alg_values_supported"))
    if algorithms and not configured & set(algorithms):
        return _compare_algorithms(topic, algorithms, sorted(configured))
    if other := describe_other_method(provider, _texts(document.get("token_endpoint_auth_methods_supported"))):
        return topic.warning(f"The provider {other}", OTHER_METHOD_REMEDY)
    required = provider.registration.required_authentication.acr
    if (offered := _texts(document.get("acr_values_supported"))) and required and not set(required) & set(offered):
        return topic.warning(
            f"The provider announces the authentication contexts {printable(offered)}, and none of require_acr.",
            "Compare require_acr with the provider: a sign-in fails unless the ID token names one of them.",
        )
    return topic.ok("The discovery document has everything a sign-in needs.")


def _compare_algorithms(topic: Topic, announced: list[str], configured: list[str]) -> Finding:
    usable = [name for name in announced if name in SIGNATURE_ALGORITHMS]
    message = (
        f"The provider announces that it signs with {printable(announced)}, but signing_algorithms has "
        f"{', '.join(configured)}."
    )
    if usable:
        return topic.warning(
            message, f"Set signing_algorithms: [{usable[0]}], if the client is registered at the provider with it."
        )
    by_secret = next((name for name in announced if name.startswith("HS")), "")
    why = f"{by_secret} is signed with the client secret and" if by_secret else "Such an ID token is"
    return topic.failed(
        f"{message} {why} never accepted.",
        "Change the client's ID token signature algorithm at the provider to "
        f"{'RS256' if 'RS256' in configured else configured[0]}.",
    )


def _compare_keys(topic: Topic, keys: KeySet, algorithms: list[str]) -> Finding:
    fitting = [key for key in keys.keys if any(key.fits(algorithm) for algorithm in algorithms)]
    without_id = max(sum(key.kid is None and key.fits(name) for key in keys.keys) for name in algorithms)
    if without_id > MAX_CANDIDATES:
        finding = topic.warning if any(key.kid is not None for key in fitting) else topic.failed
        return finding(
            f"{without_id} keys of the provider have no id (kid), and a sign-in tries at most {MAX_CANDIDATES}.",
            f"Have the provider publish its keys with a kid, or only {MAX_CANDIDATES} of them.",
        )
    if len(keys.keys) + len(keys.passed_over) > MAX_KEYS:
        return topic.warning(
            f"The provider publishes more than {MAX_KEYS} keys, and a sign-in looks at the first {MAX_KEYS}.",
            "Have the provider publish only the keys in use.",
        )
    if fitting:
        return topic.ok(f"{len(fitting)} of {len(keys.keys)} keys can verify {' or '.join(algorithms)}.")
    published = sorted({key.algorithm or (f"curve {key.curve}" if key.curve else "RSA") for key in keys.keys})
    usable = sorted(name for name in SIGNATURE_ALGORITHMS if any(key.fits(name) for key in keys.keys))
    return topic.failed(
        f"No key of the provider can verify {' or '.join(algorithms)}: its keys are for {printable(published)}.",
        f"Set signing_algorithms to what the provider signs ID tokens with ({' or '.join(usable) or 'RS256'}), or "
        "change that in the client's registration there.",
    )


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
