"""How far the client goes: whose certificates it trusts, which addresses it reaches, what of the environment it hears.

S-41, on real sockets.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from broker.errors import (
    AnswerUnexpected,
    BrokerError,
    ProviderAddressRefused,
    ProviderCertificate,
    ProviderUnavailable,
    ProviderUnreachable,
)
from broker.oidc.client import NetworkPolicy, ProviderClient, open_client
from broker.oidc.messages import ProviderRequest, ProviderResponse
from broker.oidc.network import is_public_address, is_public_or_name
from tests.oidc.servers import Authority, hangs_up, new_authority, ok, says, serving


@asynccontextmanager
async def reaching(network: NetworkPolicy) -> AsyncIterator[ProviderClient]:
    async with open_client(network) as client:
        yield ProviderClient(client, network)


async def ask(network: NetworkPolicy, url: str, method: str = "POST") -> ProviderResponse:
    async with reaching(network) as client:
        return await client.send(ProviderRequest(method, url, 1000))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def trusting(authority: Authority, tmp_path: Path) -> NetworkPolicy:
    return NetworkPolicy(trusted_ca_file=authority.write(tmp_path / "ca.pem"), private_networks=True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_of_the_trusted_file_is_taken(
    trusting: NetworkPolicy, authority: Authority, tmp_path: Path, host: str
) -> None:
    async with serving(says(ok()), tls=authority.context(tmp_path, "localhost", "127.0.0.1")) as server:
        assert (await ask(trusting, f"https://{host}:{server.port}/")).body == b"{}"


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize(
    ("host", "days", "trusted", "cause"),
    [
        pytest.param("localhost", 1, False, "unknown authority", id="of an authority nobody named"),
        pytest.param("idp.example", 1, True, "wrong host", id="of another host"),
        pytest.param("127.0.0.1", 1, True, "wrong host", id="of the address, asked by name"),
        pytest.param("localhost", -1, True, "expired", id="expired yesterday"),
    ],
)
async def test_another_certificate_is_refused_before_anything_is_sent(
    trusting: NetworkPolicy, authority: Authority, tmp_path: Path, host: str, days: int, trusted: bool, cause: str
) -> None:
    """The request was never sent, so it is tried once more, and no more often."""
    network = trusting if trusted else NetworkPolicy(private_networks=True)
    async with serving(says(ok()), tls=authority.context(tmp_path, host, days=days)) as server:
        with pytest.raises(ProviderCertificate) as failure:
            await ask(network, f"https://localhost:{server.port}/token")
    assert failure.value.expected == f"a trusted certificate at localhost:{server.port}/token"
    assert str(failure.value.got).startswith(f"certificate of localhost: {cause}: ")
    assert failure.value.remedy != ProviderCertificate.remedy, "each cause has its own"
    assert (server.requests, server.connections) == ([], 2)


async def test_a_server_that_speaks_no_tls_is_unreachable(trusting: NetworkPolicy) -> None:
    async with serving(says(ok()), reads=False) as server:
        with pytest.raises(ProviderUnreachable) as failure:
            await ask(trusting, f"https://localhost:{server.port}/")
    assert failure.value.got == "TLS with localhost: wrong version number (the port does not speak TLS)"


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        pytest.param(40, "sslv3 alert handshake failure", id="no cipher in common"),
        pytest.param(
            70, "tlsv1 alert protocol version (the server does not accept TLS 1.2 and 1.3)", id="an old server"
        ),
        pytest.param(80, "tlsv1 alert internal error", id="its own trouble"),
        pytest.param(112, "tlsv1 unrecognized name", id="a name it does not know"),
    ],
)
async def test_a_handshake_the_server_ends_is_said_in_openssls_words(
    trusting: NetworkPolicy, alert: int, words: str
) -> None:
    async with serving(says(b"\x15\x03\x01\x00\x02\x02" + bytes([alert])), reads=False) as server:
        with pytest.raises(ProviderUnreachable) as failure:
            await ask(trusting, f"https://localhost:{server.port}/")
    assert failure.value.got == f"TLS with localhost: {words}"


@pytest.mark.requirement("S-41")
async def test_a_server_that_wants_tls_gets_no_plain_request(
    trusting: NetworkPolicy, authority: Authority, tmp_path: Path
) -> None:
    async with serving(says(ok()), tls=authority.context(tmp_path, "localhost")) as server:
        with pytest.raises((ProviderUnreachable, AnswerUnexpected)):
            await ask(trusting, f"http://localhost:{server.port}/")
    assert server.requests == []


PRIVATE = [
    pytest.param("127.0.0.1", id="loopback"),
    pytest.param("127.255.0.3", id="further loopback"),
    pytest.param("0.0.0.0", id="this host"),
    pytest.param("10.1.2.3", id="private, 10"),
    pytest.param("172.16.0.1", id="private, 172.16"),
    pytest.param("192.168.1.1", id="private, 192.168"),
    pytest.param("169.254.169.254", id="the cloud's metadata"),
    pytest.param("100.64.0.1", id="carrier-grade NAT"),
    pytest.param("192.0.2.1", id="documentation"),
    pytest.param("198.18.0.1", id="benchmarks"),
    pytest.param("224.0.0.1", id="multicast"),
    pytest.param("255.255.255.255", id="broadcast"),
    pytest.param("::", id="this host, IPv6"),
    pytest.param("::1", id="loopback, IPv6"),
    pytest.param("fe80::1", id="link-local"),
    pytest.param("fe80::1%eth0", id="link-local with a zone"),
    pytest.param("fd00::1", id="unique local"),
    pytest.param("fd00:ec2::254", id="the cloud's metadata, IPv6"),
    pytest.param("ff02::1", id="multicast, IPv6"),
    pytest.param("ff0e::1", id="global multicast"),
    pytest.param("2001:db8::1", id="documentation, IPv6"),
    pytest.param("::ffff:127.0.0.1", id="IPv4-mapped loopback"),
    pytest.param("::ffff:10.0.0.1", id="IPv4-mapped private"),
    pytest.param("::ffff:a9fe:a9fe", id="IPv4-mapped metadata in hexadecimal"),
    pytest.param("::127.0.0.1", id="IPv4-compatible loopback"),
    pytest.param("64:ff9b::10.0.0.1", id="NAT64 of a private address"),
    pytest.param("64:ff9b:1::1", id="local NAT64"),
    pytest.param("2002:7f00:1::", id="6to4 of loopback"),
    pytest.param("2002:a00:1::", id="6to4 of a private address"),
    pytest.param("2001:0:4136:e378:8000:63bf:f5ff:fffe", id="Teredo of a private address"),
    pytest.param("::ffff:0:127.0.0.1", id="IPv4-translated loopback"),
    pytest.param("fec0::1", id="site-local"),
    pytest.param("3fff::1", id="further documentation, IPv6"),
    pytest.param("5f00::1", id="segment routing"),
    pytest.param("4000::1", id="not allocated"),
]


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0X7F.1", "0177.0.0.1", "127.0.0.1.", "169.254.43518", "a.1", "1.0x"]
)
def test_an_address_in_an_odd_spelling_is_no_name(host: str) -> None:
    """With outbound_proxy, the proxy's resolver would take it for an address that is checked nowhere."""
    assert not is_public_or_name(host)


