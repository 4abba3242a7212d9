"""`broker init` at a real terminal: from the first question to a running broker, and Ctrl-C midway."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import httpx

from tests.fakes.ports import free_port
from tests.fakes.processes import provider_site, served, wait_until
from tests.fakes.provider import FakeProvider
from tests.init.answering import CLIENT_SECRET, SHARED_SECRET
from tests.init.terminal import is_ready, serving, terminal

DECODED = "578d96c4-2552-4c1a-94f4-0a7d922d5f17"


def test_a_person_comes_from_nothing_to_a_broker_that_is_ready(tmp_path: Path) -> None:
    provider = FakeProvider("http://127.0.0.1:1", time.time, client_secret=CLIENT_SECRET)
    public_url = f"http://127.0.0.1:{free_port()}"
    with served(provider_site(provider)) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        with terminal(tmp_path, "init") as screen:
            screen.answer("Public URL", public_url)
            screen.answer("Provider", "9")
            screen.answer("Provider", "4")
            screen.answer("Issuer", f"{provider.issuer}/")
            screen.answer(f"Issuer [{provider.issuer}]", "")
            screen.answer("Short name [oidc]", "Acmé EU")
            screen.answer("Short name [acme_eu]", "")
            screen.wait_for(f"Redirect URI +{public_url}/callback/acme_eu")
            screen.answer("Client ID", provider.client_id)
            screen.answer("Client secret", "another-secret-8f3a")
            screen.answer("Enter both again? [Y/n]", "")
            screen.answer(f"Client ID [{provider.client_id}]", "")
            screen.answer("Client secret", f"  {CLIENT_SECRET} ")
            screen.answer("E-mail domains", "acme.example")
            screen.answer("JWT SSO endpoint", f"{provider.issuer}/keys")
            screen.answer("Shared secret", DECODED)
            screen.answer("Keep it anyway? [y/N]", SHARED_SECRET[:8])
            screen.answer("Error: invalid input\nKeep it anyway? [y/N]", "")
            screen.answer("Shared secret", SHARED_SECRET)
            assert screen.end() == 0
        with serving(tmp_path, f"127.0.0.1:{free_port()}") as (process, operations):
            wait_until(lambda: is_ready(operations), "the broker is ready")
            assert httpx.get(f"{public_url}/", trust_env=False).status_code == 200
            process.terminate()
            assert process.wait(30) == 0
    assert "Nothing failed." in screen.text
    assert f"Remote Login URL   {public_url}/login\n" in screen.text
    own_key = (tmp_path / "secrets" / "broker-keys").read_text(encoding="utf-8").strip()
    for secret in (CLIENT_SECRET, SHARED_SECRET, DECODED, "another-secret-8f3a", own_key):
        assert secret not in screen.text
    files = [tmp_path / "broker.yaml", *(tmp_path / "secrets").iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_ctrl_c_midway_leaves_nothing(tmp_path: Path) -> None:
    options = ["--offline", "--public-url", "https://sso.acme.example", "--provider", "google", "--client-id", "x"]
    with terminal(tmp_path, "init", *options) as screen:
        screen.answer("Keep it anyway? [y/N]", "y")  # x is no client id of Google's
        screen.answer("Client secret", "gehe\udcfcm")  # a ü of Latin-1
        screen.wait_for("Client secret: this terminal sent a character")
        screen.wait_for("^Client secret: \\Z")
        screen.type("\x03")
        assert screen.end() == 2
    assert screen.text.endswith("Stopped. Nothing was written.\n")
    assert list(tmp_path.iterdir()) == []
