"""Compose's file of the tracking server: compose-spec checks its schema (Docker is not here), these tests the rest."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from manifests import INFRA

# PyYAML resolves what <<: merges; compose-spec leaves that to its caller.
COMPOSE: dict[str, Any] = yaml.safe_load((INFRA / "mlflow" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_compose_file_is_valid() -> None:
    compose = PyCompose.from_json(json.dumps(COMPOSE))
    assert sorted(compose.service_names()) == ["mlflow", "objects", "postgres"]


@pytest.mark.parametrize(
    "path", [("services", "mlflow"), ("services", "postgres", "healthcheck"), ("networks", "stores")]
)
def test_misspelt_field_is_caught(path: tuple[str, ...]) -> None:
    wrong = copy.deepcopy(COMPOSE)
    place: Any = wrong
    for step in path:
        place = place[step]
    place["read_onyl"] = True
    with pytest.raises(ValueError, match="read_onyl"):
        PyCompose.from_json(json.dumps(wrong))


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == "4g"
    assert "privileged" not in service
    assert "network_mode" not in service
    tag = service["image"].rsplit(":", 1)[1]
    assert tag[0].isdigit()


def test_only_mlflow_is_published_and_on_loopback_only() -> None:
    assert {name: service.get("ports", []) for name, service in SERVICES.items()} == {
        "postgres": [],
        "objects": [],
        "mlflow": ["127.0.0.1:5000:5000"],
    }
    assert {name: service["networks"] for name, service in SERVICES.items()} == {
        "postgres": ["stores"],
        "objects": ["stores"],
        "mlflow": ["stores", "front"],
    }
    assert COMPOSE["networks"]["stores"] == {"internal": True}


def test_of_the_object_store_only_s3_leaves_the_container() -> None:
    command = SERVICES["objects"]["command"]
    assert {"-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0", "-s3.config=/run/secrets/s3.json"} <= set(command)
    # Servers that would listen where S3 does, without asking for keys.
    assert {"-s3.port.iceberg=0", "-s3.port.lance=0"} <= set(command)


def test_secrets_are_files_that_the_script_makes(tmp_path: Path) -> None:
    script = INFRA / "mlflow" / "secrets.sh"
    subprocess.run([script, tmp_path / "made"], check=True, capture_output=True)
    made = {path.name for path in (tmp_path / "made").iterdir()}
    declared = {name: secret["file"] for name, secret in COMPOSE["secrets"].items()}
    assert declared == {name: f"secrets/{name}" for name in declared}
    assert {name for service in SERVICES.values() for name in service["secrets"]} == set(declared)
    assert set(declared) == made - {
        "mlflow_client_password"
    }  # which is for those who track, not for a server
    # Nothing secret in what `docker inspect` shows.
    for service in SERVICES.values():
        assert [name for name in service.get("environment", {}) if "PASSWORD" in name] in (
            [],
            ["POSTGRES_PASSWORD_FILE"],
        )


def test_compose_and_kubernetes_start_the_same() -> None:
    found: dict[str, dict[str, Any]] = {}
    for name in SERVICES:
        text = (INFRA / "mlflow" / "kubernetes" / f"{name}.yaml").read_text(encoding="utf-8")
        (workload,) = (each for each in yaml.safe_load_all(text) if each["kind"] != "Service")
        (found[name],) = workload["spec"]["template"]["spec"]["containers"]
    assert {name: service["image"] for name, service in SERVICES.items()} == {
        name: container["image"] for name, container in found.items()
    }

    def comparable(words: list[str]) -> set[str]:
        differing = ("--allowed-hosts=", "--secrets=")
        return {
            word.replace("/run/secrets/amc/", "/run/secrets/")
            for word in words
            if not word.startswith(differing)
        }

    for name in ("mlflow", "objects"):
        assert comparable(SERVICES[name]["command"]) == comparable(found[name]["args"])