@pytest.mark.parametrize("host", ["idp.example", "login.1und1.example.", "0x7f.example", "8.8.8.8", "a1", "1a"])
def test_a_name_with_digits_is_a_name(host: str) -> None:
    assert is_public_or_name(host)


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize("address", PRIVATE)
async def test_a_private_literal_is_refused_before_a_socket_is_made(address: str) -> None:
    host = f"[{address.partition('%')[0]}]" if ":" in address else address
    asked: list[httpx.Request] = []
    client = ProviderClient(httpx.MockTransport(asked.append), NetworkPolicy())  # type: ignore[arg-type]
    with pytest.raises(ProviderAddressRefused):
        await client.send(ProviderRequest("GET", f"https://{host}/token", 1000))
    assert asked == []


@pytest.mark.requirement("S-41")
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("localhost", ProviderAddressRefused, id="a name that resolves to it"),
        pytest.param("127.0.0.1", ProviderAddressRefused, id="the address itself"),
        pytest.param("[::ffff:127.0.0.1]", ProviderAddressRefused, id="IPv4-mapped"),
        pytest.param("0x7f000001", ProviderAddressRefused, id="one hexadecimal number"),
        pytest.param("LocalHost.", ProviderUnavailable, id="the name with a dot at its end"),
        pytest.param("0177.0.0.1", ProviderAddressRefused, id="octal"),
        pytest.param("127.1", ProviderAddressRefused, id="cut short"),
        pytest.param("2130706433", ProviderAddressRefused, id="one decimal number"),
        pytest.param("0", ProviderAddressRefused, id="zero"),
    ],
)
async def test_no_spelling_of_loopback_is_connected_to(host: str, expected: type[BrokerError]) -> None:
    """Whatever a name resolves to: the address really connected to is judged."""
    async with serving(says(ok())) as server:
        with pytest.raises(expected):
            await ask(NetworkPolicy(), f"http://{host}:{server.port}/token")
    assert server.connections == 0


