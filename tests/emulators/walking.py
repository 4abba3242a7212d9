"""The way of a person through a sign-in: Comm100's page, the broker's chooser, the vendor's page.

Refuses to know where it ought to end: the tests say so.
"""

from dataclasses import dataclass

from playwright.sync_api import Page, expect

from broker.demo.comm100 import Agent
from tests.emulators.running import ADA, GRACE, KATHERINE, Site


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor as a person meets it.

    Args:
        id: of the provider in the broker's settings.
        emulator: its name there.
        label: on the chooser.
        title: of its own page.
        agent: who signs in with it.
        email_from: the claim that is believed about the address.
        asks_anew: the `prompt` that makes it ask for another account.
    """

    id: str
    emulator: str
    label: str
    title: str
    agent: Agent
    email_from: str
    asks_anew: str


OKTA = Vendor("okta", "okta", "Acme Okta", "Sign in with Okta", ADA, "email", "login")
# Without xms_edov, which the emulator never sends, Entra's `email` proves nothing.
ENTRA = Vendor(
    "entra", "microsoft", "Acme Europe", "Sign in with Microsoft", GRACE, "preferred_username", "select_account"
)
GOOGLE = Vendor("google", "google", "Acme America", "Sign in to Google", KATHERINE, "email", "select_account")
VENDORS = (OKTA, ENTRA, GOOGLE)


def come_from(page: Page, site: Site) -> None:
    """Ask a Comm100 site to sign in with its company's account."""
    page.goto(site.sign_in_page)
    page.get_by_role("button", name="Sign in with Custom SSO").click()


def go_to(page: Page, site: Site, vendor: Vendor) -> None:
    """Come from a site and take a vendor of the chooser."""
    come_from(page, site)
    page.get_by_role("link", name=vendor.label).click()
    expect(page.get_by_text(vendor.title, exact=True)).to_be_visible()


def pick(page: Page, name: str) -> None:
    """Take a person of the vendor's page."""
    page.get_by_role("button", name=name).click()


def check_signed_in(page: Page, agent: Agent) -> None:
    """Check that Comm100 knows who came."""
    expect(page.get_by_role("heading", name=f"Signed in as {agent.name} ({agent.email})")).to_be_visible()
