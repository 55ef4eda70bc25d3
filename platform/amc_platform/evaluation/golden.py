"""Recorded results of the published evaluation code beside ours (`cases` of `eval_cases.json`)."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from amc_models.benchmarks.verdict import FLOAT32, Verdict, close, equal
from amc_platform.data.boxes import Box
from amc_platform.evaluation.box_recall import best_proposal, box_score, pixel_iou, recall_hit
from amc_platform.evaluation.pointing import is_hit, points, upsampled
from amc_platform.evaluation.protocol import Protocol


def pointing_verdicts(cases: list[dict[str, Any]], maps: dict[str, Tensor]) -> Iterator[Verdict]:
    """Points, hits and box recall of each case, `maps` holding map_I for case I."""
    for case in cases:
        yield from _pointing(f"eval_cases/{case['i']}", case, maps[f"map_{case['i']}"])


def _pointing(case: str, facts: dict[str, Any], heatmap: Tensor) -> Iterator[Verdict]:
    width, height = facts["width"], facts["height"]
    protocol = Protocol.named("published-refcoco-plus")
    point = points(heatmap[None], width, height)[0]
    full = upsampled(heatmap[None], width, height)[0]
    truth = _xywh(facts["gt_box_xywh"])
    yield equal(case, "point_xy", list(point), facts["point_xy"])
    yield close(case, "max_value", float(full.max()), facts["max_value"])
    yield equal(case, "pointing_hit", is_hit(point, [truth], protocol), facts["pointing_hit"])
    boxes = [Box(*box) for box in facts["flickr_boxes_xyxy"]]
    flickr = is_hit(point, boxes, Protocol.named("published-flickr30k"))
    yield equal(case, "flickr_hit", flickr, facts["flickr_hit"])
    proposals = [_xywh(box) for box in facts["dets_xywh"]]
    largest = max(abs(score) for score in facts["det_scores"])
    for index, (proposal, recorded) in enumerate(zip(proposals, facts["det_scores"], strict=True)):
        # Sums of float32 pixels of both signs: exact up to the largest of them.
        deviation = abs(box_score(full, proposal) - recorded)
        yield Verdict(case, f"det_scores/{index}", deviation, 10 * FLOAT32 * largest)
    if max(facts["det_scores"]) <= 0:
        # The published loop kept the previous phrase's box here; ours has none, and a miss.
        yield equal(case, "pred_box", best_proposal(full, proposals), None)
        yield equal(case, "recall1_hit", recall_hit(full, proposals, truth), False)
        return
    chosen = best_proposal(full, proposals)
    yield equal(case, "pred_box", chosen, _xywh(facts["pred_box"]))
    if chosen is not None:
        yield close(case, "iou_pred", pixel_iou(chosen, truth), facts["iou_pred"])
    yield equal(case, "recall1_hit", recall_hit(full, proposals, truth), facts["recall1_hit"])


def _xywh(box: list[float]) -> Box:
    x, y, width, height = box
    return Box(x, y, x + width, y + height)
