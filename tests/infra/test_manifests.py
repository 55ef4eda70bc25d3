"""The manifests for Kubernetes and KubeRay: valid against pinned schemas, and shut as SECURITY.md says."""

import copy
import re
from typing import Any

import jsonschema
import pytest
from manifests import INFRA, Document, check, documents, manifests, pod_templates

MANIFESTS = manifests()
PODS = [
    (f"{name}[{index}]", template)
    for name, document in MANIFESTS
    for index, template in enumerate(pod_templates(document))
]
CONTAINERS = [
    (f"{name}.{container['name']}", pod["spec"], container)
    for name, pod in PODS
    for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
]


def named(pairs: list[Any]) -> Any:
    return pytest.mark.parametrize("given", [pair[1:] for pair in pairs], ids=[pair[0] for pair in pairs])


def of_kind(kind: str) -> list[Document]:
    return [document for _, document in MANIFESTS if document["kind"] == kind]


def test_every_file_parses_and_holds_something() -> None:
    empty = [str(path) for path, document in documents() if not document]
    assert empty == []
    assert {path.parent.name for path, _ in documents()} >= {"kuberay", "kubernetes", "mlflow", "onprem"}


@named(MANIFESTS)
def test_manifest_is_valid(given: tuple[Document]) -> None:
    check(given[0])


