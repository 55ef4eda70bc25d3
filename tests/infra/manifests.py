"""The YAML files of infra/, sorted by what reads them, and what checks them without a cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"

KUBERNETES = "1.34"
"""The version whose schemas are taken, those of the package kubernetes-validate; unknown fields are refused."""

Document = dict[str, Any]


def documents(folder: Path = INFRA) -> Iterator[tuple[Path, Document]]:
    """Yield every document of every YAML file below `folder`, with its file."""
    for path in sorted(folder.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield path, document


def manifests() -> list[tuple[str, Document]]:
    """What is applied to Kubernetes: name and document."""
    return [
        (f"{path.relative_to(INFRA)}:{document['kind']}/{name_of(document)}", document)
        for path, document in documents()
        if "apiVersion" in document and document["kind"] != "Kustomization"
    ]


def name_of(document: Document) -> str:
    metadata = document["metadata"]
    return metadata.get("name") or metadata["generateName"]


def pod_templates(document: Document) -> Iterator[Document]:
    """Yield the pod templates of a manifest, wherever they stand in it."""
    spec = document.get("spec", {})
    groups = [spec.get("headGroupSpec", {}), *spec.get("workerGroupSpecs", [])]
    found = [
        spec.get("template"),
        spec.get("submitterPodTemplate"),
        *(group.get("template") for group in groups),
    ]
    yield from (template for template in found if template)


def check(document: Document) -> None:
    """Raise jsonschema.ValidationError where a field is unknown, missing or of the wrong type."""
    if document["apiVersion"] != "ray.io/v1":
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        return
    jsonschema.validate(document, {"$defs": RAY, **RAY[document["kind"]]})
    for template in pod_templates(document):
        labels = template.get("metadata", {}).get("labels", {"of": "test"})
        spec = {"selector": {"matchLabels": labels}, "template": template}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


def _fields(required: tuple[str, ...] = (), **properties: Any) -> Document:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def _choice(*values: str) -> Document:
    return {"enum": list(values)}


_TEXT: Document = {"type": "string"}
_TEXTS: Document = {"type": "object", "additionalProperties": _TEXT}
_COUNT: Document = {"type": "integer", "minimum": 0}
_FLAG: Document = {"type": "boolean"}
_METADATA = _fields(name=_TEXT, generateName=_TEXT, namespace=_TEXT, labels=_TEXTS, annotations=_TEXTS)
# KubeRay refuses labels among these and wants them beside them.
_START: Document = {"type": "object", "additionalProperties": _TEXT, "properties": {"labels": False}}
_GROUP: Document = {"rayStartParams": _START, "labels": _TEXTS, "template": {"type": "object"}}

RAY: Document = {
    # The fields of KubeRay 1.6.2 (CRD API reference in Ray's documentation) that manifests here may use.
    "RayClusterSpec": _fields(
        ("rayVersion", "authOptions", "headGroupSpec"),
        rayVersion=_TEXT,
        authOptions=_fields(("mode", "secretName"), mode=_choice("token"), secretName=_TEXT),
        enableInTreeAutoscaling=_FLAG,
        headServiceAnnotations=_TEXTS,
        suspend=_FLAG,
        headGroupSpec=_fields(
            ("template",),
            serviceType=_choice("ClusterIP"),
            enableIngress=_FLAG,
            **_GROUP,
        ),
        workerGroupSpecs={
            "type": "array",
            "items": _fields(
                ("groupName", "template"),
                groupName=_TEXT,
                replicas=_COUNT,
                minReplicas=_COUNT,
                maxReplicas=_COUNT,
                numOfHosts=_COUNT,
                **_GROUP,
            ),
        },
    ),
    "RayCluster": _fields(
        ("metadata", "spec"),
        apiVersion=_choice("ray.io/v1"),
        kind=_choice("RayCluster"),
        metadata=_METADATA,
        spec={"$ref": "#/$defs/RayClusterSpec"},
    ),
    "RayJob": _fields(
        ("metadata", "spec"),
        apiVersion=_choice("ray.io/v1"),
        kind=_choice("RayJob"),
        metadata=_METADATA,
        spec=_fields(
            ("entrypoint",),
            activeDeadlineSeconds=_COUNT,
            backoffLimit=_COUNT,
            clusterSelector=_TEXTS,
            entrypoint=_TEXT,
            entrypointNumCpus={"type": "number"},
            metadata=_TEXTS,
            rayClusterSpec={"$ref": "#/$defs/RayClusterSpec"},
            runtimeEnvYAML=_TEXT,
            shutdownAfterJobFinishes=_FLAG,
            submissionMode=_choice("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"),
            submitterPodTemplate={"type": "object"},
            suspend=_FLAG,
            ttlSecondsAfterFinished=_COUNT,
        ),
    ),
}
