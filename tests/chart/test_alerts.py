"""Alerts fire when they should and not otherwise, say what to do, and ask for nothing the service does not export."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from broker.errors import every_error
from tests.chart.helm import Helm3
from tests.chart.tools import CHART, HERE, ROOT, objects_in, run, the, values_of
from tests.fakes.clock import Clock
from tests.fakes.lies import Lies, says
from tests.fakes.world import BROKER, World, error_code, metrics

RULES = yaml.safe_load((CHART / "monitoring/alerts.yaml").read_text(encoding="utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
RECORDED = {rule["record"]: rule for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
PANELS = json.loads((CHART / "monitoring/dashboard.json").read_text(encoding="utf-8"))["panels"]
UNIT_TESTS = sorted((HERE / "alerts").glob("*.yaml"))
CAUSED_BY_A_CODE = (
    "token_request_refused",
    "token_response_invalid",
    "answer_unexpected",
    "answer_unreadable",
    "answer_too_large",
)
RUNBOOK = ROOT / "docs/admin/alerts.md"
# Metrics that a service exports under conditions this world does not have, and their labels.
SEEN_LATER = {
    "comm100_sso_certificate_expires_timestamp_seconds": {"subject"},
    "comm100_sso_dawn_check_failed": {"subject", "check"},
    "comm100_sso_dawn_check_warned": {"subject", "check"},
}
OF_PROMETHEUS = {"namespace", "job", "instance", "le"}  # labels it adds, and that of a histogram's buckets


def asked_of_alerts(key: str) -> Iterator[tuple[str, Any]]:
    """Yield for each expectation in the unit tests the names of alerts it is about, and what is expected."""
    for path in UNIT_TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in test.get("promql_expr_test", []):
                asked = re.search(r'alertname=~?"([^"]*)"', case["expr"])
                yield from ((one, case[key]) for one in ALERTS if asked and re.fullmatch(asked[1], one))
                if not asked and "ALERTS" in case["expr"]:
                    yield from ((one, case[key]) for one in ALERTS)


def expressions() -> Iterator[str]:
    """Yield every expression of alerts and dashboard."""
    yield from (rule["expr"] for rule in [*ALERTS.values(), *RECORDED.values()])
    yield from (target["expr"] for panel in PANELS for target in panel["targets"])


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(path: Path) -> None:
    run("promtool", "check", "rules", CHART / "monitoring/alerts.yaml")
    run("promtool", "test", "rules", path.name, folder=path.parent)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_seen_to_fire_and_to_stay_silent(alert: str) -> None:
    fired = [labels for labels in firing() if labels["alertname"] == alert]
    assert fired
    assert [] in [samples for name, samples in asked_of_alerts("exp_samples") if name == alert]
    told = re.findall(r"\$labels\.(\w+)", " ".join(ALERTS[alert]["annotations"].values()))
    assert all(set(told) <= set(labels) | {"namespace"} for labels in fired)


def firing() -> Iterator[dict[str, str]]:
    """Yield the labels of each alert the unit tests expect to fire."""
    for _, samples in asked_of_alerts("exp_samples"):
        yield from (dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in samples)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_how_grave_it_is_and_leads_to_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/admin/alerts.md#{alert.lower()}"
    text = RUNBOOK.read_text(encoding="utf-8")
    section = re.search(rf"^## {alert}\n\n(.*?)(?=^#|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert section
    assert len(section[1].split()) > 20


FORGED = {  # what comes back to the callback, and the token endpoint's answer to it
    "an error": ({"error": "invalid_scope", "error_description": "AADSTS7000222: expired"}, None),
    "an outage": ({"error": "server_error"}, None),
    "neither": ({}, None),
    "an issuer": ({"iss": "https://evil.example", "code": "x"}, None),
    "a code": ({"code": "invented"}, None),
    "a code, answered by another error": ({"code": "invented"}, (400, b'{"error": "invalid_request"}')),
    "a code, answered by a page": ({"code": "invented"}, (404, b"<h1>")),
    "a code, answered by an error with a 200": ({"code": "invented"}, (200, b'{"error": "bad_code"}')),
    "a code, answered by a form with a 200": ({"code": "invented"}, (200, b"error=bad_code")),
    "a code, answered by a redirect": ({"code": "invented"}, (302, b"")),
}


@pytest.mark.anyio
@pytest.mark.requirement("S-62")
@pytest.mark.parametrize("forged", FORGED)
async def test_what_a_stranger_can_write_counts_towards_a_warning_and_nothing_critical(
    tmp_path: Path, forged: str
) -> None:
    """By the selectors of the rules, over what the service counts."""
    world = World(tmp_path, Clock())
    parameters, answer = FORGED[forged]
    if answer is not None:
        world.provider.lies = Lies(answers={"/token": lambda _: says(answer[1])(httpx.Response(answer[0]))})
    async with world.broker() as service:
        stranger = world.browser(service)
        redirect = await stranger.open(f"{BROKER}/login")
        state = httpx.URL(redirect.headers["location"]).params["state"]
        page = await stranger.open(f"{BROKER}/callback/idp", state=state, **parameters)
        counted = list(text_string_to_metric_families(await metrics(service)))
    assert error_code(page)
    (labels,) = [
        one.labels
        for family in counted
        for one in family.samples
        if one.name == "comm100_sso_signins_total" and one.value
    ]
    assert not is_selected(labels, RECORDED["comm100_sso:signins_at_fault:increase15m"]["expr"])
    assert is_selected(labels, RECORDED["comm100_sso:signins_unproven:increase15m"]["expr"])
    for name, rule in ALERTS.items():
        if rule["labels"]["severity"] == "critical":
            assert not is_selected(labels, rule["expr"]), name


def is_selected(labels: Mapping[str, str], expression: str) -> bool:
    """Whether a series of sign-ins is one that an expression asks for."""
    return any(
        all(
            (re.fullmatch(pattern, labels.get(name, "")) is not None) == (operator in ("=", "=~"))
            for name, operator, pattern in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector)
        )
        for selector in re.findall(r"\bcomm100_sso_signins_total\{([^}]*)\}", expression)
    )


def test_refused_people_are_counted_apart_from_the_refusals_that_a_stranger_can_cause() -> None:
    """A stranger's refusals have no verified person: tests/test_metrics.py says which refusals count."""
    assert not re.search(r'result="refused"|reason', ALERTS["BrokerPeopleRefused"]["expr"])


