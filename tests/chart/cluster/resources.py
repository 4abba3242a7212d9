"""The kinds of objects the cluster in memory has, how they are addressed, and which of their fields never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind.

    Args:
        api: group and version, as `apiVersion` has them.
        kind: as `kind` has it.
        plural: as addresses have it.
        immutable: paths of fields that cannot change once an object is there.
        namespaced: it lives in a namespace.
    """

    api: str
    kind: str
    plural: str
    immutable: tuple[str, ...] = ()
    namespaced: bool = True


RESOURCES = (
    Resource("v1", "Namespace", "namespaces", namespaced=False),
    Resource("v1", "ConfigMap", "configmaps"),
    Resource("v1", "Secret", "secrets", ("type",)),
    Resource("v1", "Service", "services", ("spec.clusterIP",)),
    Resource("v1", "ServiceAccount", "serviceaccounts"),
    Resource("v1", "Pod", "pods", ("spec",)),
    Resource("apps/v1", "Deployment", "deployments", ("spec.selector",)),
    Resource("apps/v1", "ReplicaSet", "replicasets", ("spec.selector",)),
    Resource("batch/v1", "Job", "jobs", ("spec.selector", "spec.template", "spec.completions")),
    Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Resource("networking.k8s.io/v1", "Ingress", "ingresses"),
    Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
    Resource("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
    Resource("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    Resource("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    Resource("external-secrets.io/v1", "ExternalSecret", "externalsecrets"),
    Resource("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass", "secretproviderclasses"),
)
BY_ADDRESS: Mapping[tuple[str, str], Resource] = {(one.api, one.plural): one for one in RESOURCES}
BY_KIND: Mapping[str, Resource] = {one.kind: one for one in RESOURCES}
GROUPS = sorted({one.api for one in RESOURCES if "/" in one.api})
