"""A place to run at, as a file of `infra/clusters/` describes it."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, ValidationError

from amc_models.errors import InputError
from amc_platform.spec.entries import Entry, flatten
from amc_platform.spec.errors import input_error
from amc_platform.spec.suggestions import hint
from amc_platform.spec.values import Section, Word, refuse
from amc_platform.spec.yaml_text import parse

FOLDER = "infra/clusters"
_SECRET_WORDS = ("token", "password", "passwd", "secret", "credential", "apikey", "api_key", "private_key")


def _absolute_there(path: str) -> str:
    if not path.startswith("/"):
        raise refuse("", f"{path!r} is not absolute; a job there starts in another folder")
    return path


def _no_secrets(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if any(word in name.lower() for word in _SECRET_WORDS):
            raise refuse("", f"{name} looks like a secret; name where it is kept, under secrets")
    return variables


AbsoluteThere = Annotated[Word, AfterValidator(_absolute_there)]
"""An absolute path on the machine where the job runs, which need not exist here."""
Amount = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGT]|[KMGT]i)?$")]
"""A quantity of Kubernetes, such as 64Gi."""


class Target(Section):
    """What every kind of target has."""

    set: dict[str, Any] = Field(
        default={},
        description="Fields of the spec that are others there, by dotted path or nested; `--set` goes before them.",
    )

    @property
    def overrides(self) -> list[str]:
        """`set` as `a.b=c`."""
        return [f"{path}={json.dumps(value)}" for path, value in flatten(self.set).items()]


class LocalTarget(Target):
    """A process of its own on this machine, which outlives the terminal."""

    kind: Literal["local"]


class RayTarget(Target):
    """A Ray cluster that runs already, by its Jobs API."""

    kind: Literal["ray"]
    address: str = Field(
        pattern=r"^https?://[^/@\s]+$", description="Of the dashboard, as in http://127.0.0.1:8265."
    )
    python: AbsoluteThere = Field(
        description="Interpreter on the head node, in an environment with the platform's dependencies."
    )
    token_file: Word | None = Field(
        default=None,
        description="File here with the cluster's token; null for RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or "
        "~/.ray/auth_token.",
    )
    env_file: AbsoluteThere | None = Field(
        default=None,
        description="File on the head node with VARIABLE=value lines, such as MLflow's password.",
    )


class SlurmTarget(Target):
    """An allocation of Slurm, in which the job starts a Ray of its own."""

    kind: Literal["slurm"]
    python: AbsoluteThere = Field(description="Interpreter on every node.")
    nodes: PositiveInt = Field(default=1, description="Nodes of the allocation.")
    cpus_per_node: PositiveInt = Field(description="CPU cores of each.")
    gpus_per_node: NonNegativeInt = Field(default=0, description="GPUs of each.")
    gpu_type: Word | None = Field(default=None, description="Type of GPU in Slurm's words, such as a40.")
    memory: Word | None = Field(default=None, description="Memory of each node, as in 200G.")
    time: Word = Field(
        default="24:00:00", pattern=r"^[0-9:-]+$", description="Longest time, as in 1-12:00:00."
    )
    partition: Word | None = Field(default=None, description="Partition.")
    account: Word | None = Field(default=None, description="Account.")
    qos: Word | None = Field(default=None, description="Quality of service.")
    constraint: Word | None = Field(default=None, description="Features that nodes must have.")
    requeue: bool = Field(
        default=True,
        description="Queue the job again when it is preempted or its time is over; it goes on from its checkpoint.",
    )
    grace_s: PositiveInt = Field(
        default=120, description="Seconds before the end at which the job saves where it stands."
    )
    setup: list[Word] = Field(default=[], description="Lines of bash before anything else: module load cuda.")
    env_file: AbsoluteThere | None = Field(
        default=None, description="File on every node with VARIABLE=value lines, such as MLflow's password."
    )


class SecretKey(Section):
    """A key of a Kubernetes Secret that is in the namespace already."""

    secret: Word = Field(description="Name of the Secret.")
    key: Word = Field(description="Key in it.")


class Volume(Section):
    """Storage that all pods share."""

    name: Word = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of the volume in the pods.")
    claim: Word = Field(description="Name of the PersistentVolumeClaim.")
    mount: AbsoluteThere = Field(description="Folder where pods see it.")
    read_only: bool = Field(default=False, description="Whether pods may only read.")


class PodSize(Section):
    """What a pod asks for, and gets at most."""

    cpus: Amount = Field(description="CPU cores.")
    memory: Amount = Field(description="Memory.")


class WorkerPods(PodSize):
    """The pods that train."""

    replicas: PositiveInt = Field(description="Number of them.")
    gpus: NonNegativeInt = Field(default=0, description="GPUs of each.")


class KuberayTarget(Target):
    """A RayJob of KubeRay (1.5.1 or later): a Ray cluster of its own in Kubernetes, gone when the job ends."""

    kind: Literal["kuberay"]
    namespace: Word = Field(default="amc", description="Namespace.")
    context: Word | None = Field(default=None, description="Context of kubectl; null for the current one.")
    image: Word = Field(description="Container image with the platform's dependencies, by an exact tag.")
    python: AbsoluteThere = Field(description="Interpreter in the image.")
    user: PositiveInt = Field(default=10001, description="User and group that containers run as; never root.")
    head: PodSize = Field(default=PodSize(cpus="4", memory="16Gi"), description="The head's pod.")
    workers: WorkerPods = Field(description="The workers' pods.")
    labels: dict[str, str] = Field(
        default={}, description="Ray's labels of the workers' nodes, which cluster.pool of a spec asks for."
    )
    node_selector: dict[str, str] = Field(
        default={}, description="Kubernetes' labels that a worker's node must have."
    )
    tolerations: list[dict[str, Any]] = Field(
        default=[], description="Taints that workers tolerate, in Kubernetes' own words."
    )
    volumes: list[Volume] = Field(default=[], description="Shared storage.")
    env: Annotated[dict[str, str], AfterValidator(_no_secrets)] = Field(
        default={}, description="Environment of all pods, such as NCCL_SOCKET_IFNAME."
    )
    secrets: dict[str, SecretKey] = Field(
        default={}, description="Environment variables whose values are in Secrets."
    )
    service_account: Word | None = Field(default=None, description="Service account of the pods.")
    pull_secrets: list[Word] = Field(default=[], description="Secrets with which the image is pulled.")
    restarts: NonNegativeInt = Field(
        default=3, description="New clusters after one failed; the job goes on from its checkpoint."
    )
    keep_s: NonNegativeInt = Field(
        default=3600, description="Seconds for which pods and logs stay after the end."
    )


AnyTarget = LocalTarget | RayTarget | SlurmTarget | KuberayTarget
KINDS: dict[str, type[AnyTarget]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(AnyTarget)
}


def read_target(name: str, root: Path) -> AnyTarget:
    """The target `name`: `infra/clusters/NAME.yaml` below `root`, or a YAML file by path.

    Raises InputError with file, line and field; an unknown name or field comes with the nearest valid one.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else root / FOLDER / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = sorted(file.stem for file in (root / FOLDER).glob("*.yaml"))
        remedy = hint(name, names) if names else f"write {FOLDER}/{name}.yaml"
        raise InputError(f"--to {name}: no such target ({path}); {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--to {name}: {path} cannot be read ({error}); name a YAML file") from error
    entry = parse(text, str(path))
    if not isinstance(entry.value, dict):
        raise InputError(f"{path}: must be a mapping of fields; write `kind: ray`")
    return _validated(entry, path)


def target_of(fields: dict[str, Any]) -> AnyTarget:
    """The target that a record kept."""
    return KINDS[fields["kind"]].model_validate(fields)


def _validated(entry: Entry, path: Path) -> AnyTarget:
    fields = entry.plain()
    kind = fields.get("kind")
    if kind not in KINDS:
        found = entry.child("kind")
        if found is None:
            raise InputError(f"{path}: kind: missing; choose {', '.join(KINDS)}")
        raise InputError(f"{found.origin.place}: kind: {kind!r} is no choice here; {hint(str(kind), KINDS)}")
    try:
        return KINDS[kind].model_validate(fields)
    except ValidationError as error:
        raise input_error(error, entry, KINDS[kind]) from error