def test_the_rules_that_let_one_alert_through_name_alerts_and_labels_that_exist() -> None:
    found = re.search(r"```yaml\n(inhibit_rules:.*?)```", RUNBOOK.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found
    labels = {alert: {"namespace"}.union(*(one for one in firing() if one["alertname"] == alert)) for alert in ALERTS}
    for rule in yaml.safe_load(found[1])["inhibit_rules"]:
        sources, targets = (named(rule[side]) for side in ("source_matchers", "target_matchers"))
        assert not sources & targets, "an alert does not hide itself"
        assert all(set(rule["equal"]) <= labels[one] for one in sources | targets)
        assert {ALERTS[one]["labels"]["severity"] for one in sources} == {"critical"}


def named(matchers: list[str]) -> set[str]:
    """Return the alerts that a matcher of Alertmanager names; each alternative is an alert."""
    (matcher,) = matchers
    pattern = matcher.partition("=")[2].lstrip("~ ").strip('"')
    alternatives = re.sub(r"\w+\(([^)]*)\)", r"\1", pattern).split("|")
    alerts = {one for one in ALERTS if re.fullmatch(pattern, one)}
    assert len(alerts) == len(alternatives), matcher
    return alerts


def test_every_other_failure_of_the_provider_or_the_broker_is_critical_once_it_is_frequent() -> None:
    expression = RECORDED["comm100_sso:signins_at_fault:increase15m"]["expr"]
    for error in every_error():
        if error.status >= 500 and error.code not in ("settings_unusable", *CAUSED_BY_A_CODE):
            assert is_selected({"provider": "idp", "result": "failed", "reason": error.code}, expression)


@pytest.mark.anyio
async def test_every_metric_and_label_asked_for_is_exported_by_the_service(tmp_path: Path) -> None:
    world = World(tmp_path, Clock())
    secret = tmp_path / "shared-secret"
    secret.write_text(world.settings["sites"]["main"].pop("shared_secret"), encoding="utf-8")
    world.settings["sites"]["main"]["shared_secret_file"] = str(secret)
    world.settings["identity_providers"]["idp"]["client_secret_expires"] = date(2099, 1, 1)
    async with world.broker(log_email="plain") as service:
        await world.browser(service).sign_in()
        families = list(text_string_to_metric_families(await metrics(service)))
    exported: dict[str, set[str]] = {one.name: set(one.labels) for family in families for one in family.samples}
    assert any(family.name == "comm100_sso_test_signins" for family in families)
    exported["comm100_sso_test_signins_total"] = {"provider", "result", "reason"}  # nobody tried here
    assert all(exported[name] == labels for name, labels in SEEN_LATER.items() if name in exported)
    exported |= SEEN_LATER
    exported |= {name: {"provider", "subject", "check"} for name in RECORDED}

    for expression in expressions():
        for metric in re.findall(r"\b(?:comm100_sso[_:]|process_)[\w:]+", expression):
            assert metric in exported
        known = set().union(*(exported[one] for one in re.findall(r"\b(?:comm100_sso[_:]|process_)[\w:]+", expression)))
        grouped = ", ".join(re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)).split(", ")
        matched = re.findall(r'(\w+)(?:=~|!~|!=|=)"', expression)
        assert {*grouped, *matched} - {""} <= known | OF_PROMETHEUS


