"""Makes helm/values.schema.json: `python -m tests.chart.values_schema`.

`config` has the schema of the settings file, so that Helm refuses misspelt, missing and placeholder settings before it
installs anything. Secrets are not required there: the chart adds their paths. Kubernetes' own objects, `extra*` and
`global` stay open: the cluster checks them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from broker.settings.schema import settings_schema
from broker.settings.values import ADDRESS, NO_PLACEHOLDER_SCHEMA, ORIGIN

CHART = Path(__file__).parents[2] / "helm"
FILE = CHART / "values.schema.json"

Schema = dict[str, Any]

# What draft-07 spells otherwise, and the rules about secrets, whose paths the chart adds.
_LEFT_OUT = {"$schema", "not", "default", "examples", "title", "writeOnly"}

# http is for a public_url on loopback, where no browser reaches a cluster.
_IN_A_CLUSTER = {ADDRESS: "^https://", ORIGIN: "^https://[a-z0-9.-]+(:[0-9]+)?/?$"}

TEXT: Schema = {"type": "string"}
SWITCH: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
LIST: Schema = {"type": "array"}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
NUMBER_OR_SHARE: Schema = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]{1,3}%$"}, {"type": "null"}]
}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}


def number(least: int, most: int | None = None) -> Schema:
    """Return the schema of a whole number."""
    return {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most})


def one_of(*texts: str) -> Schema:
    """Return the schema of a text out of a few."""
    return {"enum": list(texts)}


def closed(**properties: Schema) -> Schema:
    """Return the schema of an object that has these keys and no other; none of its sections may be `null`."""
    sections = [name for name, schema in properties.items() if schema.get("additionalProperties") is False]
    whole: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return whole | ({"required": sections} if sections else {})


def values_schema() -> Schema:
    """Return the whole schema (draft-07)."""
    settings = _draft_07(_without_secrets(settings_schema()))
    definitions = settings.pop("definitions")
    whole = closed(config=settings, **_broker(), **_reaching(), **_replicas(), **_pods(), **_monitoring(), **_further())
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart comm100-sso-broker",
        "definitions": definitions,
        **whole,
    }


def _without_secrets(schema: Schema) -> Schema:
    """Drop what the schema of the settings says about secrets."""
    sections = schema["$defs"]
    schema.pop("oneOf")
    sections["SiteSettings"].pop("oneOf")
    provider = sections["ProviderSettings"]
    provider["allOf"] = [rule for rule in provider["allOf"] if "client_authentication" not in json.dumps(rule["if"])]
    return schema


def _draft_07(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_draft_07(part) for part in schema]
    if isinstance(schema, str):
        return schema.replace("#/$defs/", "#/definitions/")
    if not isinstance(schema, dict):
        return schema
    changed: Schema = {}
    for key, part in schema.items():
        if key == "properties":  # names of keys, which may be words of the schema language
            changed[key] = {name: _draft_07(value) for name, value in part.items()}
        elif key not in _LEFT_OUT:
            changed["definitions" if key == "$defs" else key] = _draft_07(part)
    if changed.get("pattern") in _IN_A_CLUSTER:
        changed["pattern"] = _IN_A_CLUSTER[changed["pattern"]]
    return changed


def _broker() -> Schema:
    return {
        "existingSecret": TEXT,
        "secrets": {"type": "object", "additionalProperties": {**TEXT, **NO_PLACEHOLDER_SCHEMA}},
        "outboundProxy": TEXT,
        "listenHost": TEXT | {"pattern": r"^([0-9.]+|\[[0-9a-f:]+\])$"},
        "trustedCa": closed(
            configMap=TEXT, secret=TEXT, pem=TEXT, key=TEXT | {"pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]*$"}
        ),
        "snapshot": closed(enabled=SWITCH, volume=OBJECT),
        "federatedToken": closed(audience=TEXT | {"minLength": 1}, expirationSeconds=number(600)),
        "externalSecret": closed(
            enabled=SWITCH,
            refreshInterval=DURATION,
            secretStoreRef=OBJECT,
            remoteKey=TEXT,
            data={"type": "array", "items": OBJECT},
        ),
        "secretProviderClass": closed(enabled=SWITCH, name=TEXT, provider=TEXT, parameters=LABELS),
    }


def _reaching() -> Schema:
    return {
        "ingress": closed(
            host=TEXT | {"pattern": r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)?$"},
            className=TEXT,
            annotations=LABELS,
            pathType=one_of("Prefix", "ImplementationSpecific"),
            tls=closed(enabled=SWITCH, secretName=TEXT),
        ),
        "httpRoute": closed(parentRefs={"type": "array", "items": OBJECT}, annotations=LABELS, filters=LIST),
        "service": closed(
            type=one_of("ClusterIP", "NodePort", "LoadBalancer"),
            port=PORT,
            ipFamilyPolicy=one_of("", "SingleStack", "PreferDualStack", "RequireDualStack"),
            annotations=LABELS,
        ),
        "networkPolicy": closed(
            enabled=SWITCH,
            publicFrom=LIST,
            metricsFrom=LIST,
            dnsTo=LIST,
            egressPorts={"type": "array", "items": PORT, "minItems": 1},
            denied=closed(ipv4=LIST, ipv6=LIST),
            extraIngress=LIST,
            extraEgress=LIST,
        ),
    }


def _replicas() -> Schema:
    return {
        "replicaCount": number(1),
        "autoscaling": closed(
            enabled=SWITCH,
            minReplicas=number(1),
            maxReplicas=number(1),
            targetCPUUtilizationPercentage=number(1, 1000),
            extraMetrics=LIST,
            behavior=OBJECT,
        ),
        "podDisruptionBudget": closed(enabled=SWITCH, maxUnavailable=NUMBER_OR_SHARE, minAvailable=NUMBER_OR_SHARE),
        "updateStrategy": OBJECT,
        "revisionHistoryLimit": number(0),
        "topologySpreadConstraints": LIST,
        "affinity": OBJECT,
        "nodeSelector": LABELS,
        "tolerations": LIST,
        "priorityClassName": TEXT,
    }


def _pods() -> Schema:
    return {
        "image": closed(
            registry=TEXT,
            repository=TEXT | {"minLength": 1},
            tag=TEXT | {"pattern": "^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$"},
            digest=TEXT | {"pattern": "^(sha256:[0-9a-f]{64})?$"},
            pullPolicy=one_of("Always", "IfNotPresent", "Never"),
            pullSecrets={"type": "array", "items": {"type": ["string", "object"]}},
        ),
        "resources": OBJECT,
        "podSecurityContext": OBJECT,
        "securityContext": OBJECT,
        "startupProbe": OBJECT,
        "livenessProbe": OBJECT,
        "readinessProbe": OBJECT,
        "preStopSleepSeconds": number(0, 300),
        "terminationGracePeriodSeconds": number(1),
        "serviceAccount": closed(create=SWITCH, name=TEXT, annotations=LABELS),
        "check": closed(afterInstall=SWITCH, retries=number(0, 20), activeDeadlineSeconds=number(10), resources=OBJECT),
    }


def _monitoring() -> Schema:
    return {
        "serviceMonitor": closed(enabled=SWITCH, interval=DURATION, labels=LABELS, metricRelabelings=LIST),
        "podMonitor": closed(enabled=SWITCH, interval=DURATION, labels=LABELS),
        "prometheusRule": closed(enabled=SWITCH, labels=LABELS, runbooks=TEXT, extraGroups=LIST),
        "dashboard": closed(enabled=SWITCH, labels=LABELS, annotations=LABELS),
    }


def _further() -> Schema:
    return {
        "nameOverride": TEXT | {"pattern": "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$"},
        "fullnameOverride": TEXT,
        **dict.fromkeys(("commonLabels", "deploymentAnnotations", "podAnnotations", "podLabels"), LABELS),
        "dnsConfig": OBJECT,
        "global": OBJECT,
        **dict.fromkeys(
            ("hostAliases", "extraEnv", "extraEnvFrom", "extraVolumes", "extraVolumeMounts", "initContainers",
             "sidecars", "extraObjects"),
            LIST,
        ),
    }  # fmt: skip


def text() -> str:
    """Return the file's text."""
    return json.dumps(values_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
