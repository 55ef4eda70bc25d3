"""A cluster of labelled nodes: workers are placed where the spec says, what is not there is refused or waited for."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_experiment import write_experiment

from amc_models.errors import InputError
from amc_platform.data.prepare import prepare_scenes
from amc_platform.search.crew import Crew
from amc_platform.search.dispatch import Dispatcher
from amc_platform.search.driver import ledger_of, ready_plan
from amc_platform.search.plan import make_plan
from amc_platform.spec import ClusterSpec
from amc_platform.training.worker import fit, ray_session

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "include_dashboard": False, "labels": {"zone": "north"}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    a40 = {"accelerator_type:A40": 1}
    cluster.add_node(num_cpus=2, resources=a40, labels={"pool": "a40", "zone": "south"})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def spec(cluster: Any, **fields: object) -> ClusterSpec:
    return ClusterSpec.model_validate({"address": cluster.address, **fields})


def test_what_is_not_there_is_refused_at_once_with_what_is(cluster: Any) -> None:
    began = time.monotonic()
    with (
        pytest.raises(InputError) as refused,
        ray_session(spec(cluster, workers=3, pool="a40", accelerator_type="A40")),
    ):
        pass
    assert time.monotonic() - began < 10
    said = str(refused.value)
    assert "has room for 2 of 3 workers of 1 CPU A40 pool=a40" in said
    assert "1 node of 2 CPU 0 GPU zone=north" in said
    assert "1 node of 2 CPU 0 GPU A40 pool=a40 zone=south" in said
    assert said.count("\n") == 0


def test_no_table_is_made_for_nodes_that_are_not_there(cluster: Any, tmp_path: Path) -> None:
    spec = write_experiment(tmp_path, cluster={"address": cluster.address, "pool": "nowhere"})
    with pytest.raises(InputError, match="has room for 0 of 1 worker"):
        ready_plan(spec, (), fresh=False, progress=None)
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_trial_that_found_no_nodes_is_let_go(cluster: Any, tmp_path: Path) -> None:
    prepare_scenes(tmp_path / "scenes.parquet", train=6, val=2, test=2, unseen=0, workers=1)
    nowhere = {"address": cluster.address, "pool": "nowhere"}
    plan = make_plan(write_experiment(tmp_path, cluster=nowhere, tracking={"kind": "none"}))
    (job,) = plan.jobs
    with ledger_of(plan) as ledger, Crew(plan.experiment.cluster, plan.folder, print) as crew:
        dispatcher = Dispatcher(ledger, crew, plan.settled)
        dispatcher.want(job)
        with pytest.raises(InputError, match="has room for 0 of 1 worker"):
            dispatcher.step()
        # Else the command would wait half a minute for it to save its state.
        assert not dispatcher.busy
        again = ledger.claim(job)
    assert again is not None
    again.lock.release()


# Ray Data warns of what it sets itself when Ray Train imports it.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workers_are_placed_in_their_pool(cluster: Any, tmp_path: Path) -> None:
    def where(config: dict[str, Any]) -> None:
        import ray
        from torch import distributed

        context = ray.get_runtime_context()
        labels = next(node["Labels"] for node in ray.nodes() if node["NodeID"] == context.get_node_id())
        (config["folder"] / str(distributed.get_rank())).write_text(labels["zone"])

    pool = spec(cluster, workers=2, pool="a40", accelerator_type="A40", placement="spread")
    with ray_session(pool):
        fit(where, {"folder": tmp_path}, pool, 2, max_failures=0)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"0": "south", "1": "south"}


def test_a_node_is_waited_for_as_long_as_the_spec_says(cluster: Any) -> None:
    told: list[str] = []
    with (
        pytest.raises(InputError, match=r"0 of 1 worker .* \(waited 1 s\)"),
        ray_session(spec(cluster, pool="late", wait=1.0), told.append),
    ):
        pass
    assert len(told) == 1
    assert told[0].startswith("waiting up to ")

    def pools() -> list[str | None]:
        with ray_session(spec(cluster, pool="late", wait=60.0), told.append):
            import ray

            return [node["Labels"].get("pool") for node in ray.nodes() if node["Alive"]]

    # Nodes are added in the main thread: Ray sets handlers of signals for them.
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pools)
        while len(told) < 2:
            assert not waiting.done(), waiting.exception()
            time.sleep(0.1)
        cluster.add_node(num_cpus=1, labels={"pool": "late"})
        assert "late" in waiting.result(30)
