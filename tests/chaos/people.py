"""People who sign in at a steady rate, each with a browser and cookies of their own, and what each of them got."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt

GONE = (OSError, asyncio.IncompleteReadError)
SIGNED_IN = "signed in"
PATIENCE = 40.0  # seconds a browser waits for an answer
MAX_REDIRECTS = 12
THINKING = 0.3  # seconds a person spends at the provider
CODE = re.compile(r"<dt>Error code</dt><dd><code>([^<]*)</code>")
_NUMBERS = itertools.count()  # of browsers
REFRESH = re.compile(r"(\d+);url=(.+)")


@dataclass(frozen=True)
class Address:
    """Where browsers go.

    Args:
        public: the port that stands for `public_url`.
        fronts: the front port of each provider, by the host and port of its issuer.
        endpoint: of Comm100, where a sign-in ends.
        shared_secrets: Comm100 accepts tokens that are signed with one of them.
    """

    public: int
    fronts: Mapping[str, int]
    endpoint: str
    shared_secrets: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """A response without its body's end in doubt."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: str

    def header(self, name: str) -> str:
        """Return the first header of a name, or nothing."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True)
class SignIn:
    """One sign-in, as the person met it.

    Args:
        began: by the monotonic clock, when the person came.
        ended: by the monotonic clock.
        waited: seconds of waiting for the broker and the provider, without thinking.
        end: `signed in`, the code on the page, or what happened to the connection.
        again: the end of the second try of a person whose first try failed; empty without one.
    """

    provider: str
    began: float
    ended: float
    waited: float
    end: str
    again: str = ""

    @property
    def is_good(self) -> bool:
        """Whether Comm100 let the person in."""
        return self.end == SIGNED_IN


def new_source() -> str:
    """Return a loopback address that no other browser has had lately: the broker bounds rejected codes by address."""
    number = next(_NUMBERS)
    return f"127.{1 + number // 62_500 % 250}.{number // 250 % 250}.{1 + number % 250}"


@dataclass
class Browser:
    """One person's browser.

    Args:
        source: its address.
    """

    address: Address
    source: str = field(default_factory=new_source)
    cookies: dict[str, str] = field(default_factory=dict)
    waited: float = 0.0

    async def sign_in(self, provider: str, *, thinking: float = THINKING) -> str:
        """Go from /login to Comm100; return how it ended."""
        try:
            return await self._sign_in(f"http://127.0.0.1:{self.address.public}/login?idp={provider}", thinking)
        except TimeoutError:
            return "no answer"
        except GONE as error:
            return "refused" if isinstance(error, ConnectionRefusedError) else "cut off"

    async def _sign_in(self, url: str, thinking: float) -> str:
        for _ in range(MAX_REDIRECTS):
            if url.startswith(self.address.endpoint):
                return self._knock(url)
            answer = await self.get(url, thinking)
            refresh = REFRESH.fullmatch(answer.header("refresh"))
            if refresh is not None:
                await asyncio.sleep(int(refresh[1]))
                url = refresh[2]
                if url.startswith("/"):
                    url = f"http://127.0.0.1:{self.address.public}{url}"
            elif answer.status in (302, 303):
                url = answer.header("location")
            else:
                code = CODE.search(answer.body)
                return code[1] if code else f"status {answer.status}"
        return "redirected for ever"

    async def get(self, url: str, thinking: float = 0.0) -> Answer:
        """Ask a page of the broker or of a provider's front, with and for the cookies."""
        parts = urlsplit(url)
        front = self.address.fronts.get(parts.netloc)
        if front is not None:
            await asyncio.sleep(thinking)
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._ask(front or self.address.public, parts.netloc, f"{parts.path}?{parts.query}")
        finally:
            self.waited += time.monotonic() - began

    async def _ask(self, port: int, host: str, target: str) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(self.source, 0))
        try:
            lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Accept: text/html", "Connection: close"]
            if self.cookies and port == self.address.public:
                lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
            writer.write("\r\n".join([*lines, "", ""]).encode())
            head, separator, body = (await reader.read()).decode("utf-8", "replace").partition("\r\n\r\n")
        finally:
            writer.close()
        if not separator:
            raise ConnectionResetError("no response")
        status, *rest = head.split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in rest)]
        self._keep([value for name, value in headers if name == "set-cookie"])
        return Answer(int(status.split()[1]), headers, body)

    def _keep(self, set_cookies: Sequence[str]) -> None:
        for line in set_cookies:
            name, _, value = line.partition(";")[0].partition("=")
            if "max-age=0" in line.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    def _knock(self, url: str) -> str:
        """Do what Comm100 does with a token, without leeway for its clock."""
        token = dict(part.partition("=")[::2] for part in urlsplit(url).query.split("&")).get("jwt", "")
        refusal: Exception | None = None
        for secret in self.address.shared_secrets:
            try:
                jwt.decode(token, secret, algorithms=["HS256"], audience="Comm100", options={"verify_iat": False})
            except jwt.InvalidTokenError as error:
                refusal = error
            else:
                return SIGNED_IN
        return f"Comm100 refuses the token: {refusal}"


