"""The person at the browser: opens pages hop by hop, fills the provider's own forms in, follows nothing unasked.

Refuses to know what the broker ought to answer: it hands every answer back to the test.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

MOST_HOPS = 10  # sign-in form, consent form, and the redirects between them


class _FirstForm(HTMLParser):
    """The action and the named inputs of a page's first form."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what is needed to send the form."""
        given = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = given.get("action")
        if tag == "input" and (name := given.get("name")):
            self.fields[name] = given.get("value") or ""


@contextmanager
def browser(trust: ssl.SSLContext | None = None) -> Iterator[httpx.Client]:
    """A browser with an empty cookie jar; as in real ones, loopback is as good as https for Secure cookies.

    `trust` knows the certificates of providers that are reached by https.
    """
    jar = CookieJar(DefaultCookiePolicy(secure_protocols=("https", "http")))
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
    verify = True if trust is None else trust
    with httpx.Client(cookies=jar, headers=headers, follow_redirects=False, trust_env=False, verify=verify) as client:
        yield client


def redirected_to(answer: httpx.Response) -> str:
    """Where a redirect leads; an answer of another kind fails the test and is shown."""
    assert answer.is_redirect, f"{answer.request.method} {answer.url} answered {answer.status_code}:\n{answer.text}"
    return str(answer.url.join(answer.headers["location"]))


def sign_in_at_the_provider(browser: httpx.Client, location: str, *, login: str) -> str:
    """Go where the broker sent us, sign in as `login`, consent if asked, and say where it sends us in the end."""
    provider = httpx.URL(location).netloc
    for _ in range(MOST_HOPS):
        answer = browser.get(location)
        if answer.is_success:
            answer = _send_form(browser, answer, login)
        location = redirected_to(answer)
        if httpx.URL(location).netloc != provider:
            return location
    raise AssertionError(f"the provider still asks after {MOST_HOPS} hops, at {location}")


def confirm_at_the_provider(browser: httpx.Client, location: str) -> str:
    """Go where the broker sent us to sign out, say yes, and say where the provider sends us."""
    page = browser.get(location)
    assert page.is_success, f"{page.status_code} at {location}:\n{page.text}"
    form = _FirstForm()
    form.feed(page.text)
    assert form.action, f"no form to confirm at {page.url}:\n{page.text}"
    return redirected_to(browser.post(page.url.join(form.action), data={**form.fields, "logout": "yes"}))


def _send_form(browser: httpx.Client, page: httpx.Response, login: str) -> httpx.Response:
    form = _FirstForm()
    form.feed(page.text)
    assert form.action, f"no form to fill in at {page.url}:\n{page.text}"
    typed = {"login": login, "password": "any will do"}
    return browser.post(
        page.url.join(form.action), data={**form.fields, **{k: v for k, v in typed.items() if k in form.fields}}
    )
