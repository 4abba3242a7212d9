"""Alerts fire when they should and not otherwise, and ask for nothing the service does not export."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.errors import AccessDenied, RequestError, TransactionError, every_error
from tests.chart.helm import Helm3
from tests.chart.tools import CHART, HERE, ROOT, objects_in, run, the, values_of
from tests.fakes.clock import Clock
from tests.fakes.world import World, metrics

RULES = CHART / "monitoring/alerts.yaml"
ALERTS = [rule["alert"] for rule in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]]
PANELS = json.loads((CHART / "monitoring/dashboard.json").read_text(encoding="utf-8"))["panels"]


@pytest.fixture(scope="module")
def rules(helm_3: Helm3) -> dict[str, Any]:
    """Return the rules as the operator gets them."""
    spec: dict[str, Any] = the("PrometheusRule", objects_in(helm_3.render(values_of("okta"))))["spec"]
    return spec


def each(rules: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every alert."""
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_alerts_fire_when_they_should(rules: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    shutil.copy(HERE / "alerts_test.yaml", tmp_path)
    run("promtool", "check", "rules", "rules.yaml", folder=tmp_path)
    run("promtool", "test", "rules", "alerts_test.yaml", folder=tmp_path)


def test_each_alert_has_a_test_that_sees_it_fire(rules: dict[str, Any]) -> None:
    tests = yaml.safe_load((HERE / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert {rule["alert"] for rule in each(rules)} == fired == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_section_that_says_what_to_do(rules: dict[str, Any], alert: str) -> None:
    (rule,) = (one for one in each(rules) if one["alert"] == alert)
    document, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    text = (ROOT / document).read_text(encoding="utf-8")
    assert anchor == alert.lower()
    section = re.search(rf"^### {alert}\n\n(.*?)(?=^#)", text, flags=re.MULTILINE | re.DOTALL)
    assert section
    assert len(section[1].split()) > 30


def test_the_address_of_the_runbooks_can_be_given(helm_3: Helm3) -> None:
    values = values_of("okta") | {"prometheusRule": {"enabled": True, "runbooks": "https://git.acme.example/broker/"}}
    rules = the("PrometheusRule", objects_in(helm_3.render(values)))["spec"]
    assert {rule["annotations"]["runbook_url"].partition("#")[0] for rule in each(rules)} == {
        "https://git.acme.example/broker/docs/operations.md"
    }


def test_what_an_alert_leaves_out_is_the_persons_or_a_strangers(rules: dict[str, Any]) -> None:
    (rule,) = (one for one in each(rules) if one["alert"] == "BrokerSignInsFail")
    (left_out,) = set(re.findall(r'reason!~"([^"]*)"', rule["expr"]))
    theirs = {one.code for one in every_error() if issubclass(one, (AccessDenied, RequestError, TransactionError))}
    codes = {one.code for one in every_error() if re.fullmatch(left_out, one.code)}
    assert codes < theirs
    assert theirs - codes <= {  # these a misconfiguration causes, too
        "cookie_missing", "initiation_refused", "redirect_url_refused", "setup_link_refused", "site_not_offered",
    }  # fmt: skip


async def test_every_metric_asked_for_is_exported_by_the_service(rules: dict[str, Any], tmp_path: Path) -> None:
    world = World(tmp_path, Clock())
    secret = tmp_path / "shared-secret"
    secret.write_text(world.settings["sites"]["main"].pop("shared_secret"), encoding="utf-8")
    world.settings["sites"]["main"]["shared_secret_file"] = str(secret)
    world.settings["identity_providers"]["idp"]["client_secret_expires"] = date(2099, 1, 1)
    async with world.broker(log_email="plain") as service:
        await world.browser(service).sign_in(redirect_url="https://acme.comm100.example/")
        exported = await metrics(service)

    dashboard = (CHART / "monitoring/dashboard.json").read_text(encoding="utf-8")
    asked = set(re.findall(r"\bbroker_\w+", yaml.safe_dump(rules) + dashboard))
    asked.discard("broker_test_signins_total")  # the one below: nobody has rehearsed here
    assert "# TYPE broker_test_signins_total counter" in exported
    assert len(asked) >= 6
    assert sorted(name for name in asked if f"\n{name}{{" not in exported) == []


def test_the_dashboard_is_one(helm_3: Helm3) -> None:
    found = the("ConfigMap", [
        one for one in objects_in(helm_3.render(values_of("okta"))) if one["metadata"]["name"].endswith("-dashboard")
    ])  # fmt: skip
    (text,) = found["data"].values()
    dashboard = json.loads(text)
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) >= 8
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_what_a_panel_asks_is_promql(panel: dict[str, Any], tmp_path: Path) -> None:
    expressions = [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]
    groups = {"groups": [{"name": "x", "rules": [{"record": "x", "expr": expr} for expr in expressions]}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    run("promtool", "check", "rules", "rules.yaml", folder=tmp_path)
