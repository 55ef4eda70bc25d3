"""The nodes of a Ray cluster that workers may be placed on, and how many workers have room there.

The same filters everywhere: what a spec is refused for, how many groups a search starts, when an elastic group grows.
A worker is placed whole: a node with one free core and another with one have no room for a worker of two.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from amc_models.errors import InputError
from amc_platform.spec import ClusterSpec

ACCELERATOR = "accelerator_type:"
"""What Ray puts before the kind of a node's GPUs, in the name of a resource that every such node has."""
_ACCELERATOR_SHARE = 0.001
_LOOK_S = 1.0
# A node that was just started, or a cluster that was just joined, tells what it has a moment later.
_GRACE_S = 2.0
_KINDS_SHOWN = 6


@dataclass(frozen=True)
class Node:
    """A node as far as placing workers goes: all it has, or what is free of it."""

    resources: Mapping[str, float]
    labels: Mapping[str, str]

    def room(self, cluster: ClusterSpec) -> int:
        """Workers of `cluster` that fit here."""
        if any(self.labels.get(key) != value for key, value in cluster.labels.items()):
            return 0
        wanted = resources_of_worker(cluster) | _accelerator(cluster)
        # Shares of a core add up to a whole one only nearly.
        return min(int(self.resources.get(name, 0.0) / amount + 1e-6) for name, amount in wanted.items())

    def __str__(self) -> str:
        """What it offers, in words."""
        amounts = [f"{self.resources.get(name, 0.0):g} {name}" for name in ("CPU", "GPU")]
        kinds = [name.removeprefix(ACCELERATOR) for name in self.resources if name.startswith(ACCELERATOR)]
        # Ray's own labels tell nodes apart that are alike.
        labels = [f"{key}={value}" for key, value in self.labels.items() if not key.startswith("ray.io/")]
        return " ".join([*amounts, *sorted(kinds), *sorted(labels)])


def resources_of_worker(cluster: ClusterSpec) -> dict[str, float]:
    """What Ray reserves for each worker, by its names, the kind of GPU left out."""
    gpus = {"GPU": float(cluster.gpus_per_worker)} if cluster.gpus_per_worker else {}
    return {"CPU": cluster.cpus_per_worker, **gpus}


def _accelerator(cluster: ClusterSpec) -> dict[str, float]:
    kind = cluster.accelerator_type
    return {f"{ACCELERATOR}{kind}": _ACCELERATOR_SHARE} if kind else {}


def room(nodes: Sequence[Node], cluster: ClusterSpec) -> int:
    """Workers of `cluster` that fit on `nodes`."""
    return sum(node.room(cluster) for node in nodes)


def wanted(cluster: ClusterSpec) -> str:
    """What `cluster` asks for, in words."""
    workers = f"{cluster.least} worker{'s' * (cluster.least > 1)}"
    amounts = [f"{amount:g} {name}" for name, amount in resources_of_worker(cluster).items()]
    filters = [f"{key}={value}" for key, value in cluster.labels.items()]
    kind = [cluster.accelerator_type] if cluster.accelerator_type else []
    return f"{workers} of {' '.join([*amounts, *kind, *filters])}"


def described(nodes: Sequence[Node]) -> str:
    """What there is, in words: how many nodes of each kind."""
    kinds = Counter(map(str, nodes)).most_common()
    shown = [f"{count} node{'s' * (count > 1)} of {kind}" for kind, count in kinds[:_KINDS_SHOWN]]
    others = sum(count for _, count in kinds[_KINDS_SHOWN:])
    return ", ".join([*shown, *([f"{others} other nodes"] if others else [])]) or "no node"


def lacking(nodes: Sequence[Node], cluster: ClusterSpec) -> str:
    """What is wrong with asking for `cluster` where there are `nodes`, with the remedy; empty where it fits."""
    there = room(nodes, cluster)
    if there >= cluster.least:
        return ""
    fields = "cluster.workers" if there else _unmet(nodes, cluster)
    return (
        f"cluster: the Ray cluster has room for {there} of {wanted(cluster)}: it is {described(nodes)}; "
        f"change {fields}, join more nodes, or let cluster.wait say how long to wait for them"
    )


def _unmet(nodes: Sequence[Node], cluster: ClusterSpec) -> str:
    """The field that no node meets by itself, else all that were asked for."""
    fields = {
        "cluster.pool": {"pool": None},
        "cluster.accelerator_type": {"accelerator_type": None},
        "cluster.gpus_per_worker": {"gpus_per_worker": 0},
        "cluster.cpus_per_worker": {"cpus_per_worker": 1e-3},
    }
    for field, without in fields.items():
        other = cluster.model_copy(update=without)
        if other != cluster and room(nodes, other):
            return field
    return "what workers are to be placed on"


def nodes_there() -> list[Node]:
    """All nodes that are alive, with all that they have."""
    import ray

    return [Node(node["Resources"], node["Labels"]) for node in ray.nodes() if node["Alive"]]


def nodes_free() -> list[Node]:
    """The same nodes, with what is free of them just now: others may use the cluster too."""
    import ray
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node()
    return [Node(free.get(node["NodeID"], {}), node["Labels"]) for node in ray.nodes() if node["Alive"]]


def check_room(cluster: ClusterSpec, tell: Callable[[str], None]) -> None:
    """Refuse what the cluster has no nodes for, after `cluster.wait`; `tell` hears what is waited for.

    Raises InputError.
    """
    if not _lacks(cluster, time.monotonic() + _GRACE_S):
        return
    if cluster.wait is False:
        raise InputError(lacking(nodes_there(), cluster))
    began, told = time.monotonic(), ""
    with _asked_for(cluster):
        while problem := lacking(nodes := nodes_there(), cluster):
            left_s = began + cluster.wait - time.monotonic()
            if left_s < 0:
                raise InputError(f"{problem} (waited {cluster.wait:g} s)")
            if told != (told := described(nodes)):
                tell(f"waiting up to {max(left_s, 0):.0f} s for {wanted(cluster)}; there is {told}")
            time.sleep(_LOOK_S)


def _lacks(cluster: ClusterSpec, until: float) -> bool:
    while lacking(nodes_there(), cluster):
        if time.monotonic() > until:
            return True
        time.sleep(0.2)
    return False


@contextmanager
def _asked_for(cluster: ClusterSpec) -> Iterator[None]:
    """Let Ray know meanwhile what is wanted: a cluster that adds nodes by need must see the need."""
    from ray.util.placement_group import placement_group, remove_placement_group

    bundle = resources_of_worker(cluster) | _accelerator(cluster)
    group = placement_group(
        [bundle] * cluster.least,
        strategy=cluster.placement.upper(),
        bundle_label_selector=[cluster.labels] * cluster.least if cluster.labels else [],
    )
    try:
        yield
    finally:
        remove_placement_group(group)
