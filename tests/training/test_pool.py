"""Room for workers, and what is said where there is none; the nodes are made up."""

import pytest

from amc_platform.spec import ClusterSpec
from amc_platform.training.pool import Node, described, lacking, room

LABELS = {"pool": "a40", "ray.io/node-id": "1f"}
GPUS = Node({"CPU": 8.0, "GPU": 2.0, "accelerator_type:A40": 1.0, "memory": 1e9}, LABELS)
CORES = Node({"CPU": 16.0}, {"zone": "north"})
NODES = [GPUS, CORES, CORES]


def cluster(**fields: object) -> ClusterSpec:
    return ClusterSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "workers"),
    [
        ({}, 40),
        # A worker is placed whole: 8 + 16 + 16 cores are room for two of 12, not for three.
        ({"cpus_per_worker": 12.0}, 2),
        ({"cpus_per_worker": 0.1}, 400),
        ({"gpus_per_worker": 1}, 2),
        ({"gpus_per_worker": 2}, 1),
        ({"pool": "a40"}, 8),
        ({"pool": "zone=north"}, 32),
        ({"pool": "pool=a40", "gpus_per_worker": 1}, 2),
        ({"pool": "zone=south"}, 0),
        ({"accelerator_type": "A40"}, 8),
        ({"accelerator_type": "H100"}, 0),
        ({"pool": "zone=north", "gpus_per_worker": 1}, 0),
    ],
)
def test_room_is_counted_by_node_and_filter(fields: dict[str, object], workers: int) -> None:
    assert room(NODES, cluster(**fields)) == workers


@pytest.mark.parametrize(
    ("fields", "wanted", "remedy"),
    [
        ({"workers": 4, "gpus_per_worker": 1}, "2 of 4 workers of 1 CPU 1 GPU", "cluster.workers"),
        (
            {"workers": 1, "accelerator_type": "H100", "gpus_per_worker": 1},
            "0 of 1 worker of 1 CPU 1 GPU H100",
            "cluster.accelerator_type",
        ),
        ({"pool": "b40"}, "0 of 1 worker of 1 CPU pool=b40", "cluster.pool"),
        ({"gpus_per_worker": 4}, "0 of 1 worker of 1 CPU 4 GPU", "cluster.gpus_per_worker"),
        ({"cpus_per_worker": 17.0}, "0 of 1 worker of 17 CPU", "cluster.cpus_per_worker"),
        (
            {"workers": {"min": 3, "max": 6}, "pool": "a40", "gpus_per_worker": 1},
            "2 of 3 workers of 1 CPU 1 GPU pool=a40",
            "cluster.workers",
        ),
    ],
)
def test_one_line_says_what_was_asked_for_what_is_there_and_what_to_change(
    fields: dict[str, object], wanted: str, remedy: str
) -> None:
    assert lacking(NODES, cluster(**fields)) == (
        f"cluster: the Ray cluster has room for {wanted}: it is 2 nodes of 16 CPU 0 GPU zone=north, "
        f"1 node of 8 CPU 2 GPU A40 pool=a40; change {remedy}, join more nodes, or let cluster.wait say how long to "
        "wait for them"
    )


def test_what_fits_lacks_nothing() -> None:
    assert lacking(NODES, cluster(workers=2, gpus_per_worker=1, pool="a40", accelerator_type="A40")) == ""


def test_many_kinds_of_nodes_stay_one_line() -> None:
    assert described([]) == "no node"
    text = described([Node({"CPU": float(cores)}, {}) for cores in range(1, 10)])
    assert text.count("1 node of") == 6
    assert text.endswith("3 other nodes")


def test_a_pool_is_a_label() -> None:
    assert cluster(pool="a40").labels == {"pool": "a40"}
    assert cluster(pool="ray.io/market-type=spot").labels == {"ray.io/market-type": "spot"}
    assert cluster().labels == {}
    for wrong in ("", "in(a, b)", "!a40", "a=b=c", "-a"):
        with pytest.raises(ValueError, match="is no label; write a name"):
            cluster(pool=wrong)


def test_waiting_is_a_number_of_seconds_or_false() -> None:
    assert cluster().wait is False
    assert cluster(wait=60).wait == 60.0
    for wrong in (True, 0, -1.0, "soon"):
        with pytest.raises(ValueError, match="is no time to wait; write seconds, or false"):
            cluster(wait=wrong)


def test_elastic_counts_with_the_same_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    from amc_platform.training import worker

    monkeypatch.setattr(worker, "nodes_free", lambda: NODES)
    monkeypatch.setattr(worker, "nodes_there", lambda: NODES)
    elastic = cluster(workers={"min": 1, "max": 16}, gpus_per_worker=1, pool="a40")
    assert worker._fits(elastic, 2)
    assert not worker._fits(elastic, 3)
    assert worker.groups_that_fit(elastic) == 2
    assert worker.room_for_another(elastic)
    assert not worker.room_for_another(cluster(pool="b40"))
