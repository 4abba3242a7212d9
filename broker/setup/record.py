"""The records of a setup: one value, one command, one provider's and one site's share."""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_NAME = "Comm100 sign-in"  # of the registration, as people see it at the provider


@dataclass(frozen=True, slots=True)
class Value:
    """One thing to copy.

    Args:
        label: what it is called where it goes.
        value: to be copied as it stands.
        where: the place it goes, by the other side's own menus.
        note: what else there is to know.
    """

    label: str
    value: str
    where: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One text to paste as it stands, into a shell or a file.

    Args:
        title: what it is for.
        text: of several lines; holds no secret, and prints none.
        note: what to know before using it.
    """

    title: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a registration at a provider has to say, whatever the kind of provider.

    Args:
        redirect_uri: where people come back to after signing in.
        post_logout_uri: where they come back to after signing out.
        start_uri: where a portal that names its issuer sends people to start a sign-in.
        home_page: the same for a portal that adds nothing to an address.
        by_secret: we prove who we are by a client secret.
        client_secret_end: the last day of a client secret made now, as YYYY-MM-DD.
    """

    redirect_uri: str
    post_logout_uri: str
    start_uri: str
    home_page: str
    by_secret: bool
    client_secret_end: str


@dataclass(frozen=True, slots=True)
class ProviderSetup:
    """What to register at one identity provider.

    Args:
        id: of the provider in the settings.
        label: the text on the chooser's button.
        preset: of the provider in the settings.
        enabled: whether agents are offered it.
        email_domains: the domains it may assert, sorted.
        site_ids: the sites that offer it, or will once it is enabled.
        values: to copy, in the order in which they are asked for.
        commands: which do the same; none where the provider has no such tool.
        note: what else there is to know about this kind of provider.
        guide: the document that tells the steps.
    """

    id: str
    label: str
    preset: str
    enabled: bool
    email_domains: tuple[str, ...]
    site_ids: tuple[str, ...]
    values: tuple[Value, ...]
    commands: tuple[Command, ...]
    note: str
    guide: str


@dataclass(frozen=True, slots=True)
class SiteSetup:
    """What to enter in Comm100's Control Panel for one site, and what to compare with it.

    Args:
        id: of the site in the settings.
        values: to copy into the Control Panel.
        endpoint: the JWT SSO endpoint in use.
        delivery: where the token goes.
        secret_length: bytes of the shared secret in use.
        secret_fingerprint: of the shared secret in use.
        compare: prints the fingerprint of another copy of the shared secret.
    """

    id: str
    values: tuple[Value, ...]
    endpoint: str
    delivery: str
    secret_length: int
    secret_fingerprint: str
    compare: Command
