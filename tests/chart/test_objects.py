"""What each object of the chart says: who reaches whom, what stays up, where secrets and images come from."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart.helm import Helm3
from tests.chart.tools import EXAMPLES, Object, objects_in, pod_specs, the, values_of


def rendered(helm_3: Helm3, example: str = "minimal", **changes: Any) -> list[Object]:
    """Return the objects of an example with some values changed."""
    return objects_in(helm_3.render({**values_of(example), **changes}))


def pod_of(objects: list[Object]) -> Object:
    """Return the pods that serve."""
    spec: Object = the("Deployment", objects)["spec"]["template"]["spec"]
    return spec


def test_a_service_leads_to_the_pods_that_serve_and_to_no_others(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "monitoring")
    labels = the("Deployment", objects)["spec"]["template"]["metadata"]["labels"]
    checking = [
        the("Pod", objects)["metadata"]["labels"],
        the("Job", objects)["spec"]["template"]["metadata"]["labels"],
    ]
    for service in (one for one in objects if one["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        assert selector <= labels.items()
        assert not any(selector <= others.items() for others in checking)


def test_health_and_metrics_are_never_where_browsers_are(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "monitoring")
    services = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Service"}
    public, operations = (services[name] for name in sorted(services))
    assert [port["targetPort"] for port in public["spec"]["ports"]] == ["http"]
    assert [port["targetPort"] for port in operations["spec"]["ports"]] == ["operations"]
    assert (operations["spec"]["type"], operations["spec"]["clusterIP"]) == ("ClusterIP", "None")
    monitor = the("ServiceMonitor", objects)["spec"]
    assert monitor["selector"]["matchLabels"].items() <= operations["metadata"]["labels"].items()
    assert not monitor["selector"]["matchLabels"].items() <= public["metadata"]["labels"].items()
    assert the("Ingress", objects)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] == {
        "name": "http"
    }


def test_probes_ask_the_operations_port_for_what_depends_on_no_provider(helm_3: Helm3) -> None:
    (container,) = pod_of(rendered(helm_3))["containers"]
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/healthz", "port": "operations"},
        "liveness": {"path": "/healthz", "port": "operations"},
        "readiness": {"path": "/readyz", "port": "operations"},
    }
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": 8000, "operations": 9000}


def test_a_pod_that_goes_is_out_of_the_balancer_before_it_stops(helm_3: Helm3) -> None:
    pod = pod_of(rendered(helm_3, preStopSleepSeconds=7))
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["python3", "-c", "import time; time.sleep(7)"]  # the image has no shell
    assert pod["terminationGracePeriodSeconds"] >= 7 + 25
    strategy = the("Deployment", rendered(helm_3))["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize(
    ("volume", "mounted"),
    [
        pytest.param({}, {"emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}, id="by default in memory"),
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "kept"}},
            {"persistentVolumeClaim": {"claimName": "kept"}},
            id="kept",
        ),
    ],
)
def test_the_snapshot_is_in_a_volume_of_the_pods_that_serve_alone(
    helm_3: Helm3, volume: dict[str, Any], mounted: dict[str, Any]
) -> None:
    objects = rendered(helm_3, snapshot={"volume": volume}, check={"afterInstall": True})
    pod = pod_of(objects)
    assert [one for one in pod["volumes"] if one["name"] == "snapshot"] == [{"name": "snapshot", **mounted}]
    (container,) = pod["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "snapshot"]
    assert mount == {"name": "snapshot", "mountPath": "/var/lib/broker"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    (settings,) = [one for one in objects if one["kind"] == "ConfigMap" and "broker.yaml" in one["data"]]
    assert yaml.safe_load(settings["data"]["broker.yaml"])["snapshot_file"] == "/var/lib/broker/snapshot.json"
    checking = the("Job", objects)["spec"]["template"]["spec"]
    assert "snapshot" not in [one["name"] for one in checking["volumes"]]


def test_without_a_snapshot_no_volume_can_be_written(helm_3: Helm3) -> None:
    objects = rendered(helm_3, snapshot={"enabled": False})
    pod = pod_of(objects)
    assert "snapshot" not in [one["name"] for one in pod["volumes"]]
    assert all(mount["readOnly"] for mount in pod["containers"][0]["volumeMounts"])
    assert "snapshot_file" not in str(objects)


def test_replicas_are_spread_over_nodes_and_zones(helm_3: Helm3) -> None:
    objects = rendered(helm_3)
    constraints = pod_of(objects)["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in constraints] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for one in constraints:
        assert one["labelSelector"] == the("Deployment", objects)["spec"]["selector"]
        assert one["matchLabelKeys"] == ["pod-template-hash"]  # else old pods would push new ones off the free node
        assert one["whenUnsatisfiable"] == "ScheduleAnyway"  # a small cluster gets two replicas, too


@pytest.mark.parametrize(
    ("changes", "budget"),
    [
        pytest.param({}, {"maxUnavailable": 1}, id="two replicas"),
        pytest.param({"replicaCount": 1}, None, id="one replica: it would block every drain, or say nothing"),
        pytest.param({"autoscaling": {"enabled": True}}, {"maxUnavailable": 1}, id="an autoscaler"),
        pytest.param({"autoscaling": {"enabled": True, "minReplicas": 1}}, None, id="an autoscaler down to one"),
        pytest.param({"podDisruptionBudget": {"maxUnavailable": "50%"}}, {"maxUnavailable": "50%"}, id="a share"),
        pytest.param({"podDisruptionBudget": {"minAvailable": 1}}, {"minAvailable": 1}, id="so many must stay"),
        pytest.param({"podDisruptionBudget": {"enabled": False}}, None, id="switched off"),
    ],
)
def test_draining_a_node_is_neither_blocked_nor_unbounded(
    helm_3: Helm3, changes: dict[str, Any], budget: dict[str, Any] | None
) -> None:
    found = [one["spec"] for one in rendered(helm_3, **changes) if one["kind"] == "PodDisruptionBudget"]
    if budget is None:
        assert found == []
    else:
        assert budget.items() <= found[0].items()
        assert found[0]["selector"]["matchLabels"]["app.kubernetes.io/component"] == "server", (
            "no pod of a check counts"
        )
        assert found[0]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert not {"minAvailable", "maxUnavailable"} <= found[0].keys()


def test_the_autoscaler_has_the_replicas_for_itself(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "entra")
    assert "replicas" not in the("Deployment", objects)["spec"]
    scaler = the("HorizontalPodAutoscaler", objects)["spec"]
    assert scaler["scaleTargetRef"]["name"] == the("Deployment", objects)["metadata"]["name"]
    assert (scaler["minReplicas"], scaler["behavior"].keys()) == (2, {"scaleUp", "scaleDown"})


def test_the_ingress_ends_tls_for_the_host_of_the_settings(helm_3: Helm3) -> None:
    spec = the("Ingress", rendered(helm_3))["spec"]
    assert spec["tls"] == [{"hosts": ["sso.acme.example"], "secretName": "sso-comm100-sso-broker-tls"}]
    assert [rule["host"] for rule in spec["rules"]] == ["sso.acme.example"]
    assert [path["path"] for rule in spec["rules"] for path in rule["http"]["paths"]] == ["/"]


def test_a_pod_monitor_finds_the_pods_that_serve(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "entra")
    monitor = the("PodMonitor", objects)["spec"]
    assert monitor["selector"] == the("Deployment", objects)["spec"]["selector"]
    assert {one["port"] for one in monitor["podMetricsEndpoints"]} <= {
        port["name"] for port in pod_of(objects)["containers"][0]["ports"]
    }


def test_nginx_does_not_write_codes_and_setup_links_to_its_log(helm_3: Helm3) -> None:
    annotations = the("Ingress", rendered(helm_3, "okta"))["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/enable-access-log"] == "false"


def test_nginx_passes_on_no_upgrade_and_limits_one_address_generously(helm_3: Helm3) -> None:
    annotations = the("Ingress", rendered(helm_3, "okta"))["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/connection-proxy-header"] == "keep-alive"
    rate = int(annotations["nginx.ingress.kubernetes.io/limit-rps"])
    burst = rate * int(annotations["nginx.ingress.kubernetes.io/limit-burst-multiplier"])
    assert rate * 60 >= 2 * 2000, "2,000 people of one office within a minute"
    assert burst >= 2 * 1000, "1,000 of them at once"


def test_an_annotation_of_the_ingress_can_be_left_out(helm_3: Helm3) -> None:
    limit = "nginx.ingress.kubernetes.io/limit-rps"
    annotations = the(
        "Ingress", rendered(helm_3, "okta", ingress={"host": "sso.acme.example", "annotations": {limit: None}})
    )
    assert limit not in annotations["metadata"]["annotations"]


def test_labels_of_every_object_are_on_every_object(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "monitoring", commonLabels={"team": "identity"})
    assert [one["kind"] for one in objects if one["metadata"]["labels"].get("team") != "identity"] == []


def test_a_route_leads_from_the_gateway_to_the_service(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "gateway-api")
    route = the("HTTPRoute", objects)["spec"]
    assert route["hostnames"] == ["sso.acme.example"]
    (backend,) = route["rules"][0]["backendRefs"]
    assert backend == {"name": the("Service", objects)["metadata"]["name"], "port": 80}
    assert route["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert not [one for one in objects if one["kind"] == "Ingress"]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        pytest.param({}, "comm100-sso-broker:0.1.0", id="as it comes"),
        pytest.param({"tag": "0.1.7"}, "comm100-sso-broker:0.1.7", id="a tag"),
        pytest.param(
            {"tag": "x", "digest": f"sha256:{64 * 'a'}"}, f"comm100-sso-broker@sha256:{64 * 'a'}", id="a digest"
        ),
        pytest.param(
            {"registry": "r.acme.example:5000"}, "r.acme.example:5000/comm100-sso-broker:0.1.0", id="a registry"
        ),
    ],
)
def test_every_pod_runs_the_image_asked_for(helm_3: Helm3, image: dict[str, str], name: str) -> None:
    for _, pod in pod_specs(rendered(helm_3, "monitoring", image=image)):
        assert [container["image"] for container in pod["containers"]] == [name]


def test_a_chart_above_may_give_registry_and_pull_secrets(helm_3: Helm3) -> None:
    above = {"imageRegistry": "mirror.acme.example", "imagePullSecrets": ["mirror", {"name": "other"}]}
    for _, pod in pod_specs(objects_in(helm_3.render({**values_of("minimal"), "global": above}))):
        assert pod["containers"][0]["image"].startswith("mirror.acme.example/")
        assert pod["imagePullSecrets"] == [{"name": "mirror"}, {"name": "other"}]


@pytest.mark.parametrize(
    ("authority", "source"),
    [
        pytest.param({"configMap": "acme-ca"}, {"configMap": {"name": "acme-ca"}}, id="a ConfigMap"),
        pytest.param({"secret": "acme-ca"}, {"secret": {"secretName": "acme-ca"}}, id="a Secret"),
        pytest.param(
            {"pem": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
            {"configMap": {"name": "sso-comm100-sso-broker-ca"}},
            id="in the values",
        ),
    ],
)
def test_an_own_authority_reaches_every_pod_and_the_settings(
    helm_3: Helm3, authority: dict[str, str], source: dict[str, dict[str, str]]
) -> None:
    objects = rendered(helm_3, trustedCa=authority)
    for _, pod in pod_specs(objects):
        (volume,) = (one for one in pod["volumes"] if one["name"] == "trusted-ca")
        ((kind, where),) = source.items()
        assert where.items() <= volume[kind].items()
        assert "/etc/broker-ca" in [one["mountPath"] for one in pod["containers"][0]["volumeMounts"]]
    assert "trusted_ca_file: /etc/broker-ca/ca.crt" in yaml.safe_dump_all(objects)


def test_every_mount_is_a_whole_volume_for_a_part_of_one_is_never_renewed(helm_3: Helm3) -> None:
    for _, pod in pod_specs(rendered(helm_3, "entra-workload-identity", trustedCa={"configMap": "acme-ca"})):
        assert [mount for mount in pod["containers"][0]["volumeMounts"] if "subPath" in mount] == []


def test_files_of_the_csi_driver_stand_in_for_a_secret(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "csi")
    (volume,) = (one for one in pod_of(objects)["volumes"] if one["name"] == "secrets")
    made = the("SecretProviderClass", objects)
    assert volume["csi"]["volumeAttributes"]["secretProviderClass"] == made["metadata"]["name"]
    assert (made["spec"]["provider"], "objects" in made["spec"]["parameters"]) == ("azure", True)
    assert volume["csi"]["readOnly"] is True
    own = rendered(helm_3, "csi", secretProviderClass={"enabled": True, "name": "ours"})
    assert not [one for one in own if one["kind"] == "SecretProviderClass"]


def test_an_external_secret_has_every_key_the_pods_mount(helm_3: Helm3) -> None:
    objects = rendered(helm_3, "external-secrets")
    external = the("ExternalSecret", objects)["spec"]
    secret = pod_of(objects)["volumes"][1]["secret"]
    assert external["target"] == {"name": secret["secretName"], "creationPolicy": "Owner"}
    assert [one["secretKey"] for one in external["data"]] == [one["key"] for one in secret["items"]]
    assert [one["remoteRef"]["property"] for one in external["data"]] == [one["key"] for one in secret["items"]]


def test_containers_and_objects_of_ones_own_are_added(helm_3: Helm3) -> None:
    objects = rendered(
        helm_3,
        initContainers=[{"name": "first", "image": "x"}],
        sidecars=[{"name": "beside", "image": "x"}],
        extraObjects=["{apiVersion: v1, kind: Secret, metadata: {name: '{{ .Release.Name }}-own'}}"],
    )
    pod = pod_of(objects)
    assert [one["name"] for one in pod["initContainers"]] == ["first"]
    assert [one["name"] for one in pod["containers"]] == ["broker", "beside"]
    assert the("Secret", objects)["metadata"]["name"] == "sso-own"


def test_no_example_holds_a_secret() -> None:
    assert [one.name for one in EXAMPLES if values_of(one.stem).get("secrets")] == []
