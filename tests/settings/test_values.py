"""Which values are refused, setting by setting, and why."""

import base64
import ssl
import zlib
from collections.abc import Mapping
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import certifi
import jsonschema
import pytest

from broker.settings import Listen
from broker.settings.schema import settings_schema
from broker.settings.values import MAX_LOGO_BYTES, is_public_mail
from tests.settings.admin import Admin
from tests.settings.pem import certificate_of, pem_of, rsa_key

OKTA = "identity_providers__okta__"
MAIN = "sites__main__"
DISCOVERY = "/.well-known/openid-configuration"


def row(path: str, value: Any, then: object, id: str) -> Any:  # noqa: A002
    return pytest.param(path, value, then, id=f"{path.rpartition('__')[2]}: {id}")


@pytest.mark.requirement("S-20", "S-24", "S-25")
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        row("public_url", "https://sso.acme.example/broker", "scheme and host alone", "path"),
        row("public_url", "https://sso.acme.example//", "scheme and host alone", "two slashes"),
        row("public_url", "https://sso.acme.example?a=b", "scheme and host alone", "query"),
        row("public_url", "https://sso.acme.example#", "scheme and host alone", "empty fragment"),
        row("public_url", "https://admin:pw@sso.acme.example", "user name or password", "user name"),
        row("public_url", "http://sso.acme.example", "must begin with https", "http"),
        row("public_url", "sso.acme.example", "complete URL", "no scheme"),
        row("public_url", "ftp://sso.acme.example", "complete URL", "ftp"),
        row("public_url", "https://SSO.acme.example", "lower case", "upper case"),
        row("public_url", "https://sso.acme.example:443", "default port", "default port"),
        row("public_url", "https://sso.acme.example:", "default port", "empty port"),
        row("public_url", "https://sso.acme.example:99999", "complete URL", "no such port"),
        row("public_url", "https://sso_acme.example", "complete URL", "underscore"),
        row("public_url", "https://sso.acme.example\\x", "complete URL", "backslash"),
        row("public_url", "https://sso.acmé.example", "complete URL", "not ASCII"),
        row("public_url", "https://sso.acme.0x7f", "complete URL", "a number to browsers"),
        row("public_url", "https://[::1", "complete URL", "open bracket"),
        row("public_url", 5, "must be text", "number"),
        row("listen", "8000", "host:port", "port alone"),
        row("listen", 8000, "host:port", "number"),
        row("listen", ":8000", "host:port", "no host"),
        row("listen", "0.0.0.0:0", "host:port", "port 0"),
        row("listen", "0.0.0.0:65536", "host:port", "port too large"),
        row("listen", "::1:8000", "host:port", "IPv6 without brackets"),
        row("listen", "[127.0.0.1]:8000", "host:port", "IPv4 in brackets"),
        row("listen", "http://127.0.0.1:8000", "host:port", "URL"),
        row("operations_listen", "[::1]:8000", "another port than listen", "same port"),
        row("trusted_proxies", ["10.0.0.1/8"], "has no host bits set", "host bits"),
        row("trusted_proxies", "10.0.0.0/8", "must be a list", "no list"),
        row("trusted_proxies", [10], "must be text", "number"),
        row("trusted_ca_file", 1, "must be a path", "number"),
        row("outbound_proxy", "proxy.acme.example:3128", "complete URL", "no scheme"),
        row("outbound_proxy", "http://proxy.acme.example", "scheme, host and port", "no port"),
        row("outbound_proxy", "http://proxy.acme.example:1/x", "scheme, host and port", "path"),
        row("outbound_proxy", "http://proxy.acme.example:1?x", "neither query nor fragment", "query"),
        row("outbound_proxy", "socks5://proxy.acme.example:1", "complete URL", "SOCKS"),
        row("outbound_proxy", "none", "complete URL", "none, which belongs to a provider"),
        row("outbound_proxy", "http://me:p@w@proxy.acme.example:1", "percent-encoded", "a second @"),
        row("outbound_proxy", "http://me:p/w@proxy.acme.example:1", "percent-encoded", "a slash in the password"),
        row("outbound_proxy", "http://me:p%w@proxy.acme.example:1", "percent-encoded", "a percent sign"),
        row("outbound_proxy", "http://:pw@proxy.acme.example:1", "must have a user name", "no user name"),
        row("outbound_proxy", "http://@proxy.acme.example:1", "must have a user name", "nothing before the @"),
        row("outbound_proxy", "http://m%3Ae:pw@proxy.acme.example:1", "without a colon", "a colon in the user name"),
        row("outbound_proxy", "http://me:p%0Aw@proxy.acme.example:1", "percent-encoded", "a line break"),
        row("outbound_proxy", "http://me:p%FFw@proxy.acme.example:1", "percent-encoded", "no UTF-8"),
        row("outbound_proxy", 3128, "must be text", "number"),
        row(OKTA + "outbound_proxy", "proxy:3128", "complete URL", "no scheme, at a provider"),
        row(OKTA + "outbound_proxy", "None", "complete URL", "none in upper case"),
        row(OKTA + "outbound_proxy_file", "missing", "cannot be read", "missing, at a provider"),
        row("shared_email_domains", "yes", "true or false", "text"),
        row("log_email", "full", "must be one of: hashed, plain or none", "unknown"),
        row("support_email", "IT desk", "one plain e-mail address", "no address"),
        row("support_email", "a@b@acme.example", "one plain e-mail address", "two @"),
        row("site_name", "", "must be text", "empty"),
        row("site_name", "Acme\nsign-in", "without line breaks", "two lines"),
        row("site_name", "x" * 61, "60 characters or fewer", "too long"),
        row("site_name", 5, "put it in quotes", "number"),
        row("dawn_check_hours", -1, "must be 0 or more", "negative"),
        row("dawn_check_hours", 169, "must be 168 or less", "more than a week"),
        row("dawn_check_hours", "6", "whole number", "text"),
        row("dawn_check_hours", 1.5, "whole number", "fraction"),
        row("snapshot_file", ".", "names a file that is a folder", "folder"),
        row("snapshot_file", "a\0b", "cannot be read (no usable path)", "no path"),
        row("snapshot_file", "", "must be a path", "empty"),
        row("logo_file", ".", "cannot be read", "folder"),
        row("logo_file", "a\0b", "cannot be read (no usable path)", "no path"),
        row("logo_file", 1, "must be a path", "number"),
        row("sites", {}, "at least one", "none"),
        row("sites", [], "keys with values", "list"),
        row("sites__main", "x", "keys with values", "text"),
        row("identity_providers", {}, "at least one", "none"),
        row(MAIN + "endpoint", "http://acme.comm100.com/sso", "must begin with https", "http"),
        row(MAIN + "endpoint", "https://127.0.0.1/sso", "must not be on loopback", "loopback"),
        row(MAIN + "endpoint", "https://localhost/sso", "must not be on loopback", "localhost"),
        row(MAIN + "endpoint", "https://[::1]/sso", "must not be on loopback", "IPv6 loopback"),
        row(MAIN + "endpoint", "https://0.0.0.0/sso", "must not be on loopback", "unspecified address"),
        row(MAIN + "endpoint", "https://[::ffff:127.0.0.1]/sso", "must not be on loopback", "mapped loopback"),
        row(MAIN + "endpoint", "https://a.localhost/sso", "must not be on loopback", "below localhost"),
        row("public_url", "http://0.0.0.0:8000", "must begin with https", "unspecified address"),
        row(MAIN + "endpoint", "https://acme.comm100.com/sso?siteId=1", "neither query nor fragment", "query"),
        row(MAIN + "endpoint", "https://acme.comm100.com/sso#", "neither query nor fragment", "fragment"),
        row(MAIN + "endpoint", "https://a:b@acme.comm100.com/sso", "user name", "user name"),
        row(MAIN + "endpoint", "https://acme.comm100.com:443/sso", "default port", "default port"),
        row(MAIN + "endpoint", "https://acme.comm100.com/s so", "complete URL", "space"),
        row(MAIN + "delivery", "post", "must be one of: endpoint or append", "unknown"),
        row(MAIN + "redirect_hosts", ["*.comm100.io"], "wildcard would also cover", "wildcard"),
        row(MAIN + "redirect_hosts", ["https://dash11.comm100.io"], "without scheme", "scheme"),
        row(MAIN + "redirect_hosts", ["dash11.comm100.io:443"], "without scheme", "port"),
        row(MAIN + "redirect_hosts", ["dash11.comm100.io/x"], "without scheme", "path"),
        row(MAIN + "redirect_hosts", ["Dash11.comm100.io"], "lower case", "upper case"),
        row(MAIN + "redirect_hosts", ["10.0.0.1"], "host name", "address"),
        row(MAIN + "redirect_hosts", "dash11.comm100.io", "must be a list", "no list"),
        row(MAIN + "token_lifetime", 0, "must be 1 or more", "0"),
        row(MAIN + "token_lifetime", 301, "must be 300 or less", "301"),
        row(MAIN + "token_lifetime", "60", "whole number", "text"),
        row(MAIN + "token_lifetime", True, "whole number", "true"),
        row(MAIN + "token_lifetime", 60.5, "whole number", "fraction"),
        row(MAIN + "claims", {"email": "ceo@acme.example"}, "must not set email", "email"),
        row(MAIN + "claims", {"exp": 1}, "must not set exp", "exp"),
        row(MAIN + "claims", {"roles": ["admin"]}, "texts, numbers, true and false", "list"),
        row(MAIN + "claims", {"x": None}, "texts, numbers, true and false", "null"),
        row(MAIN + "claims", {"x": float("nan")}, "texts, numbers, true and false", "not a number"),
        row(MAIN + "claims", {"iss": 5}, "must give iss as text", "iss as number"),
        row(MAIN + "claims", {5: "x"}, "a claim whose name", "number as name"),
        row(MAIN + "claims", ["iss"], "keys with values", "list of names"),
        row(MAIN + "identity_providers", ["entra"], "no identity provider of these settings", "unknown"),
        row(MAIN + "identity_providers", "okta", "must be a list", "no list"),
        row(MAIN + "identity_providers", [], "an empty list", "empty"),
        row(MAIN + "identity_providers", ["okta", "okta"], "twice", "twice"),
        row(MAIN + "start_url", "http://secure.comm100.io/", "must begin with https", "http"),
        row(MAIN + "start_url", "javascript:alert(1)", "complete URL", "script"),
        row(OKTA + "preset", "saml", "must be one of: okta, entra, google, oidc", "unknown"),
        row(OKTA + "client_authentication", "tls_client_auth", "must be one of: client_secret_basic", "unknown"),
        row(OKTA + "issuer", "http://acme.okta.com", "must begin with https", "http"),
        row(OKTA + "issuer", "https://127.8.0.1/", "must not be on loopback", "loopback"),
        row(OKTA + "issuer", "https://acme.okta.com/?a=b", "neither query nor fragment", "query"),
        row(OKTA + "issuer", "https://a@acme.okta.com", "user name", "user name"),
        row(OKTA + "issuer", f"https://acme.okta.com{DISCOVERY}", "part before /.well-known", "discovery address"),
        row(OKTA + "issuer", f"https://acme.okta.com/oauth2/default{DISCOVERY}/", "before /.well-known", "and a slash"),
        row(OKTA + "issuer", "https://acme-admin.okta.com", "Admin Console", "the Admin Console"),
        row(OKTA + "issuer", "https://acme-admin.oktapreview.com/admin/app", "without -admin", "a page of it"),
        row(OKTA + "issuer", "acme.okta.com", "complete URL", "no scheme"),
        row(OKTA + "client_id", 12, "must be text", "number"),
        row(OKTA + "client_id", "", "must be text", "empty"),
        row(OKTA + "client_id", " abc", "without white space at its ends", "space"),
        row(OKTA + "email_domains", [], "name at least one domain", "none"),
        row(OKTA + "email_domains", "acme.example", "must be a list", "no list"),
        row(OKTA + "email_domains", ["Acme.example"], "lower-case ASCII", "upper case"),
        row(OKTA + "email_domains", ["@acme.example"], "without @", "at sign"),
        row(OKTA + "email_domains", ["*.acme.example"], "without @ and wildcard", "wildcard"),
        row(OKTA + "email_domains", ["acme"], "must be a mail domain", "one label"),
        row(OKTA + "email_domains", ["acmé.example"], "lower-case ASCII", "not ASCII"),
        row(OKTA + "email_domains", ["gmail.com"], "anyone can get an address there", "public"),
        row(
            OKTA + "email_domains", ["acme.example", "yahoo.co.uk"], "must not name yahoo.co.uk", "public in a country"
        ),
        row(OKTA + "label", "x" * 61, "60 characters", "long"),
        row(OKTA + "label", "Acme\u202eatkO", "must be text", "turned around"),
        row(OKTA + "enabled", "on", "true or false", "text"),
        row(OKTA + "scopes", ["email"], "must contain openid", "without openid"),
        row(OKTA + "scopes", ["openid", "e mail"], "must be a scope", "space"),
        row(OKTA + "scopes", ["openid", "openid"], "twice", "twice"),
        row(OKTA + "signing_algorithms", ["none"], "must be one of", "none"),
        row(OKTA + "signing_algorithms", ["HS256"], "must be one of", "HS256"),
        row(OKTA + "signing_algorithms", [], "an empty list", "empty"),
        row(OKTA + "userinfo", "sometimes", "must be one of", "unknown"),
        row(OKTA + "allowed_groups", ["agents"], "needs groups_claim", "without claim"),
        row(OKTA + "authorization_parameters", {"state": "x"}, "must not set state", "state"),
        row(OKTA + "authorization_parameters", {"Redirect_URI": "x"}, "must not set Redirect_URI", "other case"),
        row(OKTA + "authorization_parameters", {"max_age": "5"}, "must not set max_age", "max_age"),
        row(OKTA + "authorization_parameters", {"x": 5}, "texts only", "number"),
        row(OKTA + "authorization_parameters", {"a b": "5"}, "parameter whose name", "name with space"),
        row(OKTA + "authorization_parameters", ["prompt"], "keys with values", "list"),
        row(OKTA + "authorization_parameters", {"acr_values": "phr"}, "use require_acr", "acr_values"),
        row(OKTA + "authorization_parameters", {"Claims": "{}"}, "use require_acr or require_amr", "claims"),
        row(OKTA + "authorization_parameters", {"wauth": "x"}, "use require_acr or require_amr", "wauth"),
        row(OKTA + "authorization_parameters", {"amr_values": "x"}, "use require_amr", "amr_values"),
        row(OKTA + "authorization_parameters", {"vtr": "[]"}, "use require_acr or require_amr", "vtr"),
        row(OKTA + "authorization_parameters", {"prompt": "login"}, "use max_age", "prompt: login"),
        row(OKTA + "authorization_parameters", {"PROMPT": "consent LOGIN"}, "use max_age", "login among others"),
        row(OKTA + "client_assertion_audience", "issuer", "belongs to private_key_jwt", "audience without a key"),
        row(OKTA + "require_acr", [], "empty list", "no context"),
        row(OKTA + "require_acr", "phr", "must be a list", "context as text"),
        row(OKTA + "require_acr", ["a b"], "without spaces", "context with space"),
        row(OKTA + "require_amr", [True], "must be text", "method that is no text"),
        row(OKTA + "unchecked_acr_values", "", "must be text", "empty hint"),
        row(OKTA + "max_age", -1, "must be 0 or more", "negative"),
        row(OKTA + "metadata_url", "http://id.acme.example/x", "must begin with https", "http"),
        row(OKTA + "metadata_url", "https://127.0.0.1/x", "must not be on loopback", "loopback"),
        row(OKTA + "metadata_url", "https://a:b@id.acme.example/x", "user name", "user name"),
        row(OKTA + "metadata_url", "https://id.acme.example/x#y", "no fragment", "fragment"),
        row(OKTA + "metadata_url", "/x", "complete URL", "path alone"),
        row(OKTA + "metadata_url", 5, "put it in quotes", "number"),
        row(OKTA + "trusted_audiences", [], "empty list", "empty"),
        row(OKTA + "trusted_audiences", "project", "must be a list", "no list"),
        row(OKTA + "trusted_audiences", ["a", "a"], "names something twice", "twice"),
        row(OKTA + "trusted_audiences", [""], "must be text", "empty text"),
        row(OKTA + "trusted_audiences", ["p1", "0oa1b2c3"], "names client_id", "client_id"),
        row(OKTA + "client_secret_expires", "next year", "must be a date", "words"),
        row(OKTA + "client_secret_expires", "2026-02-31", "date that exists", "no such day"),
        row(OKTA + "client_secret_expires", 20270101, "must be a date", "number"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(admin: Admin, path: str, value: Any, words: str) -> None:
    (mistake,) = admin.refused(admin.settings(**{path: value}))

    assert mistake.path.partition("[")[0] == path.replace("__", ".")
    assert words in mistake.problem
    assert mistake.example


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("public_url", "https://sso.example.com", id="public_url"),
        pytest.param("public_url", "https://your-host.acme.org", id="public_url: your host"),
        pytest.param(MAIN + "endpoint", "https://your_company.comm100.com/x", id="endpoint"),
        pytest.param(OKTA + "issuer", "https://your-tenant.okta.com", id="issuer"),
        pytest.param(OKTA + "issuer", "https://<tenant>.okta.com", id="issuer: in brackets"),
        pytest.param(OKTA + "client_id", "<client id>", id="client_id: in brackets"),
        pytest.param(OKTA + "client_id", "YOUR_CLIENT_ID", id="client_id: in capitals"),
        pytest.param(OKTA + "client_id", "changeme", id="client_id: changeme"),
        pytest.param(OKTA + "client_id", "xxxx", id="client_id: xxxx"),
        pytest.param(OKTA + "email_domains", ["acme.example", "example.com"], id="email_domains"),
    ],
)
def test_a_placeholder_is_refused_by_the_broker_and_by_the_schema(admin: Admin, path: str, value: Any) -> None:
    tree = admin.settings(**{path: value})

    (mistake,) = admin.refused(tree)

    assert mistake.path.partition("[")[0] == path.replace("__", ".")
    assert mistake.problem == "is a placeholder: replace it with your own value"
    (finding,) = jsonschema.Draft202012Validator(settings_schema()).iter_errors(tree)
    assert finding.json_path.partition("[")[0] == "$." + path.replace("__", ".")
    assert "your own value, not a placeholder" in finding.message


