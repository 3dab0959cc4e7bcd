"""The Kubernetes manifests: that they are valid, agree with the compose files, and fit the code."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.queues import QUEUES, Lane, lane_queue
from pipeline.settings import Settings
from tests.manifests import KUBERNETES, OVERLAYS, Manifest, build, read, trouble

DOCKER = KUBERNETES.parent
# Services of the compose files by the deployment that does their work.
SAME = {
    "page": "page",
    "ingest-api": "ingest_api",
    "relevancy-api": "relevancy_api",
    "catalogue-api": "catalogue_api",
    "worker-enhance": "worker-enhance",
    "worker-clip": "worker-clip",
    "worker-io": "worker-io",
    "worker-cpu": "worker-cpu",
    "worker-retrain": "worker-retrain",
    "beat": "beat",
    "flower": "flower",
    "setup": "setup",
}
ON_GPU = {"worker-enhance": "gpu-enhance", "worker-io": "describe"}

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def _built(overlay: str) -> list[Manifest]:
    return build(KUBERNETES / "overlays" / overlay)


def manifests(overlay: str, *kinds: str) -> dict[str, Manifest]:
    """Those of some kinds by their names."""
    found = [one for one in _built(overlay) if one["kind"] in kinds]
    return {one["metadata"]["name"]: one for one in found}


def pods(overlay: str) -> dict[str, dict[str, Any]]:
    """What each deployment and job says of its pods."""
    found = manifests(overlay, "Deployment", "Job")
    return {name: one["spec"]["template"]["spec"] for name, one in found.items()}


def workers(overlay: str) -> dict[str, Manifest]:
    return {
        name: one
        for name, one in manifests(overlay, "Deployment").items()
        if one["metadata"]["labels"].get("justlens/role") == "worker"
    }


def consumed(pod: dict[str, Any]) -> set[str]:
    command = pod["containers"][0]["command"]
    return set(command[command.index("-Q") + 1].split(","))


def environment(overlay: str, pod: dict[str, Any]) -> dict[str, Any]:
    """The variables of a pod, with what is known of their values."""
    (container,) = pod["containers"]
    secrets = {
        one["metadata"]["name"]: one for one in read(KUBERNETES / "base/secret.example.yaml")
    }
    known: dict[str, Any] = {}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            name = source["configMapRef"]["name"]
            known |= manifests(overlay, "ConfigMap")[name]["data"]
        else:
            known |= secrets[source["secretRef"]["name"]]["stringData"]
    return known | {one["name"]: one["value"] for one in container.get("env", [])}


def compose(overlay: str) -> dict[str, dict[str, Any]]:
    """The services of the compose files that do the work of the deployments, by their names."""
    cpu = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    found = {name: cpu[service] for name, service in SAME.items()}
    if overlay == "gpu":
        gpu = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"]
        for name, service in ON_GPU.items():
            own = {**found[name].get("environment", {}), **gpu[service].get("environment", {})}
            found[name] = {**found[name], **gpu[service], "environment": own}
    return found


def test_every_manifest_is_valid(overlay: str) -> None:
    assert [text for one in _built(overlay) if (text := trouble(one))] == []


def test_what_kubernetes_or_keda_does_not_know_is_found(overlay: str) -> None:
    def broken(kind: str, name: str, *path: Any, value: Any = "3") -> str:
        manifest = copy.deepcopy(manifests(overlay, kind)[name])
        place: Any = manifest
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return trouble(manifest)

    pod = ("spec", "template", "spec")
    assert "terminationGraceSeconds" in broken(
        "Deployment", "page", *pod, "terminationGraceSeconds"
    )
    assert "3" in broken("Deployment", "page", *pod, "containers", 0, "command")
    assert "maxReplicas" in broken("ScaledObject", "worker-io", "spec", "maxReplicas", value=3)
    assert "3" in broken("ScaledObject", "worker-io", "spec", "maxReplicaCount")
    trigger = ("spec", "triggers", 0, "metadata", "queue")
    assert "queue" in broken("ScaledObject", "worker-io", *trigger)


def test_every_queue_has_one_pool_that_is_scaled_by_both_of_its_lanes(overlay: str) -> None:
    served = {name: consumed(pods(overlay)[name]) for name in workers(overlay)}
    assert sorted(queue for queues in served.values() for queue in queues) == sorted(QUEUES)
    scaled = manifests(overlay, "ScaledObject")
    assert scaled.keys() == served.keys()
    for name, one in scaled.items():
        spec = one["spec"]
        assert spec["scaleTargetRef"] == {"name": name}
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
        looked_at = [trigger["metadata"]["queueName"] for trigger in spec["triggers"]]
        lanes = [lane_queue(queue, lane) for queue in served[name] for lane in Lane]
        assert sorted(looked_at) == sorted(lanes)
        for trigger in spec["triggers"]:
            assert trigger["authenticationRef"]["name"] in manifests(
                overlay, "TriggerAuthentication"
            )


def test_what_is_scaled_has_no_number_of_its_own(overlay: str) -> None:
    assert not any("replicas" in one["spec"] for one in workers(overlay).values())


def test_a_worker_has_longer_to_end_than_its_longest_message(overlay: str) -> None:
    for name in workers(overlay):
        pod = pods(overlay)[name]
        given = environment(overlay, pod).get("JUSTLENS_STAGE_DEADLINE")
        deadline = float(given or Settings.model_fields["stage_deadline"].default)
        # It waits until it is alone for as long as others run, and then runs for as long.
        assert pod["terminationGracePeriodSeconds"] > 2 * deadline


def test_commands_and_images_are_those_of_the_compose_files(overlay: str) -> None:
    services = compose(overlay)
    assert pods(overlay).keys() == services.keys()
    for name, pod in pods(overlay).items():
        (container,) = pod["containers"]
        assert container["command"] == services[name]["command"], name
        image, _, tag = container["image"].rpartition(":")
        assert image.rpartition("/")[2] == services[name]["image"], name
        assert tag not in ("", "latest")


def test_variables_are_those_of_the_compose_files(overlay: str) -> None:
    known = {f"JUSTLENS_{name.upper()}" for name in Settings.model_fields}
    services = compose(overlay)
    for name, pod in pods(overlay).items():
        ours = environment(overlay, pod)
        theirs = services[name]["environment"]
        assert {one for one in ours if one.startswith("JUSTLENS_")} <= known
        assert theirs.keys() <= ours.keys(), name
        own = {
            one: value
            for one, value in theirs.items()
            if "$" not in value and one != "JUSTLENS_MLFLOW_URL"
        }
        assert {one: ours[one] for one in own} == own, name


def test_no_secret_is_in_the_files(overlay: str) -> None:
    assert manifests(overlay, "Secret") == {}
    for secret in read(KUBERNETES / "base/secret.example.yaml"):
        assert set(secret["stringData"].values()) == {""}
    (key,) = manifests(overlay, "TriggerAuthentication")["rabbitmq"]["spec"]["secretTargetRef"]
    assert key == {"parameter": "host", "name": "justlens", "key": "JUSTLENS_BROKER_URL"}


def test_a_pod_has_no_more_rights_than_it_needs(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}, name
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
        mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        assert mounted == {"/tmp": "tmp", "/data": "data"}
        assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "data"]


def test_beat_is_one_and_what_it_and_a_training_note_outlives_their_pods(overlay: str) -> None:
    deployments = manifests(overlay, "Deployment")
    assert deployments["beat"]["spec"]["replicas"] == 1
    assert "beat" not in manifests(overlay, "ScaledObject")
    claims = manifests(overlay, "PersistentVolumeClaim")
    for name, claim in (("beat", "beat"), ("worker-retrain", "retraining")):
        assert deployments[name]["spec"]["strategy"] == {"type": "Recreate"}
        volume = pods(overlay)[name]["volumes"][1]
        assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
        assert claim in claims
    kept = [name for name, pod in pods(overlay).items() if "emptyDir" not in pod["volumes"][1]]
    assert sorted(kept) == ["beat", "worker-retrain"]


def selectors(overlay: str) -> Iterator[tuple[str, dict[str, str]]]:
    for name, one in manifests(overlay, "Deployment", "PodDisruptionBudget").items():
        yield name, one["spec"]["selector"]["matchLabels"]
    for name, one in manifests(overlay, "Service").items():
        yield name, one["spec"]["selector"]


def test_every_selector_meets_the_pods_of_its_name_alone(overlay: str) -> None:
    labels = {
        name: one["spec"]["template"]["metadata"]["labels"]
        for name, one in manifests(overlay, "Deployment", "Job").items()
    }
    for name, selector in selectors(overlay):
        assert [pod for pod, own in labels.items() if selector.items() <= own.items()] == [name]


def test_every_process_is_looked_after(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        (container,) = pod["containers"]
        ports = {port["name"] for port in container.get("ports", [])}
        probes = {key: value for key, value in container.items() if key.endswith("Probe")}
        assert name == "setup" or "livenessProbe" in probes
        for probe in probes.values():
            assert "exec" in probe or probe["httpGet"]["port"] in ports
    budgets = manifests(overlay, "PodDisruptionBudget").keys()
    assert budgets == pods(overlay).keys() - {"setup", "beat", "flower", "worker-retrain"}


def test_every_path_leads_to_a_service_and_a_port_that_exist(overlay: str) -> None:
    services = manifests(overlay, "Service")
    ports = {name: one["spec"]["ports"] for name, one in services.items()}
    for name, found in ports.items():
        (container,) = pods(overlay)[name]["containers"]
        assert [port["targetPort"] for port in found] == [p["name"] for p in container["ports"]]
    (rule,) = manifests(overlay, "Ingress")["justlens"]["spec"]["rules"]
    for path in rule["http"]["paths"]:
        backend = path["backend"]["service"]
        assert backend["port"]["name"] in [port["name"] for port in ports[backend["name"]]]


def test_a_gpu_is_asked_for_by_what_computes_on_one(overlay: str) -> None:
    for name in workers(overlay):
        pod = pods(overlay)[name]
        encoder = environment(overlay, pod)["JUSTLENS_IMAGE_TEXT_ENCODER"]
        on_gpu = {"worker-enhance", "worker-clip" if encoder == "open_clip" else ""}
        wanted = overlay == "gpu" and name in on_gpu
        resources = pod["containers"][0]["resources"]
        assert ("nvidia.com/gpu" in resources["limits"]) is wanted
        assert ("nodeSelector" in pod) is ("tolerations" in pod) is wanted


def test_what_kustomize_can_and_is_not_read_here_is_refused(overlay: str, tmp_path: Path) -> None:
    base = KUBERNETES / "overlays" / overlay
    for wrong, told in (
        ("namePrefix: a-", "namePrefix: not read here"),
        ('patches: [{ target: { kind: Pod }, patch: "[]" }]', "no manifest is"),
    ):
        (tmp_path / "kustomization.yaml").write_text(f"resources: [{base}]\n{wrong}\n")
        with pytest.raises(ValueError, match=told):
            build(tmp_path)
