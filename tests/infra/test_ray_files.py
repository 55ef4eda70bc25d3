"""What starts Ray: the file for `ray up`, the script for Slurm, and every `ray start` in infra/."""

import re
import shlex
from typing import Any

import pytest
import yaml
from manifests import INFRA, ROOT

CLUSTER: dict[str, Any] = yaml.safe_load((INFRA / "onprem" / "cluster.yaml").read_text(encoding="utf-8"))


def starts() -> list[tuple[str, str]]:
    """Every command of `ray start` in scripts and in Ray's YAML: where, and its words until the command ends."""
    commands = [
        (f"onprem/cluster.yaml:{field}", command)
        for field in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in CLUSTER[field]
    ]
    for path in sorted([*INFRA.rglob("*.sh"), *INFRA.rglob("*.sbatch")]):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        commands += [(str(path.relative_to(INFRA)), line) for line in text.splitlines()]
    found = [
        (where, re.search(r"(?:\bray|/ray\") start (?P<options>.*)", command)) for where, command in commands
    ]
    return [(where, match["options"]) for where, match in found if match]


def test_there_are_commands_to_look_at() -> None:
    assert [where for where, _ in starts()] == [
        "onprem/cluster.yaml:head_start_ray_commands",
        "onprem/cluster.yaml:worker_start_ray_commands",
        "slurm/amc.sbatch",
        "slurm/amc.sbatch",
    ]


@pytest.mark.parametrize(("where", "options"), starts())
def test_dashboard_is_on_loopback_and_every_option_is_one_of_rays(where: str, options: str) -> None:
    from ray.scripts.scripts import start

    words = [re.sub(r"\$\w+", "1", word) for word in shlex.split(options)]
    context = start.make_context("start", words)
    assert context.params["dashboard_host"] == "127.0.0.1", where
    assert context.params["head"] or context.params["address"], where


def test_token_mode_is_set_before_every_start() -> None:
    for command in [*CLUSTER["head_start_ray_commands"], *CLUSTER["worker_start_ray_commands"]]:
        assert ("RAY_AUTH_MODE=token" in command) == (" start " in command)
    script = (INFRA / "slurm" / "amc.sbatch").read_text(encoding="utf-8")
    assert script.index("export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=") < script.index('ray" start')


def test_ray_up_takes_the_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(CLUSTER)  # as `ray up` does, before it validates
    validate_config(prepared)
    node = prepared["available_node_types"][prepared["head_node_type"]]
    assert (node["min_workers"], node["max_workers"]) == (2, 2)
    assert prepared["max_workers"] == len(CLUSTER["provider"]["worker_ips"])


@pytest.mark.parametrize("misspelt", ["setup_command", "head_start_ray_command", "file_mount"])
def test_ray_up_refuses_a_misspelt_field(misspelt: str) -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(ValidationError, match=misspelt):
        validate_config(prepare_config(CLUSTER | {misspelt: []}))


def test_the_pool_is_no_ones_root_and_its_token_is_a_file() -> None:
    assert CLUSTER["auth"]["ssh_user"] not in {
        "root",
        "ubuntu",
        "admin",
    }  # those of images become root without asking
    assert CLUSTER["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert "docker" not in CLUSTER


def test_versions_of_ray_agree() -> None:
    pins = dict(
        line.split("==")
        for line in (INFRA / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    cluster = yaml.safe_load((INFRA / "kuberay" / "raycluster.yaml").read_text(encoding="utf-8"))
    assert cluster["spec"]["rayVersion"] == pins["ray"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)
    assert version is not None
    images = {f"amc-{name}:{version[1]}" for name in ("platform", "mlflow")}
    named = {
        found for path in INFRA.rglob("*.yaml") for found in re.findall(r"amc-\w+:[\d.]+", path.read_text())
    }
    assert named == images


def test_what_jobs_are_submitted_with_is_what_the_manifests_make() -> None:
    """The names in the targets of `amc submit` and those of this folder are one set of names."""
    for path in (INFRA / "clusters").glob("*.yaml"):
        target = yaml.safe_load(path.read_text(encoding="utf-8"))
        if target["kind"] != "kuberay":
            continue
        cluster = yaml.safe_load((INFRA / "kuberay" / "raycluster.yaml").read_text(encoding="utf-8"))
        group = cluster["spec"]["workerGroupSpecs"][0]
        assert target["labels"] == group["labels"]
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert target["image"] == container["image"]
        assert target.get("user") == pod["securityContext"]["runAsUser"]
        assert target["node_selector"] == pod["nodeSelector"]
        claims = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["volumes"]
            if "persistentVolumeClaim" in volume
        }
        assert {volume["claim"] for volume in target["volumes"]} <= claims
        wanted = {
            variable["name"]: variable.get("valueFrom", {}).get("secretKeyRef")
            for variable in container["env"]
        }
        for name, reference in target["secrets"].items():
            assert {"name": reference["secret"], "key": reference["key"]} == wanted[name]