@pytest.mark.parametrize("domain", ["at-your-service.de", "your-it.de", "my-example.com", "exchange-media.de"])
def test_a_real_domain_that_sounds_like_a_placeholder_is_taken(admin: Admin, domain: str) -> None:
    settings = admin.load(admin.settings(identity_providers__okta__email_domains=[domain]))

    assert settings.identity_providers["okta"].email_domains == (domain,)


@pytest.mark.parametrize(
    ("written", "right"),
    [
        pytest.param(f"https://acme.okta.com{DISCOVERY}", "https://acme.okta.com", id="at the root"),
        pytest.param(
            f"https://acme.okta.com/oauth2/default{DISCOVERY}", "https://acme.okta.com/oauth2/default", id="below it"
        ),
        pytest.param(
            "https://acme.okta.com/oauth2/default/.well-known/oauth-authorization-server",
            "https://acme.okta.com/oauth2/default",
            id="metadata of OAuth",
        ),
    ],
)
def test_an_issuer_that_is_the_discovery_address_is_answered_with_the_issuer(
    admin: Admin, written: str, right: str
) -> None:
    (mistake,) = admin.refused(admin.settings(identity_providers__okta__issuer=written))

    assert mistake.example == f"issuer: {right}"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        row("public_url", "http://SSO.acme.example/x", ["lower case", "without path", "begin with https"], "three"),
        row(MAIN + "endpoint", "http://acme.comm100.com/sso?a=b", ["neither query", "begin with https"], "two"),
        row(OKTA + "issuer", "http://me@127.0.0.1/", ["user name", "begin with https", "on loopback"], "three"),
    ],
)
def test_all_that_is_wrong_with_an_address_is_said_at_once(
    admin: Admin, path: str, value: str, words: list[str]
) -> None:
    (mistake,) = admin.refused(admin.settings(**{path: value}))

    assert len(mistake.problem.split("; ")) == len(words)
    assert all(word in mistake.problem for word in words)


