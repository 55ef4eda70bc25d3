import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file

from amc_platform.data.boxes import Box
from amc_platform.evaluation.box_recall import best_proposal, box_score, pixel_iou, recall_hit
from amc_platform.evaluation.pointing import is_hit, pointing_target, points, upsampled
from amc_platform.evaluation.protocol import Protocol

SCENES = Protocol.named("scenes")


def box_of(xywh: list[float]) -> Box:
    x, y, w, h = xywh
    return Box(x, y, x + w, y + h)


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    cases = json.loads((shared_dir / "golden" / "eval_cases.json").read_text())["cases"]
    return cases, load_file(shared_dir / "golden" / "eval_maps.safetensors")


def test_points_and_hits_of_the_published_code(golden) -> None:
    cases, maps = golden
    for case in cases:
        heatmap = maps[f"map_{case['i']}"]
        point = pointing_target(heatmap, case["width"], case["height"])
        assert point == tuple(case["point_xy"])
        top = upsampled(heatmap[None], case["width"], case["height"]).max()
        assert float(top) == pytest.approx(case["max_value"], rel=1e-6)
        assert is_hit(point, [box_of(case["gt_box_xywh"])], SCENES) == case["pointing_hit"]
        boxes = [Box(*box) for box in case["flickr_boxes_xyxy"]]
        assert is_hit(point, boxes, Protocol.named("published-flickr30k")) == case["flickr_hit"]


def test_box_recall_of_the_published_code(golden) -> None:
    cases, maps = golden
    carried_over = 0
    for case in cases:
        heatmap = upsampled(maps[f"map_{case['i']}"][None], case["width"], case["height"])[0]
        proposals = [box_of(box) for box in case["dets_xywh"]]
        scores = [box_score(heatmap, proposal) for proposal in proposals]
        assert scores == pytest.approx(case["det_scores"], rel=1e-4, abs=1e-9)
        chosen = best_proposal(heatmap, proposals)
        truth = box_of(case["gt_box_xywh"])
        if max(case["det_scores"]) <= 0:
            # The published loop kept the previous phrase's box here.
            carried_over += 1
            assert chosen is None
            assert not recall_hit(heatmap, proposals, truth)
            continue
        assert chosen is not None
        assert chosen == pytest.approx(box_of(case["pred_box"]))
        assert pixel_iou(chosen, truth) == pytest.approx(case["iou_pred"], abs=1e-9)
        assert recall_hit(heatmap, proposals, truth) == case["recall1_hit"]
    assert carried_over < len(cases)


def test_of_equal_maxima_the_first_row_by_row_is_taken() -> None:
    heatmap = torch.zeros(4, 4)
    heatmap[1, 2] = heatmap[2, 0] = 1
    assert pointing_target(heatmap, 4, 4) == (2, 1)
    assert pointing_target(torch.zeros(4, 4), 64, 48) == (0, 0)


def test_many_maps_point_where_each_points_alone() -> None:
    maps = torch.rand(40, 8, 8, generator=torch.Generator().manual_seed(0))
    assert points(maps, 61, 47) == [pointing_target(heatmap, 61, 47) for heatmap in maps]


SIDES = st.integers(1, 26)
FEW_VALUES = st.sampled_from([0.0, 1.0, 0.75, -0.5])
ANY_VALUES = st.floats(-10, 10, width=32) | st.floats(2.0**-30, 2.0**-20, width=32)
MAPS = st.tuples(SIDES, SIDES).flatmap(
    lambda shape: (
        arrays(np.float32, shape, elements=FEW_VALUES, fill=FEW_VALUES)
        | arrays(np.float32, shape, elements=ANY_VALUES, fill=FEW_VALUES)
    )
)


@given(heatmap=MAPS, width=st.integers(1, 1000), height=st.integers(1, 120), turned=st.booleans())
def test_a_point_is_that_of_the_whole_upsampled_map(
    heatmap: np.ndarray, width: int, height: int, turned: bool
) -> None:
    width, height = (height, width) if turned else (width, height)
    one = torch.from_numpy(heatmap)
    place = int(upsampled(one[None], width, height).argmax())
    assert pointing_target(one, width, height) == (place % width, place // width)


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 16, 24]), st.sampled_from([1, 3, 9]))
def test_smooth_maps_point_where_the_whole_upsampled_map_does(seed: int, grid: int, power: int) -> None:
    coarse = torch.rand(1, 4, 5, 5, generator=torch.Generator().manual_seed(seed))
    maps = torch.nn.functional.interpolate(coarse, (grid, grid), mode="bilinear")[0] ** power
    whole = [divmod(int(one.argmax()), 211) for one in upsampled(maps, 211, 157)]
    assert points(maps, 211, 157) == [(x, y) for y, x in whole]


@given(st.integers(0, 7), st.integers(0, 7), st.integers(2, 6), st.integers(10, 90), st.integers(10, 90))
def test_scaling_an_image_scales_the_point(
    column: int, line: int, factor: int, width: int, height: int
) -> None:
    heatmap = torch.zeros(8, 8)
    heatmap[line, column] = 1
    x, y = pointing_target(heatmap, width, height)
    large_x, large_y = pointing_target(heatmap, factor * width, factor * height)
    # Centres of pixels, to the width of a pixel of the smaller image.
    assert (large_x + 0.5) / factor == pytest.approx(x + 0.5, abs=1)
    assert (large_y + 0.5) / factor == pytest.approx(y + 0.5, abs=1)


def test_a_point_on_the_border_is_outside() -> None:
    box = Box(10, 10, 20, 20)
    inside = [(11, 11), (19, 19), (15, 12)]
    border = [(10, 15), (20, 15), (15, 10), (15, 20)]
    assert all(is_hit(point, [box], SCENES) for point in inside)
    assert not any(is_hit(point, [box], SCENES) for point in border)


def test_union_takes_the_enclosing_box() -> None:
    boxes = [Box(0, 0, 10, 10), Box(20, 20, 30, 30)]
    union = Protocol(name="union", boxes="union")
    assert not is_hit((15, 15), boxes, SCENES)
    assert is_hit((25, 25), boxes, SCENES)
    assert is_hit((15, 15), boxes, union)
    assert not is_hit((15, 15), [], union)


def test_box_score_by_hand() -> None:
    heatmap = torch.arange(16, dtype=torch.float32).reshape(4, 4)
    # Rows 1-2, columns 1-2: 5 + 6 + 9 + 10 = 30, over sqrt(2.5 * 2).
    assert box_score(heatmap, Box(1.2, 1.0, 3.7, 3.0)) == pytest.approx((5 + 6 + 9 + 10) / 5**0.5)
    assert box_score(heatmap, Box(2, 2, 2, 4)) == 0
    assert best_proposal(-heatmap, [Box(0, 0, 4, 4)]) is None


def test_iou_by_hand() -> None:
    # 5 x 10 pixels shared, 100 + 100 - 50 in all.
    assert pixel_iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert pixel_iou(Box(0, 0, 10, 10), Box(0, 0, 10, 10)) == 1
    # One column of pixels is shared, which the published convention takes for none.
    assert pixel_iou(Box(0, 0, 10, 10), Box(9, 0, 19, 10)) == 0


def test_the_maps_of_a_thousand_scenes_take_seconds() -> None:
    maps = torch.rand(7, 8, 8)
    start = time.process_time()
    for _ in range(1000):
        points(maps, 64, 64)
    assert time.process_time() - start < 10
