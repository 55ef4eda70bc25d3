from dataclasses import replace

import pytest
import torch

from amc_platform.evaluation import benchmark
from amc_platform.evaluation.benchmark import EvaluationBenchmark, Run, differences


def test_both_ways_agree_and_are_timed() -> None:
    result = EvaluationBenchmark("small", phrases=3, images=2).run()
    assert result["equal"]
    assert result["points_equal"] + result["points_within_rounding"] == result["points"] == 6
    assert result["deviation"] < 1e-5
    for part in ("network", "end_to_end"):
        measured = result[part]
        assert 0 < measured["fast_s"] < measured["plain_s"]
        assert measured["ratio"] > 1
    assert result["network"]["plain_s"] < result["end_to_end"]["plain_s"]


def test_a_difference_is_found_and_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = benchmark.heatmaps
    monkeypatch.setattr(benchmark, "heatmaps", lambda *arguments: right(*arguments) * 1.001)
    result = EvaluationBenchmark("small").run()
    assert not result["equal"]
    assert result["deviation"] == pytest.approx(1e-3, rel=0.01)
    assert "network" not in result


def test_points_differ_only_where_rounding_decides() -> None:
    (row,) = EvaluationBenchmark("small", images=1)._rows()
    heatmap = torch.zeros(1, 4, 4)
    heatmap[0, 1, 1] = 1
    plain = Run(heatmap, [(187, 140)], 0.0, 0.0)
    # The peak of the cell is flat: pixels side by side differ by less than a thousandth, but by more than 1e-5.
    assert differences(plain, replace(plain, points=[(187, 140)]), [row])["points_equal"] == 1
    far = differences(plain, replace(plain, points=[(300, 200)]), [row])
    assert (far["points_equal"], far["points_within_rounding"], far["equal"]) == (0, 0, False)
    flat = replace(plain, maps=torch.ones(1, 4, 4), points=[(0, 0)])
    near = differences(flat, replace(flat, points=[(3, 2)]), [row])
    assert (near["points_equal"], near["points_within_rounding"], near["equal"]) == (0, 1, True)