@pytest.mark.parametrize(
    ("path", "value", "read"),
    [
        row("public_url", "https://sso.acme.example/", "https://sso.acme.example", "one slash"),
        row("public_url", "https://sso.acme.example:8443", "https://sso.acme.example:8443", "port"),
        row("public_url", "http://127.0.0.1:8000", "http://127.0.0.1:8000", "loopback"),
        row("public_url", "http://[::1]:8000", "http://[::1]:8000", "IPv6 loopback"),
        row(OKTA + "issuer", "https://acme.okta.com/oauth2/default/", "https://acme.okta.com/oauth2/default/", "slash"),
        row(OKTA + "authorization_parameters", {"prompt": "consent"}, {"prompt": "consent"}, "prompt"),
        row(OKTA + "require_acr", ["urn:okta:loa:2fa:any", "phr"], ("urn:okta:loa:2fa:any", "phr"), "contexts"),
        row(OKTA + "require_amr", ["mfa"], ("mfa",), "methods"),
        row(OKTA + "unchecked_acr_values", "idp:acme", "idp:acme", "routing"),
        row(OKTA + "signing_algorithms", ["EdDSA", "ES512"], ("EdDSA", "ES512"), "two"),
        row(OKTA + "max_age", 0, 0, "at once"),
        row(OKTA + "metadata_url", "https://b2c.example/t/x?p=B2C_1", "https://b2c.example/t/x?p=B2C_1", "query"),
        row(OKTA + "metadata_url", None, None, "null"),
        row(OKTA + "trusted_audiences", ["p1", "https://x/"], ("p1", "https://x/"), "two audiences"),
        row(
            MAIN + "start_url",
            "https://secure.comm100.io/a?siteId=1#/b",
            "https://secure.comm100.io/a?siteId=1#/b",
            "query and fragment",
        ),
        row(
            MAIN + "claims",
            {"x": 1.5, "y": True, "aud": "A"},
            {"iss": "jwt server", "aud": "A", "sub": "comm100", "x": 1.5, "y": True},
            "kinds",
        ),
        row("listen", "localhost:80", Listen("localhost", 80), "name"),
        row("listen", "[::]:8000", Listen("::", 8000), "IPv6"),
        row("trusted_proxies", ["10.0.0.0/8", "fd00::/8"], (ip_network("10.0.0.0/8"), ip_network("fd00::/8")), "two"),
        row("trusted_ca_file", certifi.where(), Path(certifi.where()), "bundle"),
        row("support_email", "it-desk@acme.example", "it-desk@acme.example", "address"),
        row("site_name", "Acme & Söhne: Anmeldung", "Acme & Söhne: Anmeldung", "any signs"),
        row(OKTA + "client_secret_expires", "2027-03-31", date(2027, 3, 31), "text"),
        row(OKTA + "client_secret_expires", date(2027, 3, 31), date(2027, 3, 31), "date"),
        row(OKTA + "enabled", False, False, "off"),
    ],
)
def test_a_value_that_can_be_meant_is_taken(admin: Admin, path: str, value: Any, read: Any) -> None:
    found: Any = admin.load(admin.settings(**{path: value}))
    for step in path.split("__"):
        found = found[step] if isinstance(found, Mapping) else getattr(found, step)

    assert found == read