def test_reasons_and_results_asked_for_exist() -> None:
    codes = {one.code for one in every_error()}
    for expression in expressions():
        reasons = re.findall(r'reason[=!~]+"([^"]*)"', expression)
        assert {one for listed in reasons for one in listed.split("|")} <= codes
        assert set(re.findall(r'result[=!~]+"([^"]*)"', expression)) <= {"signed_in", "refused", "failed", "answered"}


def test_the_chart_narrows_the_rules_to_its_namespace(helm_3: Helm3) -> None:
    values = values_of("monitoring") | {
        "prometheusRule": {"enabled": True, "runbooks": "https://git.acme.example/broker"}
    }
    spec = the("PrometheusRule", objects_in(helm_3.render(values)))["spec"]
    rules = [rule for group in spec["groups"] for rule in group["rules"]]
    assert len(rules) == len(ALERTS) + len(RECORDED)
    for rule in rules:
        selectors = re.findall(r"\b(?:(?:comm100_sso[_:]|process_)[\w:]+|up)\b(?:\{([^}]*))?", rule["expr"])
        assert selectors
        assert all(one.startswith('namespace="identity"') for one in selectors)
    assert {rule["annotations"]["runbook_url"].partition("#")[0] for rule in rules if "alert" in rule} == {
        "https://git.acme.example/broker/docs/admin/alerts.md"
    }


def test_the_dashboard_is_one(helm_3: Helm3) -> None:
    rendered = objects_in(helm_3.render(values_of("monitoring")))
    found = the("ConfigMap", [one for one in rendered if one["metadata"]["name"].endswith("-dashboard")])
    (text,) = found["data"].values()
    dashboard = json.loads(text)
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["schemaVersion"] >= 36, "data sources are objects"
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [(x, y) for panel in PANELS for x, y in squares(panel["gridPos"])]
    assert len(places) == len(set(places)), "no panel lies on another"
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert {one["datasource"]["uid"] for one in [panel, *panel["targets"]]} == {"${datasource}"}


def squares(place: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """Yield every square of the grid that a panel covers."""
    for x in range(place["x"], place["x"] + place["w"]):
        assert x < 24
        yield from ((x, y) for y in range(place["y"], place["y"] + place["h"]))


def test_what_the_panels_ask_is_promql(tmp_path: Path) -> None:
    asked = [target["expr"].replace("$__rate_interval", "5m") for panel in PANELS for target in panel["targets"]]
    rules = [{"record": f"panel_{number}", "expr": expression} for number, expression in enumerate(asked)]
    text = yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    run("promtool", "check", "rules", "rules.yaml", folder=tmp_path)
