"""`broker demo` as a process: a sign-in by plain HTTP, and the end by Ctrl-C."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
import pytest

from broker.demo.serving import bind_ports, running_broker, wait_until_ready
from tests.demo.running import Demo, answers, running_demo, starting_demo, wait_for

OPEN, BROKER, PROVIDER, SETTINGS = "Open", "Broker", "Identity provider", "Settings"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    # Like a browser, it sends Secure cookies to loopback though that is not https.
    cookies = CookieJar(policy=DefaultCookiePolicy(secure_protocols=("http", "https")))
    with httpx.Client(cookies=cookies, follow_redirects=True, trust_env=False, timeout=20) as client:
        yield client


def go_to_provider(browser: httpx.Client, demo: Demo, page: str = "/dashboard") -> httpx.Response:
    sign_in = browser.get(demo.named(OPEN), params={"page": page})
    assert "Sign in with Custom SSO" in sign_in.text
    site_id = re.search(r'name="site_id" value="(\d+)"', sign_in.text)
    assert site_id
    asked = browser.get(sign_in.url.join("/signin/sso"), params={"page": page, "site_id": site_id[1]})
    assert "Who are you?" in asked.text, asked.text
    return asked


def test_two_demos_never_bind_the_same_port() -> None:
    first = bind_ports(0)
    wanted = first.broker.getsockname()[1]
    second = bind_ports(wanted)
    assert second.broker.getsockname()[1] != wanted
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("subject", "person"),
    [
        pytest.param("ada", "Ada Lovelace (ada@acme.example)", id="ada"),
        pytest.param("grace", "Grace Hopper (grace@acme.example)", id="grace"),
    ],
)
def test_an_admitted_person_is_signed_in_at_the_page_asked_for(
    demo: Demo, browser: httpx.Client, subject: str, person: str
) -> None:
    asked = go_to_provider(browser, demo, "/agentconsole?queue=vip")
    landed = browser.post(asked.url, data={"sub": subject})

    assert landed.status_code == 200
    assert f"Signed in as {person}" in landed.text
    assert landed.url.raw_path == b"/agentconsole?queue=vip"
    assert {step.url.host for step in [*asked.history, *landed.history]} == {"127.0.0.1"}


def test_a_person_of_another_domain_is_refused_by_the_broker(demo: Demo, browser: httpx.Client) -> None:
    asked = go_to_provider(browser, demo)
    refused = browser.post(asked.url, data={"sub": "charles"})

    assert refused.status_code == 403
    assert str(refused.url).startswith(f"{demo.named(BROKER)}/callback/demo")
    assert "email_domain_not_allowed" in refused.text
    wait_for(demo, lambda: "email_domain_not_allowed" in demo.text())


def test_sign_out_leads_through_the_broker_and_ends_the_session(demo: Demo, browser: httpx.Client) -> None:
    landed = browser.post(go_to_provider(browser, demo).url, data={"sub": "ada"})
    left = browser.post(landed.url.join("/signout"))
    again = browser.get(landed.url)

    assert left.status_code == 200
    assert str(left.history[0].headers["location"]) == f"{demo.named(BROKER)}/logout"
    assert again.url.path == "/signin"


def test_the_settings_are_written_out_and_the_secrets_are_the_owners_alone(demo: Demo) -> None:
    settings = Path(demo.named(SETTINGS))
    text = settings.read_text(encoding="utf-8")
    secrets = [Path(path) for path in re.findall(r'_file: "(.+)"', text)]

    assert f'public_url: "{demo.named(BROKER)}"' in text
    assert len(secrets) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets} == {0o600}
    assert not any(file.read_text(encoding="utf-8").strip() in text + demo.text() for file in secrets)


def test_the_provider_serves_no_debugger_and_loads_nothing_from_elsewhere(demo: Demo, browser: httpx.Client) -> None:
    provider = demo.named(PROVIDER)
    pages = [browser.get(provider), go_to_provider(browser, demo), browser.get(f"{provider}/oauth2/end_session")]
    unknown_client = browser.get(f"{provider}/oauth2/authorize?response_type=code&client_id=nobody")

    assert browser.get(f"{provider}/console").status_code == 404
    assert browser.get(f"{provider}/?__debugger__=yes&cmd=resource&f=debugger.js").text == pages[0].text
    assert unknown_client.status_code == 400
    for page in [*pages, unknown_client]:
        assert "Identity provider (demo)" in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert not re.search(r"<script|<link rel=.stylesheet|src=", page.text)


def test_the_provider_answers_to_its_own_address_only(demo: Demo, browser: httpx.Client) -> None:
    answer = browser.get(f"{demo.named(PROVIDER)}/.well-known/openid-configuration", headers={"Host": "evil.example"})

    assert answer.status_code == 400


def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path, browser: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_demo(tmp_path, port=port) as demo:
            assert httpx.URL(demo.named(BROKER)).port != port
            landed = browser.post(go_to_provider(browser, demo).url, data={"sub": "ada"})

    assert "Signed in as Ada Lovelace" in landed.text


def test_settings_in_the_environment_do_not_reach_the_demo(tmp_path: Path) -> None:
    with running_demo(tmp_path, environment={"BROKER_PUBLIC_URL": "nonsense", "BROKER_CONFIG": "/nowhere"}) as demo:
        assert demo.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda by: by.name.lower())
def test_a_signal_ends_everything_and_leaves_nothing(tmp_path: Path, by: signal.Signals) -> None:
    with running_demo(tmp_path) as demo:
        ports = [httpx.URL(demo.named(what)).port or 0 for what in (OPEN, BROKER, PROVIDER)]
        ports.append(int(re.findall(r"metrics at http://127\.0\.0\.1:(\d+)", demo.text())[0]))
        settings = demo.named(SETTINGS)
        before = [answers(port) for port in ports]
        status = demo.stop(by)

        assert before == [True] * 4
        assert status == 0
        assert not any(answers(port) for port in ports)
        assert demo.folders() == []
        assert processes_with(settings) == []
        assert "Traceback" not in demo.text()


def test_ctrl_c_during_start_up_is_as_quiet(tmp_path: Path) -> None:
    with starting_demo(tmp_path) as demo:
        wait_for(demo, lambda: bool(demo.folders()))
        status = demo.stop(signal.SIGINT)

        assert status == 0
        assert demo.text() == ""
        assert demo.folders() == []
        assert processes_with(str(tmp_path)) == []


def test_a_broker_that_dies_is_reported_with_what_it_wrote(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        [broker] = processes_with(demo.named(SETTINGS))
        os.kill(broker, signal.SIGKILL)

        assert demo.process.wait(20) == 1
        assert "The broker ended by itself. Its output:" in demo.text()
        assert demo.folders() == []


def test_a_broker_that_does_not_start_is_noticed_and_has_said_why(tmp_path: Path) -> None:
    settings, log = tmp_path / "broker.yaml", tmp_path / "broker.log"
    settings.write_text("public_url: nonsense\n", encoding="utf-8")
    with running_broker(settings, log) as broker:
        ready = wait_until_ready("127.0.0.1:1", broker, lambda: False)

    assert not ready
    assert broker.returncode == 2
    assert "public_url" in log.read_text(encoding="utf-8")


def test_without_the_extra_the_demo_names_what_to_install() -> None:
    program = "import sys; sys.modules['oidc_provider_mock'] = None; from broker.demo import run; sys.exit(run(None))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    remedy = "pip install --require-hashes -r requirements-demo.lock"
    assert ended.stderr == f"The demo needs one more package. From the checkout: {remedy}\n"


def processes_with(argument: str) -> list[int]:
    """Return the ids of the processes with this text in their arguments."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it may end while we look
            if argument.encode() in (process / "cmdline").read_bytes():
                running.append(int(process.name))
    return running