@pytest.mark.requirement("S-20")
@pytest.mark.parametrize(
    ("tree_path", "words"),
    [
        pytest.param("public_url", "is required", id="public_url"),
        pytest.param("sites__main__endpoint", "is required", id="endpoint"),
        pytest.param("identity_providers__okta__issuer", "is required", id="issuer"),
        pytest.param("identity_providers__okta__email_domains", "is required", id="email_domains"),
        pytest.param("identity_providers__okta__client_id", "is required", id="client_id"),
        pytest.param("identity_providers__okta__client_secret_file", "is required, as", id="client_secret"),
        pytest.param("sites__main__shared_secret_file", "is required, as", id="shared_secret"),
        pytest.param("secret_keys_file", "is required, as", id="secret_keys"),
    ],
)
def test_a_required_setting_is_missed_by_name(admin: Admin, tree_path: str, words: str) -> None:
    (mistake,) = admin.refused(admin.settings(without=tree_path))

    assert mistake.path == tree_path.replace("__", ".")
    assert words in mistake.problem


@pytest.mark.requirement("S-20")
def test_a_domain_belongs_to_one_provider(admin: Admin) -> None:
    okta = admin.settings()["identity_providers"]["okta"]
    tree = admin.settings(identity_providers={"okta": okta, "entra": okta | {"enabled": False}})

    (mistake,) = admin.refused(tree)

    assert mistake.path == "identity_providers.entra.email_domains"
    assert "acme.example, which belongs to okta" in mistake.problem
    assert admin.load(tree | {"shared_email_domains": True}).shared_email_domains


