"""The Comm100 stand-in refuses each token that breaks a rule, and its page says why."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx
import jwt
import pytest

from broker.demo.comm100 import ENDPOINT_PATH, SIGN_IN_PATH, SITE_ID, Agent, Received, create_comm100

SITE = "https://acme.comm100.example"
ENDPOINT = SITE + ENDPOINT_PATH
LOGIN = "https://sso.acme.example/login"
LOGOUT = "https://sso.acme.example/logout"
SECRET = "bm90LWRlY29kZWQtYnV0LXVzZWQtYXMtaXQtaXMtc2hvd24="
NOW = 1_800_000_000
HEADER: Mapping[str, object] = {"alg": "HS256", "typ": "JWT"}


@dataclass(slots=True)
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class StandIn:
    browser: httpx.AsyncClient
    clock: Clock
    received: list[Received] = field(default_factory=list)


def stand_in(delivery: Literal["endpoint", "append"] = "endpoint", logout: str | None = LOGOUT) -> StandIn:
    clock, received = Clock(), list[Received]()
    app = create_comm100(
        public_url=SITE,
        agents=[Agent("Ada@Acme.example", "Ada Lovelace")],
        shared_secret=SECRET,
        remote_login_url=LOGIN,
        remote_logout_url=logout,
        delivery=delivery,
        clock=clock,
        received=received,
    )
    return StandIn(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=SITE), clock, received)


@pytest.fixture
async def comm100() -> AsyncIterator[StandIn]:
    site = stand_in()
    async with site.browser:
        yield site


def claims(**changes: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "email": "ada@acme.example",
        "name": "Countess Lovelace",
        "jti": "one",
        "sub": "comm100",
        "aud": "Comm100",
        "iss": "jwt server",
        "iat": NOW,
        "nbf": NOW - 60,
        "exp": NOW + 60,
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def token(
    content: object = None, *, header: Mapping[str, object] = HEADER, secret: str = SECRET, algorithm: str = "HS256"
) -> str:
    """Sign any header and payload, even those that PyJWT refuses to sign."""
    segments = [json.dumps(header), json.dumps(claims() if content is None else content)]
    signing_input = b".".join(jwt.utils.base64url_encode(segment.encode()) for segment in segments)
    signer = jwt.get_algorithm_by_name(algorithm)
    signature = signer.sign(signing_input, None if algorithm == "none" else signer.prepare_key(secret))
    return b".".join([signing_input, jwt.utils.base64url_encode(signature)]).decode()


REFUSED = [
    pytest.param("signature", token(secret="another secret of thirty-two bytes"), id="wrong_secret"),
    pytest.param("algorithm", token(header={"alg": "none", "typ": "JWT"}, algorithm="none"), id="alg_none"),
    pytest.param("algorithm", token(header={"alg": "HS512", "typ": "JWT"}, algorithm="HS512"), id="alg_hs512"),
    pytest.param("signature", token(algorithm="HS512"), id="hs512_called_hs256"),
    pytest.param("header", token(header={"alg": "HS256"}), id="typ_missing"),
    pytest.param("header", token(header={"alg": "HS256", "typ": "jwt"}), id="typ_in_lower_case"),
    pytest.param("header", token(header={**HEADER, "kid": "1"}), id="more_in_the_header"),
    pytest.param("expired", token(claims(exp=NOW - 300)), id="expired"),
    pytest.param("exp_missing", token(claims(exp=None)), id="exp_missing"),
    pytest.param("malformed", token(claims(exp="soon")), id="exp_not_a_number"),
    pytest.param("malformed", token(claims(exp=True)), id="exp_true"),
    pytest.param("not_yet_valid", token(claims(nbf=NOW + 301)), id="nbf_in_the_future"),
    pytest.param("email_missing", token(claims(email=None)), id="email_missing"),
    pytest.param("email_missing", token(claims(email=" ")), id="email_blank"),
    pytest.param("jti_missing", token(claims(jti=None)), id="jti_missing"),
    pytest.param("jti_missing", token(claims(jti=7)), id="jti_not_a_text"),
    pytest.param("unknown_agent", token(claims(email="eve@acme.example")), id="unknown_agent"),
    pytest.param("malformed", token(["not", "claims"]), id="content_not_an_object"),
    pytest.param("malformed", "not-a-token", id="no_token_at_all"),
    pytest.param("malformed", "", id="empty"),
]


@pytest.mark.parametrize(("reason", "wrong"), REFUSED)
async def test_a_token_that_breaks_a_rule_is_refused_with_its_reason(comm100: StandIn, reason: str, wrong: str) -> None:
    answer = await comm100.browser.get(ENDPOINT_PATH, params={"jwt": wrong})

    assert answer.status_code == 403
    assert reason in answer.text
    assert [signed_in.refusal for signed_in in comm100.received] == [reason]
    assert "set-cookie" not in answer.headers
    assert not wrong or wrong not in answer.text


@pytest.mark.parametrize(
    ("reason", "query"),
    [
        pytest.param("token_missing", "", id="no_token"),
        pytest.param("token_repeated", f"jwt={token()}&jwt={token()}", id="two_tokens"),
        pytest.param("foreign_page", f"jwt={token()}&redirect_url=https://evil.example/", id="another_host"),
        pytest.param("foreign_page", f"jwt={token()}&redirect_url={SITE}.evil.example/", id="a_longer_host"),
        pytest.param("foreign_page", f"jwt={token()}&redirect_url=//evil.example/", id="no_scheme"),
        pytest.param("foreign_page", f"jwt={token()}&redirect_url={SITE}/a&redirect_url={SITE}/b", id="two_pages"),
    ],
)
async def test_a_request_that_breaks_a_rule_is_refused_with_its_reason(
    comm100: StandIn, reason: str, query: str
) -> None:
    answer = await comm100.browser.get(f"{ENDPOINT_PATH}?{query}")

    assert answer.status_code == 403
    assert [signed_in.refusal for signed_in in comm100.received] == [reason]


async def test_a_token_is_taken_once(comm100: StandIn) -> None:
    first = await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token()})
    comm100.clock.now += 300
    second = await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token()})

    assert (first.status_code, second.status_code) == (303, 403)
    assert [signed_in.refusal for signed_in in comm100.received] == [None, "replayed"]


async def test_a_used_token_id_is_forgotten_when_its_token_has_expired_for_good(comm100: StandIn) -> None:
    await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token()})
    comm100.clock.now += 360
    await comm100.browser.get(
        ENDPOINT_PATH, params={"jwt": token(claims(nbf=comm100.clock.now, exp=comm100.clock.now + 60))}
    )

    assert [signed_in.refusal for signed_in in comm100.received] == [None, None]


@pytest.mark.parametrize(
    "times", [pytest.param({"exp": NOW - 299}, id="late"), pytest.param({"nbf": NOW + 300}, id="early")]
)
async def test_clocks_may_differ_by_five_minutes(comm100: StandIn, times: dict[str, object]) -> None:
    await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token(claims(**times))})

    assert [signed_in.refusal for signed_in in comm100.received] == [None]


async def test_an_agent_is_signed_in_on_the_page_asked_for(comm100: StandIn) -> None:
    wanted = f"{SITE}/agentconsole?queue=vip&note=%C3%A4"
    params = {"jwt": token(), "redirect_url": wanted}
    landed = await comm100.browser.get(ENDPOINT_PATH, params=params)
    page = await comm100.browser.get(landed.headers["location"])

    assert landed.status_code == 303
    assert landed.headers["location"] == wanted
    assert page.status_code == 200
    assert "Signed in as Countess Lovelace (Ada@Acme.example)" in page.text
    assert "/agentconsole?queue=vip&amp;note=%C3%A4" in page.text
    assert "jwt server" in page.text


@pytest.mark.parametrize(
    "parameters", [pytest.param({}, id="no_page"), pytest.param({"redirect_url": ENDPOINT}, id="the_endpoint_itself")]
)
async def test_without_a_page_the_agent_lands_on_the_dashboard(comm100: StandIn, parameters: dict[str, str]) -> None:
    landed = await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token(), **parameters})

    assert landed.headers["location"] == f"{SITE}/dashboard"


async def test_an_agent_without_a_name_in_the_token_keeps_the_name_of_the_site(comm100: StandIn) -> None:
    landed = await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token(claims(name=None))})
    page = await comm100.browser.get(landed.headers["location"])

    assert "Signed in as Ada Lovelace (Ada@Acme.example)" in page.text


async def test_what_arrived_is_recorded(comm100: StandIn) -> None:
    sent = token()
    await comm100.browser.get(
        f"{ENDPOINT_PATH}?jwt={sent}&x=a%20b&x=c", headers={"Referer": "https://sso.acme.example/"}
    )

    [signed_in] = comm100.received
    assert signed_in.query == f"jwt={sent}&x=a%20b&x=c"
    assert signed_in.parameters == (("jwt", sent), ("x", "a b"), ("x", "c"))
    assert signed_in.referer == "https://sso.acme.example/"
    assert signed_in.token is not None
    assert signed_in.token.claims == claims()


async def test_custom_sso_leads_to_the_broker_with_the_page_asked_for(comm100: StandIn) -> None:
    turned_away = await comm100.browser.get("/agentconsole?queue=vip")
    sign_in = await comm100.browser.get(turned_away.headers["location"])
    sent = await comm100.browser.get("/signin/sso", params={"site_id": SITE_ID, "page": "/agentconsole?queue=vip"})

    assert turned_away.status_code == 303
    assert "Sign in with Custom SSO" in sign_in.text
    assert 'value="/agentconsole?queue=vip"' in sign_in.text
    assert sent.status_code == 302
    assert (
        sent.headers["location"]
        == f"{LOGIN}?redirect_url=https%3A%2F%2Facme.comm100.example%2Fagentconsole%3Fqueue%3Dvip"
    )


async def test_an_unknown_site_id_is_refused_where_it_was_typed(comm100: StandIn) -> None:
    answer = await comm100.browser.get("/signin/sso", params={"site_id": "<b>1</b>"})

    assert answer.status_code == 400
    assert "There is no such site." in answer.text
    assert "<b>" not in answer.text


async def test_append_delivery_names_the_endpoint_and_finds_the_page_again() -> None:
    site = stand_in("append")
    async with site.browser:
        sent = await site.browser.get("/signin/sso", params={"site_id": SITE_ID, "page": "/agentconsole?queue=vip"})
        named = httpx.URL(sent.headers["location"]).params["redirect_url"]
        landed = await site.browser.get(f"{named}&jwt={token()}")

    assert named == f"{ENDPOINT}?page=%2Fagentconsole%3Fqueue%3Dvip"
    assert landed.headers["location"] == f"{SITE}/agentconsole?queue=vip"


async def test_sign_out_ends_the_session_and_goes_to_the_remote_logout_url(comm100: StandIn) -> None:
    landed = await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token()})
    cookie = landed.headers["set-cookie"].split(";")[0]
    before = await comm100.browser.get("/dashboard")
    left = await comm100.browser.post("/signout")
    after = await comm100.browser.get("/dashboard", headers={"Cookie": cookie})

    assert before.status_code == 200
    assert (left.status_code, left.headers["location"]) == (303, LOGOUT)
    assert (after.status_code, after.headers["location"]) == (303, f"{SIGN_IN_PATH}?page=%2Fdashboard")


async def test_sign_out_without_a_remote_logout_url_leads_to_the_sign_in_page() -> None:
    site = stand_in(logout=None)
    async with site.browser:
        left = await site.browser.post("/signout")

    assert left.headers["location"] == SIGN_IN_PATH


async def test_no_page_runs_a_script_or_loads_anything(comm100: StandIn) -> None:
    landed = await comm100.browser.get(ENDPOINT_PATH, params={"jwt": token()})
    pages = [await comm100.browser.get(path) for path in (SIGN_IN_PATH, landed.headers["location"], ENDPOINT_PATH)]

    for page in pages:
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "Comm100 stand-in (demo)" in page.text
        assert not re.search(r"<script|src=|style=|https?://", page.text)


def test_a_short_shared_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        create_comm100(public_url=SITE, agents=[], shared_secret="short", remote_login_url=LOGIN)
