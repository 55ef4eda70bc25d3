import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc_platform.data.boxes import Box, area, center, clamp, contains_point_strict, region_mask

edges = st.floats(-300, 300, allow_nan=False)
boxes = st.builds(Box, edges, edges, edges, edges)
sides = st.integers(1, 90)


def test_clamp_gives_the_recorded_boxes_of_the_published_code(shared_dir: Path) -> None:
    cases = json.loads((shared_dir / "golden" / "eval_cases.json").read_text())["box_clamp"]
    assert len(cases) >= 7
    for case in cases:
        assert list(clamp(Box(*case["box"]), case["w"], case["h"])) == case["out"]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(-5.5, 3.9, 20.2, 700), (0, 3, 20, 200)),
        (Box(150, 50, 160, 60), (99, 50, 100, 60)),
        (Box(-10, -10, -1, -1), (0, 0, 1, 1)),
        (Box(30.7, 20.2, 30.9, 40.8), (30, 20, 30, 40)),
    ],
)
def test_clamp_by_hand(box: Box, expected: tuple[int, ...]) -> None:
    assert clamp(box, 100, 200) == expected


@given(boxes, sides, sides)
def test_a_clamped_box_lies_in_the_image_and_stays_where_it_is(box: Box, width: int, height: int) -> None:
    clamped = clamp(box, width, height)
    assert 0 <= clamped.x1 < width
    assert 0 <= clamped.y1 < height
    assert 1 <= clamped.x2 <= width
    assert 1 <= clamped.y2 <= height
    assert clamp(clamped, width, height) == clamped


def test_area_and_center_by_hand() -> None:
    assert area(Box(1, 2, 4, 6.5)) == 13.5
    assert area(Box(4, 2, 1, 6)) == 0
    assert center(Box(1, 2, 4, 6)) == (2.5, 4)


def test_a_point_on_an_edge_is_outside() -> None:
    box = Box(1, 1, 3, 3)
    assert contains_point_strict(box, 2.0, 2.0)
    assert not any(
        contains_point_strict(box, x, y) for x, y in [(1.0, 2.0), (3.0, 2.0), (2.0, 1.0), (2.0, 3.0)]
    )


def test_region_mask_by_hand() -> None:
    mask = region_mask([Box(0.9, 1.2, 2.9, 9), Box(3, 0, 4, 1)], width=4, height=3)
    assert mask.dtype == np.float32
    assert mask.tolist() == [[0, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


@given(st.lists(boxes, max_size=4), sides, sides)
def test_a_mask_is_one_exactly_in_the_union_of_its_clamped_boxes(
    regions: list[Box], width: int, height: int
) -> None:
    clamped = [clamp(box, width, height) for box in regions]
    expected = [
        [float(any(b.x1 <= x < b.x2 and b.y1 <= y < b.y2 for b in clamped)) for x in range(width)]
        for y in range(height)
    ]
    assert region_mask(regions, width, height).tolist() == expected