@dataclass
class People:
    """People who come at a steady rate until `stop`.

    Args:
        rates: sign-ins a second, by provider.
        tries_again: a person whose sign-in failed tries once more.
    """

    address: Address
    rates: Mapping[str, float]
    thinking: float = THINKING
    tries_again: bool = False
    signed_in: list[SignIn] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to come, in a thread."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._come()), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Come no more."""
        self._ended.set()

    def stop(self) -> None:
        """Come no more, and wait for the sign-ins under way."""
        self.close()
        if self._thread is not None:
            self._thread.join()

    def since(self, began: float, until: float | None = None, provider: str | None = None) -> list[SignIn]:
        """Return the sign-ins that began in a time, by the monotonic clock."""
        return [
            one
            for one in list(self.signed_in)
            if began <= one.began < (until or float("inf")) and provider in (None, one.provider)
        ]

    async def _come(self) -> None:
        async with asyncio.TaskGroup() as group:
            for provider, rate in self.rates.items():
                if rate:
                    group.create_task(self._come_to(provider, rate, group))

    async def _come_to(self, provider: str, rate: float, group: asyncio.TaskGroup) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            group.create_task(self._one(provider))
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _one(self, provider: str) -> None:
        browser = Browser(self.address)
        began = time.monotonic()
        end = await browser.sign_in(provider, thinking=self.thinking)
        ended, waited = time.monotonic(), browser.waited
        again = ""
        if end != SIGNED_IN and self.tries_again:
            again = await browser.sign_in(provider, thinking=self.thinking)
        self.signed_in.append(SignIn(provider, began, ended, waited, end, again))


@contextmanager
def coming(address: Address, rates: Mapping[str, float], **more: Any) -> Iterator[People]:
    """Let people come while the block runs; afterwards every sign-in has ended."""
    people = People(address, rates, **more)
    people.start()
    try:
        yield people
    finally:
        people.stop()


def failed(sign_ins: Sequence[SignIn]) -> list[SignIn]:
    """Return those that did not end at Comm100."""
    return [one for one in sign_ins if not one.is_good]


def ends(sign_ins: Sequence[SignIn]) -> str:
    """Name the ends of failed sign-ins with their counts."""
    counted = Counter(one.end for one in failed(sign_ins))
    return ", ".join(f"{end}: {count}" for end, count in counted.most_common(4))


def quantile(sign_ins: Sequence[SignIn], part: float) -> float:
    """Return a quantile of the milliseconds that people waited in a whole sign-in; 0 without any."""
    waited = sorted(one.waited for one in sign_ins)
    return 1000 * waited[min(len(waited) - 1, int(len(waited) * part))] if waited else 0.0


def sign_in_once(address: Address, provider: str, *, thinking: float = 0.0) -> SignIn:
    """Let one person sign in now."""
    browser = Browser(address)
    began = time.monotonic()
    end = asyncio.run(browser.sign_in(provider, thinking=thinking))
    return SignIn(provider, began, time.monotonic(), browser.waited, end)
