"""What Kubernetes is given of a job: a RayJob of KubeRay, and a ConfigMap with the code and the spec."""

import base64
import json
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from amc_models.errors import InputError
from amc_platform.jobs.record import Job
from amc_platform.jobs.target import KuberayTarget, PodSize
from amc_platform.spec.suggestions import hint

Manifest = dict[str, Any]

_JOB, _CODE = "/amc/job", "/amc/code"
# etcd takes objects of 1.5 MB, Kubernetes ConfigMaps of 1 MiB.
_LARGEST = 1_000_000


def render(job: Job, target: KuberayTarget) -> list[Manifest]:
    """The manifests, checked against the pinned schema.

    Raises InputError, naming the field, for what KubeRay or Kubernetes would not know (a misspelt toleration), and for
    code that is too large.
    """
    manifests = [_config(job, target), _ray_job(job, target)]
    for manifest in manifests:
        check(manifest)
    if len(json.dumps(manifests[0])) > _LARGEST:
        raise InputError(
            f"{job.wheel.name}: is too large for a ConfigMap; take large files out of the packages"
        )
    return manifests


def check(manifest: Manifest) -> None:
    """Raise InputError for the first field of a RayJob, RayCluster or ConfigMap that the schema does not know."""
    from jsonschema import Draft202012Validator

    kind = str(manifest.get("kind"))
    schema = _schema()
    validator = Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
    error = next(iter(validator.iter_errors(manifest)), None)
    if error is None:
        return
    place = ".".join(str(part) for part in (kind, *error.absolute_path))
    unknown = set(error.instance) - set(error.schema.get("properties", {})) if _is_unknown(error) else ()
    if unknown:
        name = sorted(unknown)[0]
        raise InputError(f"{place}.{name}: no such field; {hint(name, error.schema['properties'])}")
    raise InputError(f"{place}: {error.message}; mend the target")


def _is_unknown(error: Any) -> bool:
    return error.validator == "additionalProperties" and error.validator_value is False


@cache
def _schema() -> dict[str, Any]:
    return json.loads(files("amc_platform.jobs").joinpath("kuberay.schema.json").read_text(encoding="utf-8"))


def _metadata(job: Job, target: KuberayTarget) -> dict[str, Any]:
    labels = {"app.kubernetes.io/part-of": "amc", "amc/job": job.name}
    return {"name": job.name, "namespace": target.namespace, "labels": labels}


def _config(job: Job, target: KuberayTarget) -> Manifest:
    wheel = base64.b64encode(job.wheel.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(job, target),
        "immutable": True,
        "binaryData": {job.wheel.name: wheel},
        "data": {"spec.yaml": job.spec.read_text(encoding="utf-8")},
    }


def _ray_job(job: Job, target: KuberayTarget) -> Manifest:
    workers = target.workers
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(job, target),
        "spec": {
            "entrypoint": f"{target.python} -m amc_platform.cli run {_JOB}/spec.yaml",
            "backoffLimit": target.restarts,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": target.keep_s,
            "submissionMode": "K8sJobMode",
            "submitterPodTemplate": _submitter(job, target),
            "rayClusterSpec": {
                "rayVersion": version("ray"),
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "serviceType": "ClusterIP",
                    # The submitter reaches the dashboard from another pod; nothing trains on the head.
                    "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
                    "template": _pod(job, target, "ray-head", target.head),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": workers.replicas,
                        "minReplicas": workers.replicas,
                        "maxReplicas": workers.replicas,
                        "rayStartParams": {},
                        "labels": target.labels,
                        "template": _pod(job, target, "ray-worker", workers, gpus=workers.gpus),
                    }
                ],
            },
        },
    }


def _pod(job: Job, target: KuberayTarget, name: str, size: PodSize, gpus: int = 0) -> Manifest:
    """A pod of the Ray cluster. KubeRay makes a new one for one that failed: it must not start again by itself."""
    shared = [
        {"name": volume.name, "mountPath": volume.mount, "readOnly": volume.read_only}
        for volume in target.volumes
    ]
    code = [
        {"name": "job", "mountPath": _JOB, "readOnly": True},
        {"name": "code", "mountPath": _CODE},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    unpack = {
        "name": "code",
        "image": target.image,
        "command": [target.python, "-m", "zipfile", "-e", f"{_JOB}/{job.wheel.name}", _CODE],
        "resources": _resources("500m", "512Mi"),
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": code,
    }
    container = {
        "name": name,
        "image": target.image,
        "env": _environment(job, target),
        "resources": _resources(size.cpus, size.memory, gpus),
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [*code, {"name": "shm", "mountPath": "/dev/shm"}, *shared],
    }
    spec = _pod_spec(target) | {
        "initContainers": [unpack],
        "containers": [container],
        # `amc run` saves where it stands when the machine is taken away.
        "terminationGracePeriodSeconds": 120,
        "volumes": [
            {"name": "job", "configMap": {"name": job.name}},
            {"name": "code", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            *(
                {
                    "name": one.name,
                    "persistentVolumeClaim": {"claimName": one.claim, "readOnly": one.read_only},
                }
                for one in target.volumes
            ),
        ],
    }
    if name == "ray-worker":
        spec |= {"nodeSelector": target.node_selector, "tolerations": target.tolerations}
    return {"metadata": {"labels": _metadata(job, target)["labels"]}, "spec": spec}


def _submitter(job: Job, target: KuberayTarget) -> Manifest:
    """The pod that hands the entrypoint to the cluster, and prints its log."""
    container = {
        "name": "ray-job-submitter",
        "image": target.image,
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": _resources("500m", "1Gi"),
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = _pod_spec(target) | {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    return {"metadata": {"labels": _metadata(job, target)["labels"]}, "spec": spec}


_CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def _pod_spec(target: KuberayTarget) -> Manifest:
    account = {"serviceAccountName": target.service_account} if target.service_account else {}
    pulls = (
        {"imagePullSecrets": [{"name": name} for name in target.pull_secrets]} if target.pull_secrets else {}
    )
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": target.user,
            "runAsGroup": target.user,
            "fsGroup": target.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **account,
        **pulls,
    }


def _resources(cpus: str, memory: str, gpus: int = 0) -> Manifest:
    amounts = {"cpu": cpus, "memory": memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {"requests": amounts, "limits": dict(amounts)}


def _environment(job: Job, target: KuberayTarget) -> list[Manifest]:
    """Plain variables by value, secrets by reference. The token is put in by KubeRay, from a Secret that it makes."""
    plain = {
        "PYTHONPATH": _CODE,
        "HOME": "/tmp",
        "RAY_USAGE_STATS_ENABLED": "0",
        **job.environment,
        **target.env,
    }
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": one.secret, "key": one.key}}}
            for name, one in target.secrets.items()
        ),
    ]
