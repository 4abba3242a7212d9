"""An admin's whole way in a real browser: init, serve, setup page, test sign-in, and then an agent is signed in.

The provider is npm's oidc-provider, which nobody here wrote; the site is the demo's strict Comm100 stand-in.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, expect

from broker.demo.comm100 import ENDPOINT_PATH, Agent, Received, create_comm100
from tests.browser.chromium import DESKTOP_LIGHT, Seen, check_fit, keep_screenshot, opened_page, running_chromium
from tests.fakes.processes import free_port, served, wait_until, without_broker_settings
from tests.init.terminal import ROOT, is_ready, serving
from tests.providers_real.programs import oidc_provider

CLIENT_SECRET = "a:b%2Bc d+e/f&g=h"
SHARED_SECRET = "NTc4ZDk2YzQtMjU1Mi00YzFhLTk0ZjQtMGE3ZDkyMmQ1ZjE3"


def test_an_admin_comes_from_nothing_to_an_agent_who_is_signed_in(tmp_path: Path) -> None:
    public_url, comm100 = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    received: list[Received] = []
    site = create_comm100(
        public_url=comm100,
        agents=[Agent("ada@acme.example", "Ada Lovelace")],
        shared_secret=SHARED_SECRET,
        remote_login_url=f"{public_url}/login",
        remote_logout_url=f"{public_url}/logout",
        clock=time.time,
        received=received,
    )
    registered = {
        "client": {
            "client_id": "comm100",
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [f"{public_url}/callback/acme"],
            "post_logout_redirect_uris": [f"{public_url}/logout"],
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
        },
        "accounts": {"ada": {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"}},
        "claims_in_id_token": False,
    }
    folder = tmp_path / "broker"
    folder.mkdir()
    (tmp_path / "client-secret").write_text(CLIENT_SECRET, encoding="utf-8")
    (tmp_path / "shared-secret").write_text(SHARED_SECRET, encoding="utf-8")
    with (
        served(site, int(comm100.rpartition(":")[2])),
        oidc_provider(tmp_path / "provider.log", registered) as issuer,
    ):
        told = broker(
            folder,
            *("init", "--public-url", public_url, "--provider", "oidc", "--id", "acme", "--issuer", issuer),
            *("--client-id", "comm100", "--client-secret-file", "../client-secret", "--email-domain", "acme.example"),
            *("--endpoint", f"{comm100}{ENDPOINT_PATH}", "--shared-secret-file", "../shared-secret"),
        )
        assert "0 failed" in told
        received.clear()  # the check asked whether the endpoint is there
        with serving(folder, f"127.0.0.1:{free_port()}") as (_, operations), running_chromium() as chromium:
            wait_until(lambda: is_ready(operations), "the broker is ready")
            seen = Seen()
            with opened_page(chromium, DESKTOP_LIGHT, seen) as page:
                page.goto(broker(folder, "setup-link").strip())
                check_fit(page)
                report = sign_in_for_a_test(page)
                expect(report.get_by_role("heading", name="Admitted as ada@acme.example")).to_be_visible()
                keep_screenshot(report, "test_sign_in_of_a_first_setup")
                assert received == []
                page.goto(comm100)
                page.get_by_role("button", name="Sign in with Custom SSO").click()
                expect(page.get_by_role("heading", name="Signed in as Ada Lovelace")).to_be_visible()
                assert [one.refusal for one in received] == [None]
            assert seen.errors == []
            assert seen.hosts() == {"127.0.0.1"}


def broker(folder: Path, *arguments: str) -> str:
    """Run a command in a folder, and return what it prints."""
    ended = subprocess.run(
        [sys.executable, "-m", "broker", *arguments],
        cwd=folder,
        env=without_broker_settings(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def sign_in_for_a_test(page: Page) -> Page:
    """Follow the test sign-in into its own tab, and sign in at the provider."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Test sign-in: Acme").click()
    report = opened.value
    report.get_by_placeholder("Enter any login").fill("ada")
    report.get_by_placeholder("and password").fill("any will do")
    report.get_by_role("button", name="Sign-in").click()
    report.get_by_role("button", name="Continue").click()
    return report