@pytest.mark.parametrize(
    ("kind", "path", "misspelt"),
    [
        ("RayCluster", ("spec",), "authOption"),
        ("RayCluster", ("spec", "authOptions"), "secret"),
        ("RayCluster", ("spec", "headGroupSpec"), "serviceTypo"),
        ("RayCluster", ("spec", "headGroupSpec", "rayStartParams"), "labels"),
        ("RayCluster", ("spec", "workerGroupSpecs", 0), "minReplica"),
        ("RayCluster", ("spec", "workerGroupSpecs", 0, "template", "spec"), "nodeSelectors"),
        (
            "RayCluster",
            ("spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "securityContext"),
            "readOnlyRootFileSystem",
        ),
        ("RayJob", ("spec",), "entryPoint"),
        ("RayJob", ("spec", "submitterPodTemplate", "spec"), "restartPolice"),
        ("StatefulSet", ("spec", "template", "spec", "securityContext"), "runAsNonroot"),
        ("NetworkPolicy", ("spec",), "policyType"),
    ],
)
def test_misspelt_field_is_caught(kind: str, path: tuple[str | int, ...], misspelt: str) -> None:
    document = copy.deepcopy(of_kind(kind)[0])
    place: Any = document
    for step in path:
        place = place[step]
    place[misspelt] = "x"
    with pytest.raises(jsonschema.ValidationError, match=re.escape(misspelt) + "|False schema"):
        check(document)


@named(PODS)
def test_pod_is_confined(given: tuple[Document]) -> None:
    pod = given[0]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["runAsGroup"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    assert [volume for volume in pod.get("volumes", []) if "hostPath" in volume] == []


@named(CONTAINERS)
def test_container_is_confined(given: tuple[Document, Document]) -> None:
    pod, container = given
    context = container["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert re.fullmatch(r"[a-z/-]+:[0-9][\w.-]*", container["image"]), "an exact tag, and no registry's host"
    assert "memory" in container["resources"]["limits"]
    # A read-only root with nowhere to write stops at the first temporary file.
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert "emptyDir" in volumes[mounted["/tmp"]]


@named(CONTAINERS)
def test_secrets_are_references(given: tuple[Document, Document]) -> None:
    pod, container = given
    for variable in container.get("env", []):
        if re.search("TOKEN|PASSWORD|SECRET|CREDENTIAL|_KEY", variable["name"]):
            in_file = variable["name"].endswith(("_FILE", "_PATH"))
            assert in_file or "secretKeyRef" in variable["valueFrom"], variable
    words = [*container.get("command", []), *container.get("args", [])]
    assert [
        word for word in words if re.search(r"password=|token=|secret[_-]key=|://[^/@]+:[^/@]+@", word)
    ] == []
    for volume in pod.get("volumes", []):
        if "secret" in volume:
            # Named one by one: a pod sees the secrets that it needs and no others.
            assert volume["secret"]["items"]
            assert volume["secret"]["defaultMode"] == 0o440


def test_no_secret_is_in_the_repository() -> None:
    assert of_kind("Secret") == []


def test_ray_asks_for_a_token() -> None:
    clusters = of_kind("RayCluster") + [
        {"spec": job["spec"]["rayClusterSpec"]}
        for job in of_kind("RayJob")
        if "clusterSelector" not in job["spec"]
    ]
    assert len(clusters) == 1
    for cluster in clusters:
        assert cluster["spec"]["authOptions"] == {"mode": "token", "secretName": "amc-ray-token"}


def test_the_standing_job_finds_its_cluster() -> None:
    (job,), (cluster,) = of_kind("RayJob"), of_kind("RayCluster")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    # KubeRay's own rule for a job on a cluster that stands already.
    assert job["spec"]["backoffLimit"] == 0


def policies() -> dict[str, Document]:
    return {document["metadata"]["name"]: document["spec"] for document in of_kind("NetworkPolicy")}


def test_what_no_policy_allows_is_refused() -> None:
    assert policies()["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies().values())


def test_a_dashboard_off_loopback_is_behind_a_policy() -> None:
    hosts = [
        cluster["spec"]["headGroupSpec"]["rayStartParams"]["dashboard-host"]
        for cluster in of_kind("RayCluster")
    ]
    assert hosts == ["0.0.0.0"]  # the operator and submitters come from other pods
    policy = policies()["ray"]
    assert policy["podSelector"] == {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    among, from_outside = policy["ingress"]
    assert among == {"from": [{"podSelector": policy["podSelector"]}]}
    assert from_outside["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert all("podSelector" in origin for origin in from_outside["from"])
    # KubeRay gives Ray's pods their label; the submitter's is in the job.
    (job,) = of_kind("RayJob")
    submitters = {"matchExpressions": [{"key": "amc/job", "operator": "Exists"}]}
    assert from_outside["from"][0] == {"podSelector": submitters}
    assert "amc/job" in job["spec"]["submitterPodTemplate"]["metadata"]["labels"]


@pytest.mark.parametrize(
    ("server", "port", "clients"),
    [
        ("postgres", 5432, {"app.kubernetes.io/name": "mlflow"}),
        ("objects", 8333, {"app.kubernetes.io/name": "mlflow"}),
        ("mlflow", 5000, {"ray.io/is-ray-node": "yes"}),
    ],
)
def test_a_store_is_reached_by_its_clients_only(server: str, port: int, clients: dict[str, str]) -> None:
    policy = policies()[server]
    assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": server}}
    assert policy["ingress"] == [
        {"from": [{"podSelector": {"matchLabels": clients}}], "ports": [{"protocol": "TCP", "port": port}]}
    ]


def test_nothing_is_published() -> None:
    assert {service["spec"].get("type", "ClusterIP") for service in of_kind("Service")} == {"ClusterIP"}
    assert of_kind("Ingress") == []


def test_what_pods_refer_to_is_there_or_its_making_is_described() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in INFRA.rglob("README.md"))
    claims = {document["metadata"]["name"] for document in of_kind("PersistentVolumeClaim")}
    for _, pod, container in CONTAINERS:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        own = {"data"}  # of a StatefulSet's volumeClaimTemplates
        for mount in container["volumeMounts"]:
            volume = volumes.get(mount["name"])
            assert volume is not None or mount["name"] in own
            if volume and "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if volume and "secret" in volume:
                assert f"secret generic {volume['secret']['secretName']}" in text
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                assert f"secret generic {variable['valueFrom']['secretKeyRef']['name']}" in text
    assert "secret generic amc-ray-token" in text
