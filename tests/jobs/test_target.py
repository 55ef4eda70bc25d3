"""Targets: what a file of `infra/clusters/` may say."""

from pathlib import Path

import pytest
import yaml

from amc_models.errors import InputError
from amc_platform.jobs.target import FOLDER, KINDS, AnyTarget, RayTarget, read_target, target_of

RAY = {"kind": "ray", "address": "http://127.0.0.1:8265", "python": "/opt/python"}
WORKERS = {"replicas": 2, "cpus": "8", "memory": "64Gi"}
KUBERAY = {
    "kind": "kuberay",
    "image": "amc:1",
    "python": "/opt/python",
    "workers": WORKERS,
}


def read(folder: Path, fields: dict[str, object]) -> AnyTarget:
    path = folder / "there.yaml"
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return read_target(str(path), folder)


def test_the_targets_of_the_repository_are_valid_and_of_every_kind(repository: Path) -> None:
    names = [path.stem for path in (repository / FOLDER).glob("*.yaml")]
    assert {read_target(name, repository).kind for name in names} == set(KINDS)


def test_an_unknown_target_is_told_the_nearest(repository: Path) -> None:
    with pytest.raises(InputError, match=r"--to slrum: no such target.*did you mean slurm"):
        read_target("slrum", repository)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({**RAY, "adress": "x"}, r"there.yaml:4: adress: no such field; did you mean address\?"),
        ({**RAY, "kind": "rey"}, r"there.yaml:1: kind: 'rey' is no choice here; did you mean ray\?"),
        ({"address": "x"}, "kind: missing; choose local, ray, slurm, kuberay"),
        ({**RAY, "python": "python"}, "python: 'python' is not absolute"),
        (
            {**RAY, "address": "http://user:word@head:8265"},
            "address: .*must match pattern|address: .*does not fit",
        ),
        (
            {**KUBERAY, "workers": {**WORKERS, "replica": 2}},
            r"workers.replica: no such field; did you mean replicas\?",
        ),
        ({**KUBERAY, "env": {"MLFLOW_TRACKING_PASSWORD": "x"}}, "looks like a secret; name where it is kept"),
        ({**KUBERAY, "user": 0}, "user: must be greater than 0"),
        ({**KUBERAY, "volumes": [{"name": "a", "claim": "b", "mount": "c"}]}, "'c' is not absolute"),
    ],
)
def test_a_wrong_field_is_told_with_its_line(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, fields)


def test_what_is_set_there_becomes_overrides(tmp_path: Path) -> None:
    target = read(
        tmp_path, {**RAY, "set": {"cluster.gpus_per_worker": 1, "data": {"table": "/data/t.parquet"}}}
    )
    assert target.overrides == ["cluster.gpus_per_worker=1", 'data.table="/data/t.parquet"']


def test_a_record_gives_the_target_back(tmp_path: Path) -> None:
    target = read(tmp_path, {**RAY, "set": {"seed": 3}})
    assert isinstance(target, RayTarget)
    assert target_of(target.model_dump(mode="json")) == target
