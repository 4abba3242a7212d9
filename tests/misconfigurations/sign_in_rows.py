"""Misconfigurations that only a test sign-in or a call of Comm100's brings to light."""

from __future__ import annotations

from tests.fakes.kinds import OTHER
from tests.fakes.lies import Lies, with_
from tests.fakes.provider import Person
from tests.fakes.world import ENDPOINT
from tests.misconfigurations.record import Row, put
from tests.misconfigurations.vendors import SECRET

_ADA = {"email": "ada@acme.example", "email_verified": True, "name": "Ada Lovelace"}
_UPN = {"preferred_username": "ada@acme.example", "name": "Ada Lovelace"}
_GUEST = {"preferred_username": "ada_acme.example#EXT#@acme.onmicrosoft.com", "name": "Ada Lovelace", "acct": 1}
_HOSTED = {**_ADA, "hd": "acme.example"}
_MAIL = {"mail": "ada@acme.example", "name": "Ada Lovelace"}
_OF_ANOTHER_TENANT = Lies(claims=with_(iss=f"https://idp.example/{OTHER}/v2.0", tid=OTHER))


def _person(**claims: object) -> Person:
    return Person("person-1", dict(claims))


ROWS = [
    Row("scopes without `email`", "email_missing", "Without email in scopes the provider leaves the address out",
        put(idp={"scopes": ["openid", "profile"]}), put(idp={"scopes": ["openid", "email", "profile"]}), at="sign-in"),
    Row("the address in another claim", "email_missing: expected the claim email", "set email_claim",
        put(provider={"person": _person(**_MAIL)}),
        put(idp={"email_claim": "mail", "trust_unverified_email": True}), at="sign-in"),
    Row("an address that is not verified", "got email_verified: false", "must send email_verified: true",
        put(provider={"person": _person(**{**_ADA, "email_verified": False})}),
        put(provider={"person": _person(**_ADA)}), at="sign-in"),
    Row("a provider that does not say whether addresses are verified", "email_unverified: expected email_verified: ",
        "must send email_verified: true",
        put(provider={"person": _person(email="ada@acme.example", name="Ada Lovelace")}),
        put(provider={"person": _person(**_ADA)}), at="sign-in"),
    Row("a typing error in email_domains", "expected acme.exmaple, got acme.example", "Compare the spelling",
        put(idp={"email_domains": ["acme.exmaple"]}), put(idp={"email_domains": ["acme.example"]}), at="sign-in"),
    Row("groups demanded, but not sent", "group_not_allowed: expected agents, got no groups at all",
        "have it send the claim that groups_claim names",
        put(idp={"groups_claim": "groups", "allowed_groups": ["agents"]}),
        put(provider={"person": _person(**_ADA, groups=["agents"])}), at="sign-in"),
    Row("a person in none of the groups", "group_not_allowed: expected agents, got sales",
        "Add the person to one of allowed_groups",
        put(idp={"groups_claim": "groups", "allowed_groups": ["agents"]},
            provider={"person": _person(**_ADA, groups=["sales"])}),
        put(provider={"person": _person(**_ADA, groups=["sales", "agents"])}), at="sign-in"),
    Row("a guest of the tenant", "guest_not_allowed", "Add the optional claims email and xms_edov",
        put(provider={"person": _person(**_GUEST)}),
        put(provider={"person": _person(**_GUEST, email="ada@acme.example", xms_edov=True)}), kind="entra",
        at="sign-in"),
    Row("an Entra account whose user principal name is in another domain", "email_missing", "Token configuration",
        put(provider={"person": _person(preferred_username="ada@acme.onmicrosoft.com", name="Ada Lovelace")}),
        put(provider={"person": _person(**_UPN, email="ada@acme.example", xms_edov="1")}), kind="entra", at="sign-in"),
    Row("a token of another tenant", "id_token_issuer", "Compare issuer, tenant",
        put(provider={"lies": _OF_ANOTHER_TENANT}), put(provider={"lies": Lies()}), kind="entra", at="sign-in"),
    Row("a Workspace whose primary domain is another", "expected acme.example, got acme.com",
        "Add the Workspace's primary domain",
        put(provider={"person": _person(**{**_HOSTED, "hd": "acme.com"})}),
        put(idp={"email_domains": ["acme.example", "acme.com"]}), kind="google", at="sign-in"),
    Row("a personal Google account", "hosted_domain_not_allowed: expected acme.example, got no hd",
        "is not managed by one of email_domains",
        put(provider={"person": _person(**{**_ADA, "email": "ada@gmail.com"})}),
        put(provider={"person": _person(**_HOSTED)}), kind="google", at="sign-in"),
    Row("a person who is not assigned to the application", "User is not assigned to the client application",
        "Applications > the application > Assignments",
        put(provider={"refuses": {"error": "access_denied",
                                  "error_description": "User is not assigned to the client application."}}),
        put(provider={"refuses": None}), kind="okta", at="sign-in"),
    Row("the Secret ID instead of the secret, at a provider that looks at the code first", "AADSTS7000215",
        "copy the Value, not the Secret ID",
        put(idp={"client_secret": "0f1e2d3c-4b5a-4697-8877-665544332211"}), put(idp={"client_secret": SECRET}),
        kind="entra", at="sign-in"),
    Row("a client secret that has expired, likewise", "AADSTS7000222", "The client secret expired",
        put(provider={"expired": True}), put(provider={"expired": False}), kind="entra", at="sign-in"),
    Row("tokens signed by an algorithm that is not in signing_algorithms", "id_token_algorithm",
        "signing_algorithms",
        put(idp={"signing_algorithms": ["RS256"]}), put(idp={"signing_algorithms": ["ES256"]}), at="sign-in"),
    Row("a host of Comm100's that redirect_hosts does not have", "redirect_url_refused, with dash11.comm100.example",
        "redirect_hosts",
        put(bench={"page": "https://dash11.comm100.example/agentconsole"}),
        put(site={"redirect_hosts": ["dash11.comm100.example"]}), at="sign-in"),
    Row("the endpoint of another Comm100 site, on another host", "redirect_url_refused, with acme.comm100.example",
        "Compare endpoint with the JWT SSO endpoint",
        put(site={"endpoint": ENDPOINT.replace("acme", "emea")}), put(site={"endpoint": ENDPOINT}), at="sign-in"),
]  # fmt: skip