def test_groups_are_allowed_by_the_claim_that_lists_them(admin: Admin) -> None:
    tree = admin.settings(
        identity_providers__okta__allowed_groups=["a"], identity_providers__okta__groups_claim="groups"
    )

    assert admin.load(tree).identity_providers["okta"].allowed_groups == ("a",)


@pytest.mark.parametrize("identifier", ["Okta", "okta-eu", "_okta", "okta__eu", "okta eu", "", 5])
def test_an_id_is_lower_case_letters_and_digits(admin: Admin, identifier: Any) -> None:
    tree = admin.settings(identity_providers={identifier: admin.settings()["identity_providers"]["okta"]})

    (mistake,) = admin.refused(tree)

    assert mistake.path.startswith("identity_providers")
    assert "must consist of lower-case" in mistake.problem or "must be text" in mistake.problem


def test_on_loopback_everything_may_be_on_loopback(admin: Admin) -> None:
    settings = admin.load(
        admin.settings(
            public_url="http://127.0.0.1:8000",
            sites__main__endpoint="http://127.0.0.1:8001/sso",
            sites__main__start_url="http://127.0.0.1:8001/",
            identity_providers__okta__issuer="http://127.0.0.1:8002",
        )
    )

    assert settings.on_loopback
    assert not admin.load(admin.settings()).on_loopback


