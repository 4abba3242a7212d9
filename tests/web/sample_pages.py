"""Every page agents see, made of examples, for the tests that judge all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from broker.errors import (
    AccessDenied,
    BrokerError,
    CookieMissing,
    NoSuchPage,
    SettingsError,
    TransactionExpired,
    every_error,
)
from broker.web.pages import Choice, Pages

SUPPORT = "it+desk@acme.example"
TRACE_ID = "7f3a9c21"
CHOICES = (
    Choice("Acme Okta", "/login?idp=okta"),
    Choice("Acme <Europe>", "/login?idp=entra&x=1"),
    Choice("Acme Oberpfaffenhofen Forschungsgesellschaft", "/login?idp=research"),
)
ERRORS = [error for error in every_error() if not issubclass(error, SettingsError)]


def problem(error: type[BrokerError], pages: Pages) -> str:
    return pages.problem(error(), trace_id=TRACE_ID, start_again="/login")


EVERY_PAGE: Mapping[str, Callable[[Pages], str]] = {
    "home": Pages.home,
    "signed_out": lambda pages: pages.signed_out("https://comm100.example/"),
    "signed_out_for_good": lambda pages: pages.signed_out(None),
    "new_tab": lambda pages: pages.new_tab("/login"),
    "choose": lambda pages: pages.choose("Comm100", CHOICES),
    "problem": lambda pages: problem(AccessDenied, pages),
    "problem_that_refreshes": lambda pages: pages.problem(
        TransactionExpired(), trace_id=TRACE_ID, start_again="/login", refreshes=True
    ),
    "problem_of_a_lost_page": lambda pages: pages.problem(
        CookieMissing(), trace_id=TRACE_ID, start_again="/login", refreshes=True, page_lost=True
    ),
    "problem_of_an_account": lambda pages: pages.problem(
        AccessDenied(), trace_id=TRACE_ID, start_again="/login", use_another_account="/login?x"
    ),
    "problem_without_a_way_back": lambda pages: pages.problem(NoSuchPage(), trace_id=TRACE_ID, start_again=None),
}

ONE_ERROR_OF_EACH_ADVICE = {error.advice: error for error in ERRORS}.values()
