"""Which redirect_url is an address of the site's Comm100: what two parsers could read differently is refused."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote

import pytest
from ada_url import URL
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.comm100 import MAX_REDIRECT_URL_CHARACTERS, Site, check_redirect_url
from broker.errors import RedirectUrlRefused
from tests.fuzz.redirect_url import ENDPOINT, HOST, ON_LOOPBACK, judge, site

HOSTS = {HOST, "dash11.comm100.io"}


def is_accepted(url: str, at: Site) -> bool:
    try:
        return check_redirect_url(url, at) == url
    except RedirectUrlRefused:
        return False


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"https://{HOST}", id="the endpoint's host alone"),
        pytest.param(f"https://{HOST}/", id="with a slash"),
        pytest.param("https://dash11.comm100.io/agent/console", id="a listed host"),
        pytest.param("https://DASH11.Comm100.IO/agent", id="a host in upper case"),
        pytest.param(f"https://{HOST}:443/agent", id="the default port spelt out"),
        pytest.param(f"https://{HOST}?queue=vip", id="a query without a path"),
        pytest.param(f"https://{HOST}#/home", id="a fragment without a path"),
        pytest.param(f"https://{HOST}/a?to=https://evil.example/@b#//evil.example", id="other addresses inside"),
        pytest.param(f"https://{HOST}/agent//console", id="two slashes later in the path"),
        pytest.param(f"https://{HOST}?a=//evil.example", id="two slashes in the query alone"),
        pytest.param(f"https://{HOST}/..;/%2e%2e/a/%5c", id="dots and encoded backslashes in the path"),
        pytest.param(f"https://{HOST}/{{a}}|^'[b]~$(c)*+,;=:@!", id="signs that real addresses have"),
        pytest.param(f"https://{HOST}/AdminManage/LoginSSO.aspx?siteId=10000", id="Comm100's start, classic"),
        pytest.param("https://dash11.comm100.io/agentconsole/app.html#/chats", id="Comm100's agent console"),
        pytest.param(ENDPOINT, id="the endpoint"),
        pytest.param(f"https://{HOST}/{'a' * (MAX_REDIRECT_URL_CHARACTERS - 9 - len(HOST))}", id="the longest"),
    ],
)
def test_an_address_of_this_comm100_is_taken_as_it_came(url: str) -> None:
    assert check_redirect_url(url, site()) == url


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="nothing"),
        pytest.param("https://evil.example/", id="another host"),
        pytest.param(f"https://evil.{HOST}/", id="a host below ours, CVE-2021-21291"),
        pytest.param("https://comm100.com/", id="a host above ours"),
        pytest.param(f"https://{HOST}.evil.example/", id="our host as a prefix, CVE-2023-6291"),
        pytest.param(f"https://evil{HOST}/", id="our host as a suffix, CVE-2021-21291"),
        pytest.param("https://acmeXcomm100.com/", id="another letter for a dot, CVE-2024-52289"),
        pytest.param(f"https://{HOST}./", id="a trailing dot"),
        pytest.param(f"https://{HOST}..evil.example/", id="two dots"),
        pytest.param(f"http://{HOST}/", id="http"),
        pytest.param(f"HTTPS://{HOST}/", id="a scheme in upper case"),
        pytest.param(f"hTTps://{HOST}/", id="a scheme in mixed case"),
        pytest.param(f"https:/{HOST}/", id="one slash"),
        pytest.param(f"https:{HOST}/", id="no slash"),
        pytest.param(f"https:///{HOST}/", id="three slashes"),
        pytest.param(f"//{HOST}/", id="no scheme"),
        pytest.param("/agent", id="a path alone"),
        pytest.param("/\n/evil.example", id="a line feed between slashes, CVE-2020-11053"),
        pytest.param("/\x0b/evil.example", id="a vertical tab between slashes, CVE-2020-11053"),
        pytest.param("/\r/evil.example", id="a carriage return between slashes, CVE-2020-11053"),
        pytest.param("/%0a/evil.example", id="an encoded line feed between slashes, CVE-2020-11053"),
        pytest.param("/\t/evil.example", id="a tab between slashes, CVE-2022-23527"),
        pytest.param("/\\evil.example/logout.html", id="a slash and a backslash, CVE-2019-20479"),
        pytest.param("javascript:alert(1)//https://" + HOST, id="javascript"),
        pytest.param("data:text/html,hello", id="data"),
        pytest.param(f"view-source:https://{HOST}/", id="a scheme around it"),
        pytest.param(f"https://evil.example@{HOST}/", id="userinfo"),
        pytest.param(f"https://{HOST}@evil.example/", id="our host as userinfo, CVE-2023-6291"),
        pytest.param(f"https://{HOST}:443@evil.example/", id="our host and port as userinfo"),
        pytest.param(f"https://@{HOST}/", id="an empty userinfo"),
        pytest.param(f"https://{HOST}%40evil.example/", id="an encoded @"),
        pytest.param(f"https://{HOST}\\@evil.example/", id="a backslash before @"),
        pytest.param(f"https://evil.example\\@{HOST}/", id="a backslash behind another host, CVE-2021-39191"),
        pytest.param(f"https://evil.example\\.{HOST}/", id="a backslash inside the host, CVE-2021-39191"),
        pytest.param(f"https:\\\\{HOST}/", id="backslashes for slashes, CVE-2019-20479"),
        pytest.param(f"https://{HOST}/a\\b", id="a backslash in the path"),
        pytest.param(f"https://{HOST}/?a=\\b", id="a backslash in the query"),
        pytest.param(f"https://{HOST}/#\\b", id="a backslash in the fragment"),
        pytest.param(f"https://evil.example#@{HOST}/", id="our host in the fragment"),
        pytest.param(f"https://evil.example?@{HOST}/", id="our host in the query"),
        pytest.param(f"https://evil.example/@{HOST}/", id="our host in the path"),
        pytest.param(f"https://evil.example;@{HOST}/", id="a semicolon"),
        pytest.param("https://%61cme.comm100.com/", id="a percent-encoded host"),
        pytest.param("https://acme%2ecomm100.com/", id="a percent-encoded dot"),
        pytest.param(f"https://{HOST}%00.evil.example/", id="an encoded NUL"),
        pytest.param(f"https://{HOST}%2f.evil.example/", id="an encoded slash"),
        pytest.param(f"https://{HOST}:8443/", id="another port"),
        pytest.param(f"https://{HOST}:80/", id="the port of http"),
        pytest.param(f"https://{HOST}:/", id="an empty port"),
        pytest.param(f"https://{HOST}:0443/", id="a port with a zero before it"),
        pytest.param(f"https://{HOST}:4430/", id="a port that begins like ours"),
        pytest.param(f"https://{HOST}:443:443/", id="two ports"),
        pytest.param("https://[::1]/", id="an IPv6 address"),
        pytest.param(f"https://[{HOST}]/", id="our host in brackets"),
        pytest.param(f"https://[::1]{HOST}/", id="our host behind brackets"),
        pytest.param("https://127.0.0.1/", id="an IPv4 address"),
        pytest.param("https://2130706433/", id="an IPv4 address as one number"),
        pytest.param("https:///evil.example", id="an empty host"),
        pytest.param(f" https://{HOST}/", id="a space before"),
        pytest.param(f"https://{HOST}/ ", id="a space behind"),
        pytest.param(f"https://{HOST} /", id="a space behind the host"),
        pytest.param(f"\thttps://{HOST}/", id="a tab before"),
        pytest.param(f"ht\ttps://{HOST}/", id="a tab in the scheme"),
        pytest.param("https://acme\t.comm100.com/", id="a tab in the host, CVE-2022-23527"),
        pytest.param(f"https://{HOST}\n.evil.example/", id="a line feed in the host, CVE-2020-11053"),
        pytest.param(f"https://{HOST}/\n", id="a line feed at the end"),
        pytest.param(f"https://{HOST}\n", id="a line feed behind the host"),
        pytest.param(f"https://{HOST}/\r\nSet-Cookie: a=b", id="CR LF"),
        pytest.param(f"https://{HOST}/\x00", id="a NUL"),
        pytest.param(f"https://{HOST}/\x7f", id="a DEL"),
        pytest.param(f"https://{HOST}/\x85", id="a C1 control"),
        pytest.param(f"https://{HOST}/ä", id="a letter beyond ASCII in the path"),
        pytest.param("https://ⓐcme.comm100.com/", id="a letter that browsers turn into a"),
        pytest.param("https://\u0430cme.comm100.com/", id="a letter that looks like a"),
        pytest.param("https://acme。comm100.com/", id="a full stop of another script"),
        pytest.param("https://acme.comm100.com\uff0fevil.example/", id="a slash of another script"),
        pytest.param("https://acme.comm100.com\u00ad/", id="a soft hyphen"),
        pytest.param("https://acme.comm100.com\ud800/", id="half of a surrogate pair"),
        *(pytest.param(f"https://{HOST}/a{c}b", id=f"{c} in the path") for c in '"<>`'),
        *(pytest.param(f"https://{HOST}/?a={c}b", id=f"{c} in the query") for c in '"<>`'),
        *(pytest.param(f"https://{HOST}/#{c}b", id=f"{c} in the fragment") for c in '"<>`'),
        pytest.param(f"https://{HOST}/{'a' * (MAX_REDIRECT_URL_CHARACTERS - 8 - len(HOST))}", id="one too long"),
        pytest.param("https://" + "a" * 100_000, id="far too long"),
    ],
)
@pytest.mark.parametrize("on_loopback", [False, True], ids=["in production", "in development"])
def test_any_other_is_refused(url: str, on_loopback: bool) -> None:
    with pytest.raises(RedirectUrlRefused) as refusal:
        check_redirect_url(url, site(on_loopback=on_loopback))
    assert refusal.value.code == "redirect_url_refused"
    assert refusal.value.status == 400


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("//evil.example/", id="as they are"),
        pytest.param("//", id="and nothing more"),
        pytest.param("///evil.example", id="three of them"),
        pytest.param("/%2Fevil.example", id="the second encoded"),
        pytest.param("/%2fevil.example", id="the second encoded in lower case"),
        pytest.param("/%5Cevil.example", id="an encoded backslash"),
        pytest.param("/%252Fevil.example", id="encoded twice"),
        pytest.param("/%25252Fevil.example", id="encoded three times"),
        pytest.param("/%u002fevil.example", id="encoded as ASP.NET reads it"),
        pytest.param("/./" + "/evil.example", id="behind a dot segment"),
        pytest.param("/%2e//evil.example", id="behind an encoded dot segment"),
        pytest.param("/a/..//evil.example", id="behind a segment that dots take back"),
        pytest.param("/a/b/../%2E%2e//evil.example", id="behind two of these"),
        pytest.param("/..//evil.example", id="behind dots that lead nowhere"),
        pytest.param("/%09/evil.example", id="around an encoded tab"),
        pytest.param("/%0d%0a/evil.example", id="around an encoded line break"),
        pytest.param("/%" + "25" * 6 + "2Fevil.example", id="encoded too often to follow"),
    ],
)
@pytest.mark.parametrize("host", [HOST, f"{HOST}:443", "dash11.comm100.io"])
def test_a_path_that_begins_with_two_slashes_is_refused_in_every_spelling(host: str, path: str) -> None:
    """A receiver that keeps the path alone, and redirects to it, leads to another host."""
    for behind in ("", "?a=b", "#c"):
        with pytest.raises(RedirectUrlRefused) as refusal:
            check_redirect_url(f"https://{host}{path}{behind}", site())
        assert refusal.value.code == "redirect_url_refused"


@pytest.mark.parametrize(
    ("url", "got"),
    [
        pytest.param("https://evil.example/a?b=c#d", "evil.example", id="the host"),
        pytest.param("ftp://x/", "scheme ftp", id="the scheme"),
        pytest.param("/agent", "scheme none", id="no scheme"),
        pytest.param(f"https://{HOST}:8443/?a=b", "port 8443", id="the port"),
        pytest.param(f"https://{HOST}:/", "port empty", id="an empty port"),
        pytest.param("https://[::1]/", "[::1]", id="an IPv6 address"),
        pytest.param(
            f"https://ada:secret@{HOST}/", "credentials before the host", id="credentials, which stay unnamed"
        ),
        pytest.param(f"https://{HOST}/a<b", "U+003C as character 27", id="the character and its place"),
        pytest.param("https:///evil.example", "https: without // and a host", id="no host"),
        pytest.param("https://dash11.comm100.io//evil.example?a=b", "//evil.example", id="the path, without the query"),
        pytest.param("https://" + "a" * 1_000, "a" * 80, id="no more of it than a line can bear"),
    ],
)
def test_a_refusal_names_what_was_refused_and_never_the_query(url: str, got: str) -> None:
    with pytest.raises(RedirectUrlRefused) as refusal:
        check_redirect_url(url, site())
    assert refusal.value.got == got


@pytest.mark.requirement("S-33")
@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        pytest.param("http://127.0.0.1:8403", True, id="its origin alone"),
        pytest.param("http://127.0.0.1:8403/agent?a=b#c", True, id="a page of it"),
        pytest.param("http://127.0.0.1:84030/", False, id="a port that begins like it"),
        pytest.param("http://127.0.0.1:8403@evil.example/", False, id="it as userinfo"),
        pytest.param("http://127.0.0.1:8403.evil.example/", False, id="it as a prefix"),
        pytest.param("http://127.0.0.1/", False, id="another port"),
        pytest.param("https://127.0.0.1:8403/", False, id="https where it has http"),
        pytest.param("http://localhost:8403/", False, id="another name of it"),
        pytest.param("http://127.0.0.1:8403/\\", False, id="a backslash"),
        pytest.param("http://127.0.0.1:8403/ä", False, id="a letter beyond ASCII"),
        pytest.param("http://127.0.0.1:8403/\n", False, id="a line feed"),
    ],
)
def test_in_development_the_endpoints_own_origin_is_taken_to_the_letter(url: str, accepted: bool) -> None:
    assert is_accepted(url, site(endpoint=ON_LOOPBACK, on_loopback=True)) is accepted
    assert not is_accepted(url, site(endpoint=ON_LOOPBACK)), "never in production"


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"https://{HOST}/other.aspx", id="another path"),
        pytest.param(ENDPOINT.replace("SSOJWT", "ssojwt"), id="the path in lower case, CVE-2020-15234"),
        pytest.param(ENDPOINT.upper().replace("HTTPS", "https"), id="the path in upper case, CVE-2020-15234"),
        pytest.param(f"{ENDPOINT}/", id="a slash behind"),
        pytest.param(f"{ENDPOINT};a=b", id="a path parameter"),
        pytest.param(f"{ENDPOINT}/../SSOJWTConsumer.aspx", id="a way around to the same path, CVE-2022-3782"),
        pytest.param(f"{ENDPOINT}%252f..%252fother", id="a way around, encoded twice, CVE-2022-3782"),
        pytest.param(ENDPOINT.replace("SSO/", "%53SO/"), id="the path in another spelling"),
        pytest.param(ENDPOINT.replace(HOST, "dash11.comm100.io"), id="a listed host, but not the endpoint's"),
        pytest.param(ENDPOINT.replace(HOST, HOST.upper()), id="the host in upper case"),
        pytest.param(ENDPOINT.replace(HOST, f"{HOST}:443"), id="the port spelt out"),
        pytest.param(f"https://{HOST}/", id="the host alone"),
    ],
)
def test_in_append_delivery_only_the_endpoint_gets_the_token(url: str) -> None:
    with pytest.raises(RedirectUrlRefused):
        check_redirect_url(url, site("append"))


DEEPLY_ENCODED = "%" + "25" * 980 + "6Awt"


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    "query",
    [
        pytest.param("jwt=x", id="as it is"),
        pytest.param("jwt", id="without a value"),
        pytest.param("jwt=", id="with an empty value"),
        pytest.param("a=b&jwt=x", id="behind another parameter"),
        pytest.param("JWT=x", id="in upper case"),
        pytest.param("jWt=x", id="in mixed case"),
        pytest.param("%6Awt=x", id="percent-encoded"),
        pytest.param("%6a%77%74=x", id="percent-encoded whole"),
        pytest.param("%4aWT=x", id="percent-encoded in upper case"),
        pytest.param("%256Awt=x", id="encoded twice"),
        pytest.param("%25256Awt=x", id="encoded three times"),
        pytest.param(f"{DEEPLY_ENCODED}=x", id="encoded 980 times"),
        pytest.param("%25252525252525252525256a=x", id="encoded more often than anybody does, whatever it is"),
        pytest.param("&".join(["a=b"] * 101), id="more parameters than anybody sends"),
        pytest.param(";".join(["a=b"] * 101), id="more parameters behind semicolons"),
        pytest.param("%u006Awt=x", id="encoded as ASP.NET reads it"),
        pytest.param("%U006Awt=x", id="encoded as ASP.NET reads it, in upper case"),
        pytest.param("%25u006awt=x", id="encoded as ASP.NET reads it, and once more"),
        pytest.param("%20jwt=x", id="with a space before"),
        pytest.param("jwt+=x", id="with a space behind"),
        pytest.param("a=b;jwt=x", id="behind a semicolon"),
        pytest.param("a=b&;jwt=x", id="behind both"),
        pytest.param("&&jwt=x", id="behind two &"),
        pytest.param("j%00wt=x", id="with a NUL inside"),
        pytest.param("jwt%00=x", id="with a NUL behind"),
        pytest.param("jwt[]=x", id="as a list"),
        pytest.param("jwt%5B%5D=x", id="as a list, percent-encoded"),
        pytest.param("%EF%BD%8Awt=x", id="with a wide j"),
        pytest.param("%F0%9D%92%BFwt=x", id="with a mathematical j"),
        pytest.param("%E2%93%99wt=x", id="with a j in a circle"),
        pytest.param("j%E2%80%8Bwt=x", id="with a space of no width inside"),
        pytest.param("%EF%BB%BFjwt=x", id="with a byte order mark before"),
        pytest.param("jw%E2%81%A0t=x", id="with a word joiner inside"),
        pytest.param("j%C2%ADwt=x", id="with a soft hyphen inside"),
        pytest.param("j%E2%80%AEwt=x", id="with a direction mark inside"),
        pytest.param("j%EF%B8%8Fwt=x", id="with a variation selector inside"),
        pytest.param("j.wt=x", id="with a dot inside"),
    ],
)
def test_in_append_delivery_a_jwt_parameter_already_there_is_refused(query: str) -> None:
    with pytest.raises(RedirectUrlRefused):
        check_redirect_url(f"{ENDPOINT}?{query}", site("append"))


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    "behind",
    [
        "",
        "?",
        "?a=b",
        "?a=jwt",
        "?myjwt=x",
        "?jwt_id=2",
        "?jwt2=x",
        "?jw=t",
        "?%D1%98wt=x",
        "?a=b%26jwt=x",
        "#jwt=x",
        "?a=b#?jwt=x",
        "?a=%u12&b=%uzzzz",
    ],
)
def test_in_append_delivery_another_query_is_taken(behind: str) -> None:
    assert check_redirect_url(ENDPOINT + behind, site("append")) == ENDPOINT + behind


EVIL = "https://evil.example/"


def encoded(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


OURS_TWO_DEEP = encoded(f"https://{HOST}/?redirect_url={encoded(f'https://{HOST}/x', 1)}", 1)
NESTED_TWICE = encoded(f"https://{HOST}/a?redirect_url={encoded(EVIL, 1)}", 1)


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(f"?redirect_url={EVIL}", id="Comm100's own parameter"),
        pytest.param(f"?redirect_url={encoded(EVIL, 1)}", id="encoded"),
        pytest.param(f"?redirect_url={encoded(EVIL, 2)}", id="encoded twice"),
        pytest.param(f"?redirect_url={encoded(EVIL, 3)}", id="encoded three times"),
        pytest.param(f"?redirect_url={encoded(EVIL, 9)}", id="encoded nine times"),
        pytest.param(f"?Redirect_Url={encoded(EVIL, 1)}", id="in another case"),
        pytest.param(f"?redirect%5Furl={EVIL}", id="its name encoded"),
        pytest.param(f"?redirect%255Furl={EVIL}", id="its name encoded twice"),
        pytest.param(f"?redirect%u005Furl={EVIL}", id="its name encoded as ASP.NET reads it"),
        pytest.param(f"?redirect.url={EVIL}", id="with a dot"),
        pytest.param(f"?redirect-url={EVIL}", id="with a hyphen"),
        pytest.param(f"?redirectUrl={EVIL}", id="in one word"),
        pytest.param(f"?redirect_url[]={EVIL}", id="as a list"),
        pytest.param(f"?redirect_url%5B0%5D={EVIL}", id="as a list, encoded"),
        pytest.param(f"?+redirect_url={EVIL}", id="behind a space"),
        pytest.param("?redirect_url=//evil.example", id="without a scheme"),
        pytest.param("?redirect_url=/agent", id="a path alone, as no redirect_url may be"),
        pytest.param("?redirect_url=evil.example", id="a host alone"),
        pytest.param("?redirect_url=http://dash11.comm100.io/", id="http"),
        pytest.param("?redirect_url=https://dash11.comm100.io:8443/", id="another port"),
        pytest.param("?redirect_url=https://dash11.comm100.io//evil.example", id="two slashes in its path"),
        pytest.param(f"?redirect_url=https://{HOST}@evil.example/", id="our host as credentials"),
        pytest.param(f"?redirect_url=https://{HOST}%2540evil.example/", id="our host as credentials, encoded twice"),
        pytest.param(f"?redirect_url=https://{HOST}%2523@evil.example/", id="a # that appears too late"),
        pytest.param(f"?redirect_url=https://{HOST}%26@evil.example/", id="an & that separates nothing yet"),
        pytest.param(f"?redirect_url=https://{HOST};@evil.example/", id="a semicolon that separates nothing"),
        pytest.param(f"?redirect_url=https://{HOST}&redirect_url={EVIL}", id="the second of two"),
        pytest.param(f"?redirect_url={EVIL}&redirect_url=https://{HOST}", id="the first of two"),
        pytest.param(f"?a=b;redirect_url={EVIL}", id="behind a semicolon"),
        pytest.param(f"?a=b%3Bredirect_url={EVIL}", id="behind an encoded semicolon"),
        pytest.param(f"?a=b%26redirect_url={EVIL}", id="behind an encoded &"),
        pytest.param(f"?a=b#redirect_url={EVIL}", id="in the fragment"),
        pytest.param(f"#/route?redirect_url={EVIL}", id="in a route in the fragment"),
        pytest.param(f"?redirect_url={NESTED_TWICE}", id="two deep"),
        pytest.param(f"?a={encoded('x?redirect_url=' + EVIL, 1)}", id="in another parameter's value"),
        pytest.param(f"?returnUrl={EVIL}", id="returnUrl"),
        pytest.param("?returnUrl=//evil.example", id="returnUrl without a scheme"),
        pytest.param("?return_url=/%5Cevil.example", id="return_url with a backslash"),
        pytest.param("?return_to=%5C%5Cevil.example", id="return_to with two backslashes"),
        pytest.param("?next=%2F%2Fevil.example", id="next, encoded"),
        pytest.param("?next=%09//evil.example", id="next, behind a tab"),
        pytest.param("?next=/%09/evil.example", id="next, around a tab"),
        pytest.param("?next=+//evil.example", id="next, behind a space"),
        pytest.param("?next=%C2%A0//evil.example", id="next, behind a space that does not break"),
        pytest.param("?next=%E3%80%80//evil.example", id="next, behind a wide space, which .NET trims"),
        pytest.param("?next=%E2%80%A8//evil.example", id="next, behind a line separator"),
        pytest.param("?next=%E2%81%A0//evil.example", id="next, behind a word joiner, which nobody sees"),
        pytest.param("?url=https:evil.example", id="url without slashes"),
        pytest.param("?url=HTTPS:/%5Cevil.example", id="url with odd slashes"),
        pytest.param("?url=ht%09tps://evil.example", id="url with a tab in its scheme"),
        pytest.param("?target=javascript:alert(1)", id="target with a script"),
        pytest.param("?target=java%0ascript:alert(1)", id="target with a script and a line break"),
        pytest.param("?target=data:text/html,hello", id="target with a page inside"),
        pytest.param(f"?redirect_uri={EVIL}", id="redirect_uri"),
        pytest.param(f"?redirect={EVIL}", id="redirect"),
        pytest.param(f"?PostLoginRedirectUrl={EVIL}", id="a longer name"),
        pytest.param(f"?RelayState={EVIL}", id="RelayState"),
        pytest.param(f"?%EF%BD%8Eext={EVIL}", id="next with a wide n"),
    ],
)
def test_in_append_delivery_a_further_target_elsewhere_is_refused(behind: str) -> None:
    """The endpoint takes a person on to its own redirect_url: what `endpoint` delivery refuses must not pass here."""
    with pytest.raises(RedirectUrlRefused) as refusal:
        check_redirect_url(ENDPOINT + behind, site("append"))
    assert refusal.value.code == "redirect_url_refused"


@pytest.mark.requirement("S-34")
@pytest.mark.parametrize(
    "behind",
    [
        pytest.param("?redirect_url=", id="an empty one"),
        pytest.param("?redirect_url", id="one without a value"),
        pytest.param("?redirect_url=&siteId=1", id="an empty one before another parameter"),
        pytest.param(f"?redirect_url=https%3A%2F%2F{HOST}%2Fa%3Fb%3Dc", id="one at our host"),
        pytest.param("?redirect_url=https%3A%2F%2FDASH11.comm100.io:443%2Fa&x=y", id="one at a listed host"),
        pytest.param(f"?redirect_url={encoded(f'https://{HOST}/a b?c=ä', 1)}", id="one with text to encode"),
        pytest.param(f"?redirect_url={OURS_TWO_DEEP}", id="two deep"),
        pytest.param("?returnUrl=/agent/console?queue=vip", id="a path"),
        pytest.param("?returnUrl=agent", id="a word"),
        pytest.param("?next=//dash11.comm100.io/a", id="a listed host without a scheme"),
        pytest.param("?siteId=10000&at=12:30&text=https://elsewhere.example", id="values that are no targets"),
    ],
)
def test_in_append_delivery_a_further_target_at_comm100_is_taken(behind: str) -> None:
    assert check_redirect_url(ENDPOINT + behind, site("append")) == ENDPOINT + behind


@pytest.mark.parametrize("separator", ["&", ";"])
def test_in_append_delivery_more_parameters_than_anybody_sends_are_refused(separator: str) -> None:
    assert is_accepted(f"{ENDPOINT}?{separator.join(['a=b'] * 100)}", site("append"))
    with pytest.raises(RedirectUrlRefused) as refusal:
        check_redirect_url(f"{ENDPOINT}?{separator.join(['a=b'] * 101)}", site("append"))
    assert (refusal.value.expected, refusal.value.got) == ("at most 100 parameters", 101)


@pytest.mark.parametrize("separator", ["&", ";", "?", "#"])
def test_in_append_delivery_more_further_targets_than_anybody_sends_are_refused(separator: str) -> None:
    targets = [f"to=https://{HOST}/{number}" for number in range(21)]
    assert is_accepted(f"{ENDPOINT}?{separator.join(targets[:20])}", site("append"))
    with pytest.raises(RedirectUrlRefused) as refusal:
        check_redirect_url(f"{ENDPOINT}?{separator.join(targets)}", site("append"))
    assert (refusal.value.expected, refusal.value.got) == ("at most 20 further targets", "21 or more")


def test_the_refusal_of_a_further_target_names_its_parameter_and_host_alone() -> None:
    with pytest.raises(RedirectUrlRefused) as refusal:
        check_redirect_url(f"{ENDPOINT}?Return_Url=https%3A%2F%2Fada:pw@evil.example%2Fpath%3Fa%3Db", site("append"))
    assert refusal.value.got == "parameter Return_Url, https://evil.example"


PIECES = st.sampled_from(
    ["https:", "http:", "/", "//", "\\", "@", ":", "443", "?", "#", ".", "%", "%2e", "%40", "%5c", ";", "[", "]", "\t",
     "\n", "\r", "\0", " ", "。", "\uff0f", "ⓐ", "ß", "\u00ad", "\ud800", "-", "xn--", "0x7f", "evil.example", HOST,
     "dash11.comm100.io", "jwt=", "&", "a"]
)  # fmt: skip
SEEDS = st.sampled_from([f"https://{HOST}/agent?a=b#c", "https://dash11.comm100.io", f"https://{HOST}:443/", ENDPOINT])


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Take a right address and put pieces in, or leave some out, wherever it hurts."""
    url = draw(SEEDS)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, min(len(url), 40)))
        stop = start + draw(st.sampled_from([0, 0, 1, 3]))
        piece = draw(st.one_of(PIECES, st.characters(), st.just("")))
        url = url[:start] + piece + url[stop:]
    return url