@pytest.mark.requirement("S-20")
@pytest.mark.parametrize(
    "domain",
    [
        "gmail.com",
        "googlemail.com",
        "hotmail.fr",
        "live.com",
        "yahoo.de",
        "yahoo.com.br",
        "gmx.net",
        "hanmail.net",
        "co.uk",
    ],
)
def test_public_mail_is_known(domain: str) -> None:
    assert is_public_mail(domain)


@pytest.mark.parametrize("domain", ["acme.example", "acme.co.uk", "yahoo.acme.com", "gmx.acme.example", "mygmail.com"])
def test_an_organisations_own_mail_is_not_public(domain: str) -> None:
    assert not is_public_mail(domain)


ONE, ANOTHER = (certificate_of(rsa_key()) for _ in range(2))
AUTHORITIES = {
    "one broken among good ones": (ONE + ANOTHER.replace("MII", "!!!", 1), "certificate number 2 of 2 cannot be read"),
    "one cut short": (ONE + ANOTHER[:300], "certificate number 2 of 2 cannot be read"),
    "one cut short before a good one": (ONE[:300] + "\n" + ANOTHER, "certificate number 1 of 2 cannot be read"),
    "no certificate within the armour": (ONE.splitlines()[0] + "\nAAAA\n", "certificate number 1 of 1 cannot be read"),
    "a private key beside it": (pem_of(rsa_key()), "holds a private key"),
    "binary": (ssl.PEM_cert_to_DER_cert(ONE), "it is binary (DER)"),
    "text": ("hello", "holds no certificates in PEM form"),
    "nothing": ("", "holds no certificates in PEM form"),
}


