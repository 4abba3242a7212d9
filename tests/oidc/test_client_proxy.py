"""The proxy of the settings: what it is shown, what it never sees, and whose fault is named when it fails (S-41)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.errors import (
    BrokerError,
    OutboundProxyFailed,
    ProviderAddressRefused,
    ProviderCertificate,
    ProviderUnreachable,
)
from broker.oidc.client import NetworkPolicy, ProviderClient, open_client
from broker.oidc.messages import ProviderRequest, ProviderResponse
from tests.fakes.ports import free_port
from tests.oidc.connect_proxy import basic, connect_proxy
from tests.oidc.servers import Authority, Server, Talk, hangs_up, new_authority, ok, says, serving

IDP = "idp.acme.example"  # no name server knows it
TOKEN = f"https://{IDP}/token?code=the-code"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> Path:
    return authority.write(tmp_path / "ca.pem")


@asynccontextmanager
async def provider(authority: Authority, folder: Path, talk: Talk | None = None) -> AsyncIterator[Server]:
    async with serving(talk or says(ok(b'{"by": "provider"}')), tls=authority.context(folder, IDP)) as server:
        yield server


async def ask(proxy: str, url: str = TOKEN, ca: Path | None = None) -> ProviderResponse:
    network = NetworkPolicy(ca, lambda: proxy)
    request = ProviderRequest("POST", url, 1000, {"Authorization": "Basic client"}, "secret=s3cret")
    async with open_client(network) as http:
        return await ProviderClient(http, network).send(request)


async def failure_of(proxy: str, url: str = TOKEN, ca: Path | None = None) -> BrokerError:
    with pytest.raises(BrokerError) as failure:
        await ask(proxy, url, ca)
    return failure.value


@pytest.mark.parametrize(
    ("written", "user", "password"),
    [
        pytest.param("me:pw", "me", "pw", id="plain"),
        pytest.param("acme%5Cme:p%40w%3A%2F%25", "acme\\me", "p@w:/%", id="percent-encoded"),
        pytest.param("m%C3%A4x:p%C3%A4ss", "mäx", "päss", id="UTF-8"),
        pytest.param("me:%E5%AF%86", "me", "密", id="beyond Latin-1"),
        pytest.param("me", "me", "", id="no password"),
        pytest.param("me:a+b", "me", "a+b", id="a plus sign stays one"),
    ],
)
async def test_the_proxy_gets_the_credentials_and_the_provider_does_not(
    authority: Authority, tmp_path: Path, trusted: Path, written: str, user: str, password: str
) -> None:
    async with (
        provider(authority, tmp_path) as server,
        connect_proxy(wants=basic(user, password), leads_to=server.port) as proxy,
    ):
        answer = await ask(f"http://{written}@127.0.0.1:{proxy.port}", ca=trusted)
    assert answer.body == b'{"by": "provider"}'
    assert proxy.asked_for == [f"{IDP}:443"]
    assert b"proxy-authorization" not in server.requests[0].lower()
    assert b"Authorization: Basic client" in server.requests[0]
    shown_to_the_proxy = "".join(proxy.heads)
    assert "the-code" not in shown_to_the_proxy
    assert "Basic client" not in shown_to_the_proxy


async def test_without_credentials_none_are_sent(authority: Authority, tmp_path: Path, trusted: Path) -> None:
    async with provider(authority, tmp_path) as server, connect_proxy(leads_to=server.port) as proxy:
        await ask(f"http://127.0.0.1:{proxy.port}", ca=trusted)
    assert "authorization" not in proxy.heads[0].lower()


async def test_an_https_proxy_is_spoken_to_in_tls(authority: Authority, tmp_path: Path, trusted: Path) -> None:
    (tmp_path / "proxy").mkdir()
    tls = authority.context(tmp_path / "proxy", "127.0.0.1")
    async with (
        provider(authority, tmp_path) as server,
        connect_proxy(wants=basic("me", "pw"), leads_to=server.port, tls=tls) as proxy,
    ):
        assert (await ask(f"https://me:pw@127.0.0.1:{proxy.port}", ca=trusted)).status == 200


async def test_a_password_that_changes_is_taken_without_a_restart(
    authority: Authority, tmp_path: Path, trusted: Path
) -> None:
    password = ["old"]

    def through() -> str:
        return f"http://me:{password[0]}@127.0.0.1:{proxy.port}"

    async with (
        provider(authority, tmp_path, says(ok(), close=True)) as server,
        connect_proxy(wants=basic("me", "new"), leads_to=server.port) as proxy,
        open_client(NetworkPolicy(trusted, through)) as http,
    ):
        client = ProviderClient(http, NetworkPolicy(trusted, through))
        with pytest.raises(OutboundProxyFailed):
            await client.send(ProviderRequest("GET", f"https://{IDP}/keys", 1000))
        password[0] = "new"
        assert (await client.send(ProviderRequest("GET", f"https://{IDP}/keys", 1000))).status == 200


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        pytest.param(b"HTTP/1.1 407 Proxy Auth Required\r\n\r\n", "407 Proxy Auth Required", id="407"),
        pytest.param(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope", "403 Forbidden", id="403"),
        pytest.param(b"HTTP/1.1 403 \r\n\r\n", "403", id="no phrase"),
        pytest.param(b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "502 Bad Gateway", id="502"),
        pytest.param(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable", id="503"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "204 No Content", id="another success than 200"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: https://login.proxy/\r\n\r\n", "302 Found", id="a portal"),
        pytest.param(b"HTTP/1.1 500 " + b"x" * 4000 + b"\r\n\r\n", "500 " + "x" * 60 + "...", id="a long phrase"),
        pytest.param(b"HTTP/1.1 407 no s3cret\r\n\r\n", "407 no [left out]", id="the password"),
        pytest.param(b"HTTP/1.1 407 no bWU6czNjcmV0\r\n\r\n", "407 no [left out]", id="the credentials"),
        pytest.param(b"SSH-2.0-Open\r\n", "not HTTP: begins with SSH-2.0-Open", id="no proxy at all"),
        pytest.param(b"", "connection closed while connecting", id="nothing"),
    ],
)
async def test_whatever_the_proxy_answers_but_200_is_our_sides_fault(answer: bytes, got: str) -> None:
    async with serving(says(answer, close=True)) as proxy:
        failure = await failure_of(f"http://me:s3cret@127.0.0.1:{proxy.port}")
    assert (type(failure), failure.code, failure.status) == (OutboundProxyFailed, "outbound_proxy_failed", 503)
    assert failure.got == got
    assert failure.expected == f"a connection to {IDP} by outbound_proxy 127.0.0.1:{proxy.port}"
    assert "outbound_proxy" in failure.remedy
    assert "user name and password" in failure.remedy
    assert "s3cret" not in f"{failure.expected} {failure.got}"
    assert len(proxy.requests) == 1, "a second attempt could lock the account"
    assert proxy.requests[0].startswith(f"CONNECT {IDP}:443 HTTP/1.1\r\n".encode())


async def test_a_proxy_that_is_not_reached_is_our_sides_fault(
    authority: Authority, tmp_path: Path, trusted: Path
) -> None:
    port = free_port()
    refused = await failure_of(f"http://127.0.0.1:{port}")
    unknown = await failure_of("http://no-proxy.invalid:3128")
    async with serving(says(ok()), tls=authority.context(tmp_path, "127.0.0.1")) as proxy:
        distrusted = await failure_of(f"https://127.0.0.1:{proxy.port}")
        misnamed = await failure_of(f"https://localhost:{proxy.port}", ca=trusted)
        plain = await failure_of(f"http://127.0.0.1:{proxy.port}")
    async with serving(says(ok()), reads=False) as proxy:
        no_tls = await failure_of(f"https://127.0.0.1:{proxy.port}")
    got = {
        f"Connection refused (127.0.0.1 port {port})": refused,
        ": no-proxy.invalid": unknown,
        "certificate of 127.0.0.1: unknown authority": distrusted,
        "certificate of localhost: wrong host": misnamed,
        "connection closed while connecting": plain,
        "TLS with 127.0.0.1: wrong version number": no_tls,
    }
    assert {one.code for one in got.values()} == {"outbound_proxy_failed"}
    assert [words for words, one in got.items() if words not in str(one.got)] == []


async def test_a_proxy_that_never_answers_is_our_sides_fault() -> None:
    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    async with serving(silent) as proxy:
        network = NetworkPolicy(None, lambda: f"http://127.0.0.1:{proxy.port}")
        async with open_client(network, connect_seconds=0.2) as http:
            with pytest.raises(OutboundProxyFailed) as failure:
                await ProviderClient(http, network).send(ProviderRequest("GET", TOKEN, 1000))
    assert failure.value.got == "no connection within 0.2 s"


async def test_what_goes_wrong_in_the_tunnel_is_the_providers(
    authority: Authority, tmp_path: Path, trusted: Path
) -> None:
    async with provider(authority, tmp_path, hangs_up) as server, connect_proxy(leads_to=server.port) as proxy:
        through = f"http://127.0.0.1:{proxy.port}"
        assert isinstance(await failure_of(through), ProviderCertificate)
        dropped = await failure_of(through, ca=trusted)
    async with serving(says(ok()), reads=False) as server, connect_proxy(leads_to=server.port) as proxy:
        no_tls = await failure_of(f"http://127.0.0.1:{proxy.port}")
    assert (type(dropped), dropped.got) == (ProviderUnreachable, "connection closed before an answer came")
    assert isinstance(no_tls, ProviderUnreachable)
    assert no_tls.got == f"TLS with {IDP}: wrong version number (the port does not speak TLS)"


async def test_a_provider_may_answer_407_itself(authority: Authority, tmp_path: Path, trusted: Path) -> None:
    talk = says(ok(status="407 Odd"))
    async with provider(authority, tmp_path, talk) as server, connect_proxy(leads_to=server.port) as proxy:
        assert (await ask(f"http://127.0.0.1:{proxy.port}", ca=trusted)).status == 407


async def test_the_proxy_is_asked_for_documents_in_plain_http() -> None:
    """In development alone: on loopback."""
    async with serving(says(ok(b'{"by": "proxy"}'))) as proxy:
        answer = await ask(f"http://me:pw@127.0.0.1:{proxy.port}", "http://idp.invalid/token?a=b")
    assert answer.body == b'{"by": "proxy"}'
    assert proxy.requests[0].startswith(b"POST http://idp.invalid/token?a=b HTTP/1.1\r\n")
    assert f"proxy-authorization: {basic('me', 'pw')}".encode().lower() in proxy.requests[0].lower()


async def test_407_to_a_document_in_plain_http_is_the_proxys() -> None:
    async with serving(says(ok(status="407 Proxy Authentication Required"))) as proxy:
        failure = await failure_of(f"http://127.0.0.1:{proxy.port}", "http://idp.invalid/token")
    assert (failure.code, failure.got) == ("outbound_proxy_failed", "407 Proxy Authentication Required")


@pytest.mark.requirement("S-41")
async def test_behind_a_proxy_a_private_literal_is_refused_and_the_proxys_own_address_is_not(
    authority: Authority, tmp_path: Path, trusted: Path
) -> None:
    async with provider(authority, tmp_path) as server, connect_proxy(leads_to=server.port) as proxy:
        refused = await failure_of(f"http://127.0.0.1:{proxy.port}", "https://169.254.169.254/latest")
        assert proxy.heads == []
        assert (await ask(f"http://127.0.0.1:{proxy.port}", ca=trusted)).status == 200
    assert isinstance(refused, ProviderAddressRefused)


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize(
    "host",
    [
        pytest.param("169。254。169。254", id="ideographic full stops, which are sent as dots"),
        pytest.param("169.254.169.%32%35%34", id="percent-encoded"),
        pytest.param("127.0.0.1 ", id="a blank at the end, which is sent percent-encoded"),
        pytest.param("127.0.0.1..", id="dots at the end"),
    ],
)
async def test_behind_a_proxy_no_other_spelling_of_a_private_address_is_asked_for(host: str) -> None:
    """The proxy's resolver may take it for the address."""
    async with connect_proxy() as proxy:
        refused = await failure_of(f"http://127.0.0.1:{proxy.port}", f"https://{host}/latest")
        assert proxy.heads == []
    assert isinstance(refused, ProviderAddressRefused)