@pytest.mark.requirement("S-41")
async def test_the_socket_is_guarded_even_if_the_literal_was_let_through() -> None:
    async with serving(says(ok())) as server, open_client(NetworkPolicy()) as client:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(ProviderAddressRefused):
                await ProviderClient(client, NetworkPolicy(private_networks=True)).send(
                    ProviderRequest("GET", f"http://{host}:{server.port}/", 1000)
                )
    assert server.connections == 0


_PROGRAM = """
import asyncio, pathlib, sys
from broker.errors import BrokerError
from broker.oidc.messages import ProviderRequest
from broker.oidc.client import ProviderClient, NetworkPolicy, open_client

async def main(url):
    network = NetworkPolicy(private_networks=True)
    async with open_client(network) as client:
        try:
            answer = await ProviderClient(client, network).send(ProviderRequest("GET", url, 1000))
            print(answer.status)
        except BrokerError as error:
            print(error.code)

asyncio.run(main(sys.argv[1]))
"""


async def in_environment(url: str, **variables: str) -> str:
    """Ask in a program of its own, with these environment variables."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, url, stdout=asyncio.subprocess.PIPE, env={**os.environ, **variables}
    )
    output, _ = await program.communicate()
    return output.decode().strip()


@pytest.mark.requirement("S-41")
async def test_proxies_and_passwords_of_the_environment_are_ignored(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password s3cret\n")
    netrc.chmod(0o600)
    async with serving(says(ok(status="418 Proxy"))) as proxy, serving(says(ok())) as server:
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        variables = dict.fromkeys(names, f"http://127.0.0.1:{proxy.port}")
        said = await in_environment(
            f"http://127.0.0.1:{server.port}/", **variables, NETRC=str(netrc), HOME=str(tmp_path), NO_PROXY=""
        )
    assert said == "200"
    assert (proxy.connections, len(server.requests)) == (0, 1)
    assert b"authorization" not in server.requests[0].lower()


@pytest.mark.requirement("S-41")
async def test_certificates_of_the_environment_are_ignored(authority: Authority, tmp_path: Path) -> None:
    path = str(authority.write(tmp_path / "ca.pem"))
    async with serving(says(ok()), tls=authority.context(tmp_path, "localhost")) as server:
        said = await in_environment(
            f"https://localhost:{server.port}/",
            SSL_CERT_FILE=path,
            SSL_CERT_DIR=str(tmp_path),
            REQUESTS_CA_BUNDLE=path,
            CURL_CA_BUNDLE=path,
        )
    assert said == "provider_certificate"
    assert server.requests == []


async def test_an_answer_tells_its_peer_and_how_long_the_certificate_is_valid(
    trusting: NetworkPolicy, authority: Authority, tmp_path: Path
) -> None:
    async with serving(says(ok()), tls=authority.context(tmp_path, "127.0.0.1", days=10)) as server:
        peer = (await ask(trusting, f"https://127.0.0.1:{server.port}/")).peer
    assert peer is not None
    assert peer.address == "127.0.0.1"
    assert peer.certificate_expires is not None
    assert 9 * 86400 < peer.certificate_expires - time.time() <= 10 * 86400


async def test_a_kept_connection_tells_its_peer_again(
    trusting: NetworkPolicy, authority: Authority, tmp_path: Path
) -> None:
    async with (
        serving(says(ok()), tls=authority.context(tmp_path, "127.0.0.1")) as server,
        reaching(trusting) as client,
    ):
        first, second = [
            await client.send(ProviderRequest("GET", f"https://127.0.0.1:{server.port}/", 1000)) for _ in "12"
        ]
    assert first.peer == second.peer is not None


@pytest.mark.parametrize(
    ("url", "phase"),
    [
        pytest.param("https://nowhere.invalid/", "resolving", id="a name that does not exist"),
        pytest.param("http://127.0.0.1:1/", "connecting", id="a port nobody listens on"),
        pytest.param("http://127.0.0.1:{hangs_up}/", "waiting", id="a connection that ends before the answer"),
    ],
)
async def test_a_failure_tells_how_far_the_request_got(url: str, phase: str) -> None:
    async with serving(hangs_up) as server:
        with pytest.raises(ProviderUnreachable) as failure:
            await ask(NetworkPolicy(private_networks=True), url.format(hangs_up=server.port))
    assert failure.value.phase == phase


async def test_an_untrusted_certificate_names_the_setting_that_may_be_missing(
    authority: Authority, tmp_path: Path
) -> None:
    async with serving(says(ok()), tls=authority.context(tmp_path, "127.0.0.1")) as server:
        with pytest.raises(ProviderCertificate) as failure:
            await ask(NetworkPolicy(private_networks=True), f"https://127.0.0.1:{server.port}/")
    assert (failure.value.phase, failure.value.setting) == ("connecting", "trusted_ca_file")
