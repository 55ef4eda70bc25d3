"""What Kubernetes is given: golden facts, and that misspelt fields are caught."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sent import written_job

from amc_models.errors import InputError
from amc_platform.jobs.kuberay import MANIFEST, KuberayLauncher
from amc_platform.jobs.manifest import check, render
from amc_platform.jobs.target import FOLDER, KuberayTarget, read_target


@pytest.fixture
def target(repository: Path) -> KuberayTarget:
    found = read_target("kuberay", repository)
    assert isinstance(found, KuberayTarget), FOLDER
    return found


@pytest.fixture
def manifests(target: KuberayTarget, tmp_path: Path) -> list[dict[str, Any]]:
    return render(written_job(tmp_path, target), target)


def pods(ray_job: dict[str, Any]) -> list[dict[str, Any]]:
    """The specs of submitter, head and workers."""
    spec = ray_job["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [spec["submitterPodTemplate"]["spec"], *(group["template"]["spec"] for group in groups)]


def test_the_cluster_asks_for_a_token_and_starts_anew_after_a_failure(
    manifests: list[dict[str, Any]],
) -> None:
    spec = manifests[1]["spec"]
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert (spec["backoffLimit"], spec["shutdownAfterJobFinishes"]) == (3, True)
    assert spec["entrypoint"] == "/opt/amc/.venv/bin/python -m amc_platform.cli run /amc/job/spec.yaml"


def test_no_container_is_root_or_may_become_it(manifests: list[dict[str, Any]]) -> None:
    found = pods(manifests[1])
    assert len(found) == 3
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["restartPolicy"] == "Never"
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }


def test_workers_are_on_a40s_and_see_the_shared_volume(manifests: list[dict[str, Any]]) -> None:
    _, head, worker = pods(manifests[1])
    assert worker["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A40"}
    assert worker["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert "nodeSelector" not in head
    for pod in (head, worker):
        assert {
            "name": "shared",
            "persistentVolumeClaim": {"claimName": "amc-shared", "readOnly": False},
        } in pod["volumes"]
        assert {"name": "shared", "mountPath": "/shared", "readOnly": False} in pod["containers"][0][
            "volumeMounts"
        ]


def test_secrets_are_references_and_stamps_are_values(manifests: list[dict[str, Any]]) -> None:
    for pod in pods(manifests[1])[1:]:
        environment = {one["name"]: one for one in pod["containers"][0]["env"]}
        assert environment["MLFLOW_TRACKING_PASSWORD"] == {
            "name": "MLFLOW_TRACKING_PASSWORD",
            "valueFrom": {"secretKeyRef": {"name": "amc-mlflow", "key": "password"}},
        }
        assert environment["AMC_GIT_SHA"]["value"] == "5ha"
        assert [one for one in environment.values() if "PASSWORD" in one["name"] and "value" in one] == []


def test_code_and_spec_travel_in_the_config_map(manifests: list[dict[str, Any]]) -> None:
    config = manifests[0]
    (wheel,) = config["binaryData"].values()
    assert base64.b64decode(wheel) == b"wheel"
    assert config["data"] == {"spec.yaml": "name: test/small\n"}
    assert config["metadata"]["name"] == manifests[1]["metadata"]["name"]


def test_code_that_is_too_large_is_refused(target: KuberayTarget, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too large for a ConfigMap"):
        render(written_job(tmp_path, target, os.urandom(800_000)), target)


def test_a_misspelt_toleration_of_a_target_is_caught(target: KuberayTarget, tmp_path: Path) -> None:
    wrong = target.model_copy(update={"tolerations": [{"key": "nvidia.com/gpu", "efect": "NoSchedule"}]})
    with pytest.raises(InputError, match=r"tolerations\.0\.efect: no such field; did you mean effect\?"):
        render(written_job(tmp_path, wrong), wrong)


def test_a_wrong_effect_is_caught(target: KuberayTarget, tmp_path: Path) -> None:
    wrong = target.model_copy(update={"tolerations": [{"key": "a", "effect": "NoSchedul"}]})
    with pytest.raises(InputError, match=r"tolerations\.0\.effect: 'NoSchedul' is not one of"):
        render(written_job(tmp_path, wrong), wrong)


def mappings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of all mappings in a manifest whose keys are Kubernetes' and not the user's."""
    free = {"labels", "nodeSelector", "limits", "requests", "rayStartParams"}
    if isinstance(value, dict):
        if not path or path[-1] not in free:
            yield path
        for key, inner in value.items():
            yield from mappings(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from mappings(inner, (*path, index))


def test_a_misspelt_field_is_caught_wherever_it_is(manifests: list[dict[str, Any]]) -> None:
    places = list(mappings(manifests[1]))
    assert len(places) > 100
    for path in places:
        manifest = json.loads(json.dumps(manifests[1]))
        where = manifest
        for key in path:
            where = where[key]
        where["misspelt"] = 1
        with pytest.raises(InputError, match="misspelt: no such field"):
            check(manifest)


def test_without_kubectl_the_file_is_written_and_said(
    target: KuberayTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    job, launcher = written_job(tmp_path, target), KuberayLauncher(target)
    launcher.write(job)
    assert str(job.folder / MANIFEST) in launcher.send(job)
    assert launcher.state(job).state == "written"
    kinds = [one["kind"] for one in yaml.safe_load_all((job.folder / MANIFEST).read_text())]
    assert kinds == ["ConfigMap", "RayJob"]


def test_kubectl_is_asked_for_everything_else(
    target: KuberayTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = tmp_path / "kubectl"
    stub.write_text(
        f"""#!/bin/sh
echo "$*" >>{tmp_path}/asked
case "$*" in
*' get '*) cat {tmp_path}/status ;;
*' logs '*) echo 'step 1'; echo 'step 2' ;;
*' patch '*) echo '{{"status": {{"jobDeploymentStatus": "Suspended"}}}}' >{tmp_path}/status ;;
esac
"""
    )
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    job, launcher = written_job(tmp_path, target), KuberayLauncher(target)
    launcher.write(job)
    launcher.send(job)
    states = {
        '{"status": {}}': "waiting",
        '{"status": {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}}': "running",
        '{"status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}}': "done",
        '{"status": {"jobDeploymentStatus": "Failed", "message": "why"}}': "failed",
        "": "lost",
    }
    for text, state in states.items():
        (tmp_path / "status").write_text(text)
        assert launcher.state(job).state == state
    assert "".join(launcher.log(job, follow=True)) == "step 1\nstep 2\n"
    launcher.stop(job)
    assert launcher.state(job).state == "stopped"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == f"--namespace=amc apply --server-side -f {job.folder}/{MANIFEST}"
    assert f"--namespace=amc logs job/{job.name} --follow" in asked


def test_what_kubectl_refuses_is_one_line(
    target: KuberayTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = tmp_path / "kubectl"
    stub.write_text("#!/bin/sh\necho 'error: no cluster' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    job = written_job(tmp_path, target)
    with pytest.raises(InputError, match="kubectl: error: no cluster; check context and namespace"):
        KuberayLauncher(target).send(job)