@pytest.mark.parametrize(("content", "words"), AUTHORITIES.values(), ids=AUTHORITIES)
def test_a_file_of_authorities_that_cannot_be_used_is_told_by_its_fault(
    admin: Admin, content: str | bytes, words: str
) -> None:
    (admin.folder / "ca.pem").write_bytes(content if isinstance(content, bytes) else content.encode())

    (mistake,) = admin.refused(admin.settings(trusted_ca_file="ca.pem"))

    assert mistake.path == "trusted_ca_file"
    assert words in mistake.problem


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(ONE + ANOTHER, id="two"),
        pytest.param(ONE.replace("\n", "\r\n"), id="of Windows"),
        pytest.param("\ufeff" + ONE, id="a byte order mark"),
        pytest.param("# Acme\n" + ONE + "Bag Attributes\n" + ANOTHER, id="words in between"),
    ],
)
def test_a_file_of_authorities_may_hold_words_besides(admin: Admin, content: str) -> None:
    (admin.folder / "ca.pem").write_text(content, encoding="utf-8", newline="")
    assert admin.load(admin.settings(trusted_ca_file="ca.pem")).trusted_ca_file == admin.folder / "ca.pem"


# Small images of each kind, made byte by byte.


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def webp_of(content: bytes) -> bytes:
    return b"RIFF" + (len(content) + 4).to_bytes(4, "little") + b"WEBP" + content


