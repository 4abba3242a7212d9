"""Which certificates are trusted: by flags of ours, so that every Python gives the same verdict (S-66)."""

from __future__ import annotations

import importlib.util
import ssl
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from broker.oidc.network import fault_of, tls_context, why_refused
from tests.oidc.chains import AUTHORITY, HOST, INTERMEDIATE, SERVER, Made, Recipe, make, refusal, serving_context

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """A chain, and what the admin put into trusted_ca_file.

    Args:
        trusts: "root", "intermediate", "server" or nothing of the chain.
        root: its recipe; None: the server signs itself.
        intermediate: between the two.
        sends_intermediate: as a server should.
        cause: why it is refused; empty: it is trusted.
        remedy: a word of it.
    """

    trusts: str = "root"
    root: Recipe | None = AUTHORITY
    intermediate: Recipe | None = None
    sends_intermediate: bool = True
    server: Recipe = SERVER
    host: str = HOST
    cause: str = ""
    remedy: str = ""


CASES = {
    "an authority by the book": Case(),
    "basicConstraints not critical": Case(root=replace(AUTHORITY, critical=False)),
    "an intermediate, basicConstraints not critical": Case(intermediate=replace(INTERMEDIATE, critical=False)),
    "an authority without keyUsage": Case(root=replace(AUTHORITY, key_usage=False)),
    "no key identifiers": Case(root=replace(AUTHORITY, key_ids=False), server=replace(SERVER, key_ids=False)),
    "a subject key identifier missing in the authority": Case(root=replace(AUTHORITY, key_ids=False)),
    "an intermediate, and the root trusted": Case(intermediate=INTERMEDIATE),
    "the intermediate alone trusted": Case(intermediate=INTERMEDIATE, trusts="intermediate", sends_intermediate=False),
    "the server's own certificate trusted": Case(root=None, trusts="server"),
    "a common name alone": Case(server=replace(SERVER, host=None)),
    "a purpose named": Case(server=replace(SERVER, purpose="SERVER_AUTH")),
    "an authority nobody named": Case(trusts="", cause="unknown authority", remedy="trusted_ca_file"),
    "a root that is sent along": Case(
        trusts="", intermediate=AUTHORITY, cause="unknown authority", remedy="opens TLS connections"
    ),
    "an intermediate that is not sent": Case(
        intermediate=INTERMEDIATE, sends_intermediate=False, cause="unknown authority", remedy="leaves out its intermed"
    ),
    "self-signed": Case(root=None, trusts="", cause="self-signed", remedy="trusted_ca_file"),
    "expired": Case(server=replace(SERVER, days=-1), cause="expired", remedy="renew"),
    "of an expired authority": Case(root=replace(AUTHORITY, days=-1), cause="expired", remedy="clock of this machine"),
    "not yet valid": Case(server=replace(SERVER, begins=2), cause="not yet valid", remedy="clock of this machine"),
    "another host": Case(host="login.acme.test", cause="wrong host", remedy="spelling"),
    "a host below": Case(host=f"a.{HOST}", cause="wrong host", remedy="spelling"),
    "an address": Case(host="192.0.2.1", cause="wrong host", remedy="spelling"),
    "another common name alone": Case(server=replace(SERVER, name="a.test", host=None), cause="wrong host"),
    "signed with SHA-1": Case(
        root=replace(AUTHORITY, bits=2048), server=replace(SERVER, sha1=True), cause="too weak", remedy="SHA-256"
    ),
    "a key of 1024 bits": Case(server=replace(SERVER, bits=1024), cause="too weak", remedy="longer key"),
    "an authority's key of 1024 bits": Case(root=replace(AUTHORITY, bits=1024), cause="too weak", remedy="longer key"),
    "an intermediate that is no authority": Case(
        intermediate=replace(INTERMEDIATE, ca=False), cause="invalid authority", remedy="CA:TRUE"
    ),
    "an intermediate that may not sign": Case(
        intermediate=replace(INTERMEDIATE, signs=False), cause="invalid authority", remedy="keyCertSign"
    ),
    "for clients alone": Case(server=replace(SERVER, purpose="CLIENT_AUTH"), cause="refused", remedy="corrected"),
}


def contexts(case: Case, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the client's and the server's context."""
    chain: dict[str, Made] = {}
    issuer = None
    for name, recipe in (("root", case.root), ("intermediate", case.intermediate), ("server", case.server)):
        if recipe is not None:
            issuer = chain[name] = make(recipe, issuer)
    file = folder / "trusted.pem"
    file.write_bytes(chain[case.trusts].pem if case.trusts else make(replace(AUTHORITY, name="another")).pem)
    sent = [chain["server"]]
    if case.intermediate is not None and case.sends_intermediate:
        sent.append(chain["intermediate"])
    if case.intermediate is AUTHORITY:
        sent.append(chain["root"])
    return tls_context(file), serving_context(folder, *sent)


@pytest.mark.requirement("S-66")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_chain_has_the_same_verdict_on_every_python(tmp_path: Path, case: Case) -> None:
    error = refusal(*contexts(case, tmp_path), case.host)

    assert (fault_of(error).cause if error else "") == case.cause
    if error:
        assert why_refused(error, case.host).startswith(f"certificate of {case.host}: {case.cause}: ")
        assert len(why_refused(error, case.host)) > len(f"certificate of {case.host}: {case.cause}: ")
        assert case.remedy in fault_of(error).remedy


@pytest.mark.requirement("S-66")
def test_no_flag_is_left_to_the_version_of_python() -> None:
    context = tls_context(None)

    assert context.verify_flags == ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    usual = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert [one["name"] for one in context.get_ciphers()] == [one["name"] for one in usual.get_ciphers()]
    assert context.options == usual.options


@pytest.mark.requirement("S-41", "S-66")
def test_the_environment_adds_no_authority_and_records_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes(make(AUTHORITY).pem)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.setenv(name, str(own if name == "SSL_CERT_FILE" else tmp_path / name))

    context = tls_context(None)

    assert "Acme authority" not in str(context.get_ca_certs())
    assert context.keylog_filename is None


def test_every_context_of_the_broker_is_made_in_one_place() -> None:
    """The settings only try to load a file; they connect nowhere."""
    makers = {
        str(module.relative_to(ROOT))
        for module in (ROOT / "broker").rglob("*.py")
        if any(word in module.read_text(encoding="utf-8") for word in ("SSLContext(", "create_default_context("))
    }
    assert makers == {"broker/oidc/network.py", "broker/settings/values.py"}
    assert importlib.util.find_spec("broker.oidc.network")
