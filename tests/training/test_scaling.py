"""Bytes that are sent equal the formula's; the projection is arithmetic that is done here by hand."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from amc_models.config import AlbefConfig
from amc_platform.training.distributed import WorkerGroup
from amc_platform.training.scaling.loop import Loop, Sizes, Turn, flop_per_pair
from amc_platform.training.scaling.projection import Cluster, Step, markdown, project

ROOT = Path(__file__).resolve().parents[2]
SIZES = Sizes("small", 2, 2, "small")


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": "2"}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = Loop(WorkerGroup.current(), SIZES).take(Turn("traffic"))
    Path(f"{folder}/{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


def test_what_is_sent_is_what_the_formula_says(tmp_path: Path) -> None:
    spawn(worker, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for precision, size in (("fp32", 4), ("bf16", 2)):
            counted = found[precision]["counted"]
            assert counted == found[precision]["formula"]
            # 4 pairs, two features of 64 numbers each; and nothing else is sent, no barrier among it.
            assert counted["allgather_"] == 2 * 4 * AlbefConfig.preset("small").embedding_size * 4
            assert (counted["allreduce_"] - 8) % size == 0
            assert counted.keys() == {"allreduce_", "allgather_"}
        assert found["fp32"]["counted"]["allreduce_"] - 8 == 2 * (found["bf16"]["counted"]["allreduce_"] - 8)


STEP = Step(buckets=[(0.5, 40_000_000), (1.0, 10_000_000)], flop_per_pair=1e12, feature_bytes_per_pair=1000)
EVEN = Cluster(peak_flop_per_s=1e14, utilisation=0.5, host_s=0.01, node_bytes_per_s=1e9, latency_s=0.0)


def test_a_bucket_is_sent_when_it_is_ready_and_the_link_is_free() -> None:
    # Two workers: every link carries 2 * 1/2 of the bytes. Passes: 5 * 1e12 / 5e13 = 0.1 s.
    made = project(STEP, EVEN, 2, 5, "fp32")
    assert made.compute_s == pytest.approx(0.1)
    # From 0.05 s the first takes 0.04 s, the second is ready at 0.1 s and takes 0.01 s; features 5000 B.
    assert made.exposed_s == pytest.approx(0.01 + 5e-6)
    assert made.transfer_s == pytest.approx(0.05 + 5e-6)
    assert made.efficiency == pytest.approx(0.1 / 0.110005)
    # With one pair the passes take 0.02 s and the link is busy from 0.01 s to 0.06 s.
    assert project(STEP, EVEN, 2, 1, "fp32").exposed_s == pytest.approx(0.04 + 1e-6)
    assert project(STEP, EVEN, 2, 1, "bf16").exposed_s == pytest.approx(0.015 + 1e-6)


def test_a_host_that_is_slower_than_the_kernels_counts_as_loss() -> None:
    slow = replace(EVEN, host_s=0.2)
    made = project(STEP, slow, 2, 5, "fp32")
    assert made.compute_s == 0.2
    assert made.efficiency == pytest.approx(0.2 / (0.21 + 5e-6))
    assert made.utilised == pytest.approx(0.1 / (0.21 + 5e-6))


def test_the_slowest_link_counts() -> None:
    cluster = Cluster(node_bytes_per_s=12e9, network_gbit_per_s=100.0, network_share=0.9)
    assert cluster.bytes_per_s(8) == 12e9
    assert cluster.bytes_per_s(16) == 11.25e9
    assert Cluster(network_gbit_per_s=25.0).bytes_per_s(64) == pytest.approx(2.8125e9)
    assert cluster.delay_s(16) == pytest.approx(8 * 30e-6)


def test_operations_are_counted_without_content() -> None:
    assert flop_per_pair(AlbefConfig.preset("small")) == pytest.approx(0.82e9, rel=0.05)


def test_the_tables_of_the_document_are_what_the_command_prints() -> None:
    measured = json.loads((ROOT / "infra" / "scaling.json").read_text())
    assert markdown(measured["profile"]) in (ROOT / "infra" / "scaling.md").read_text()
    assert measured["equal"]
    assert measured["profile"]["network"] == "base"