ONE_PIXEL = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
PNG = b"\x89PNG\r\n\x1a\n" + ONE_PIXEL + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
JPEG = b"\xff\xd8\xff\xe0" + bytes(20) + b"\xff\xd9"
WEBP = webp_of(b"VP8L" + bytes(12))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 1"><rect width="4" height="1"/></svg>'
PREFIXED = b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>'
DRAWN = b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE svg PUBLIC "x" "http://acme.example/svg.dtd">\n' + SVG
GROWING = b'<!DOCTYPE svg [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>' + SVG


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        pytest.param(PNG, "image/png", id="PNG"),
        pytest.param(JPEG, "image/jpeg", id="JPEG"),
        pytest.param(WEBP, "image/webp", id="WebP"),
        pytest.param(SVG, "image/svg+xml", id="SVG"),
        pytest.param(PREFIXED, "image/svg+xml", id="SVG with a prefix"),
        pytest.param(DRAWN, "image/svg+xml", id="SVG of a drawing program"),
        pytest.param(
            SVG.replace(b"<rect", b" " * (MAX_LOGO_BYTES - len(SVG)) + b"<rect"), "image/svg+xml", id="the largest"
        ),
    ],
)
def test_a_picture_is_known_by_its_content(admin: Admin, content: bytes, media_type: str) -> None:
    (admin.folder / "logo").write_bytes(content)
    logo = admin.load(admin.settings(logo_file="logo")).logo_file
    assert logo is not None
    assert logo.data_uri == f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    assert repr(content)[2:20] not in repr(logo)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is truncated or is not", id="nothing"),
        pytest.param(PNG[:-1], "is truncated or is not", id="a PNG cut off"),
        pytest.param(JPEG[:-2], "is truncated or is not", id="a JPEG cut off"),
        pytest.param(WEBP[:-1], "is truncated or is not", id="a WebP cut off"),
        pytest.param(SVG[:-1], "is truncated or is not", id="an SVG cut off"),
        pytest.param(SVG.replace(b"2000/svg", b"1999/xhtml"), "is truncated or is not", id="other XML"),
        pytest.param(b"<svg/>", "is truncated or is not", id="an SVG for inside of HTML"),
        pytest.param(GROWING, "is truncated or is not", id="an SVG that grows"),
        pytest.param(
            b'<?xml version="1.0" encoding="none"?>' + SVG, "is truncated or is not", id="an SVG in no encoding"
        ),
        pytest.param(b"<html><body>404</body></html>", "is truncated or is not", id="a page"),
        pytest.param(b"GIF89a" + bytes(20), "is truncated or is not", id="a GIF"),
        pytest.param(PNG + bytes(MAX_LOGO_BYTES), "larger than 6000 bytes", id="too large"),
    ],
)
def test_what_browsers_would_not_show_is_a_mistake(admin: Admin, content: bytes, problem: str) -> None:
    (admin.folder / "logo.png").write_bytes(content)
    [mistake] = admin.refused(admin.settings(logo_file="logo.png"))
    assert mistake.path == "logo_file"
    assert problem in mistake.problem
    assert mistake.example == "logo_file: logo.svg"


def test_the_logo_is_looked_for_beside_the_settings_file_or_where_it_is(admin: Admin, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "logo").write_bytes(PNG)
    logo = admin.load(admin.settings(logo_file=str(elsewhere / "logo"))).logo_file
    assert logo is not None
    assert logo.content == PNG