@pytest.mark.requirement("S-33")
@settings(max_examples=1000, deadline=None)
@given(url=mutated())
@example(url="https://acme.comm100.com:443#@evil.example")
@example(url="https://acme.comm100.com?@evil.example")
def test_a_browser_sees_the_same_host_in_every_address_accepted(url: str) -> None:
    for at in (site(), site(on_loopback=True), site(endpoint=ON_LOOPBACK, on_loopback=True)):
        judge(url, at)


TARGETS = st.sampled_from(
    ["redirect_url", "Redirect%5FUrl", "next", "returnUrl", "url[]", "a", "=", "=", "=", "&", ";", "?", "#", "//", "/",
     "%2F", "%252F", "%5C", "@", "%40", "%2540", "https:", "javascript:", "evil.example", HOST, "%09", "%26", "%3B",
     "%23", "%2523"]
)  # fmt: skip


@pytest.mark.requirement("S-34")
@settings(max_examples=1500, deadline=None)
@given(behind=st.lists(TARGETS, max_size=10).map("".join))
@example(behind=f"redirect_url=https://{HOST}%2523@evil.example/")
@example(behind=f"next=https://{HOST}%26@evil.example/")
def test_a_browser_is_led_to_no_other_host_by_what_append_delivery_accepts(behind: str) -> None:
    url = f"{ENDPOINT}?{behind}"
    if not is_accepted(url, site("append")):
        return
    seen = URL(url)
    for part in (seen.search, seen.hash):
        for query in (part[1:], part[1:].replace(";", "&")):
            for name, value in parse_qsl(query, keep_blank_values=True):
                if re.sub(r"[\[\]_]", "", name).lower() in ("redirecturl", "next", "returnurl", "url"):
                    for target in (value, unquote(value), unquote(unquote(value))):
                        try:
                            led_to = URL(target, base=ENDPOINT)
                        except ValueError:
                            continue
                        assert led_to.protocol == "https:", target
                        assert led_to.hostname in HOSTS, target


@pytest.mark.requirement("S-34")
@settings(max_examples=600, deadline=None)
@given(
    behind=st.lists(
        st.sampled_from(["?", "#", "&", ";", "=", "jwt", "JWT", "%6A", "wt", "a", "+", "%20", "%3D", "%25", "6a"]),
        max_size=6,
    ).map("".join)
)
def test_a_token_appended_is_the_only_one_and_goes_to_the_endpoint(behind: str) -> None:
    judge(ENDPOINT + behind, site("append"))


@pytest.mark.requirement("S-34")
@settings(max_examples=200, deadline=None)
@given(path=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='\\"<>`'), max_size=60))
def test_a_redirect_url_comes_back_whole_out_of_the_endpoints_query(path: str) -> None:
    judge(f"https://{HOST}/a{path}", site())
