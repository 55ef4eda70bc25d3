import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.data.table import ImageRow, Phrase
from amc_platform.data.transforms import decode, resize
from amc_platform.evaluation.evaluator import IMAGES_PER_BATCH, evaluate, score_boxes
from amc_platform.evaluation.gallery import draw_shot, gallery_rows, read_gallery, write_gallery
from amc_platform.evaluation.overlay import HIT, MISS, colormap, heatmap_overlay
from amc_platform.evaluation.proposals import BestBoxes, Proposals
from amc_platform.evaluation.protocol import Protocol
from amc_platform.evaluation.shots import take_shots

SCENES = Protocol.named("scenes")
SIDE = 16


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def phrase(text: str, kind: str = "attribute", hard: bool = False) -> Phrase:
    column, row = map(int, text.split()[-1].split(","))
    box = Box(4 * column, 4 * row, 4 * column + 4, 4 * row + 4)
    return Phrase(text, (box,), kind, "", "test", hard)


def row(name: str, phrases: Sequence[Phrase]) -> ImageRow:
    return ImageRow(name, picture((200, 30, 30)), SIDE, SIDE, tuple(phrases), frozenset())


class Reader:
    """A network that reads the cell named by the phrase's last word, and knows nothing else."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []

    def __call__(
        self, images: Float[Tensor, "images 3 h w"], texts: list[list[str]]
    ) -> Float[Tensor, "pairs 4 4"]:
        pairs = [text for of_image in texts for text in of_image]
        self.batches.append((len(images), len(pairs)))
        heatmaps = torch.zeros(len(pairs), 4, 4, requires_grad=True) + 0
        for index, text in enumerate(pairs):
            column, line = map(int, text.split()[-1].split(","))
            heatmaps[index, line, column] = 2.0
        return heatmaps


def load(of: ImageRow) -> Float[Tensor, "3 h w"]:
    return resize(decode(of), SIDE)


def test_each_phrase_is_scored_and_each_image_encoded_once() -> None:
    wrong = Phrase("points at 0,3", (Box(0, 0, 4, 4),), "spatial", "people", "test", True)
    first = row("a", [phrase("at 1,2"), wrong])
    rows = [first, *(row(f"b{number}", [phrase("at 2,1")]) for number in range(IMAGES_PER_BATCH))]
    network = Reader()
    hits = evaluate(network, rows, SCENES, load)
    assert network.batches == [(IMAGES_PER_BATCH, IMAGES_PER_BATCH + 1), (1, 1)]
    assert [(hit.image_id, hit.phrase_index, hit.hit) for hit in hits[:3]] == [
        ("a", 0, True),
        ("a", 1, False),
        ("b0", 0, True),
    ]
    assert [hit.hit for hit in hits[2:]] == [True] * IMAGES_PER_BATCH
    # The cell (1, 2) covers x 4-8 and y 8-12; of its four brightest pixels the first is (5, 9).
    assert hits[0].point == (5, 9)
    assert hits[0].score == 2
    assert (hits[1].kind, hits[1].category, hits[1].hard) == ("spatial", "people", True)
    assert (hits[0].size, hits[0].chosen, hits[0].recall) == ((SIDE, SIDE), None, None)


@given(st.permutations(["at 1,1", "at 2,1", "wrong 2,2", "at 1,2", "wrong 2,1"]))
def test_any_order_of_phrases_gives_the_same_hits(texts: list[str]) -> None:
    def phrase_of(text: str) -> Phrase:
        return phrase(text) if text.startswith("at") else replace(phrase(text), boxes=(Box(0, 0, 2, 2),))

    hits = evaluate(Reader(), [row("a", [phrase_of(text) for text in texts])], SCENES, load)
    assert {hit.text: (hit.point, hit.hit) for hit in hits} == {
        "at 1,1": ((5, 5), True),
        "at 2,1": ((9, 5), True),
        "wrong 2,2": ((9, 9), False),
        "at 1,2": ((5, 9), True),
        "wrong 2,1": ((9, 5), False),
    }


def test_the_best_proposal_is_recalled_or_not() -> None:
    rows = [row("a", [phrase("at 1,2"), phrase("at 3,0")]), row("b", [phrase("at 0,0")])]
    # The first covers the cell (1, 2), the second is of another image, and (3, 0) has no box but a poor one.
    proposals = Proposals({"a": [Box(4, 8, 8, 12), Box(8, 0, 16, 8)], "c": [Box(0, 0, 4, 4)]})
    hits = evaluate(Reader(), rows, SCENES, load, proposals=proposals)
    assert [(hit.chosen, hit.recall) for hit in hits] == [
        (Box(4, 8, 8, 12), True),
        # 4 x 4 of 8 x 8 pixels.
        (Box(8, 0, 16, 8), False),
        (None, False),
    ]


def test_a_detector_points_at_the_centre_of_its_box() -> None:
    rows = [row("a", [phrase("at 1,2"), phrase("at 3,0"), phrase("at 0,0")])]
    centre = Protocol.named("box-centre")
    boxes = BestBoxes({("a", "at 1,2"): Box(4, 8, 9, 12), ("a", "at 3,0"): Box(4, 0, 16, 4)})
    first, second, third = score_boxes(rows, boxes, centre)
    assert (first.point, first.hit, first.recall) == ((6.5, 10), True, True)
    # The centre (10, 2) lies left of the box that begins at 12; a third of the box is right.
    assert (second.point, second.hit, second.recall) == ((10, 2), False, False)
    assert (third.point, third.hit, third.chosen, third.recall) == (None, False, None, False)


def test_pixels_reach_the_network_as_fractions() -> None:
    assert load(row("a", [])).amax().item() == pytest.approx(200 / 255)


def test_weights_that_diverged_are_named() -> None:
    def broken(images: Tensor, texts: list[list[str]]) -> Tensor:
        heatmaps = torch.ones(2, 4, 4)
        heatmaps[1, 0, 0] = float("nan")
        return heatmaps

    with pytest.raises(InputError, match=r"the heatmap of 'at 2,2' is not finite"):
        evaluate(broken, [row("a", [phrase("at 1,1"), phrase("at 2,2")])], SCENES, load)


def test_a_missing_heatmap_is_no_shift_of_the_others() -> None:
    with pytest.raises(ValueError, match="each of 2 phrases, got 1"):
        evaluate(
            lambda images, texts: torch.ones(1, 4, 4),
            [row("a", [phrase("at 1,1"), phrase("at 2,2")])],
            SCENES,
            load,
        )


def many_rows() -> list[ImageRow]:
    return [
        row(
            f"image{number}",
            [
                phrase(f"the first of {number} at {number % 4},1", "attribute", hard=number % 2 == 0),
                phrase(f"the second of {number} at {number % 4},2", "spatial"),
            ],
        )
        for number in range(8)
    ]


def test_a_gallery_mixes_kinds_and_hard_ones_and_stays_the_same() -> None:
    rows = many_rows()
    chosen = gallery_rows(rows, 6)
    assert chosen == gallery_rows(rows[::-1], 6)
    assert chosen[:3] == gallery_rows(rows, 3)
    assert all(len(row.phrases) == 1 for row in chosen)
    assert len({row.image_id for row in chosen}) == 6
    kinds = [(row.phrases[0].kind, row.phrases[0].hard) for row in chosen]
    assert kinds == [("attribute", True), ("attribute", False), ("spatial", False)] * 2
    assert gallery_rows(rows, 0) == []
    assert len(gallery_rows(rows, 100)) == 16


def test_a_gallery_is_read_as_written(tmp_path: Path) -> None:
    shots = take_shots(Reader(), gallery_rows(many_rows(), 3), SCENES, load)
    paths = write_gallery(tmp_path / "gallery", shots)
    assert [path.name[:12] for path in paths] == ["01-attribute", "02-attribute", "03-spatial-t"]
    assert paths[0].name.startswith("01-attribute-hard-the-first-of")
    assert sorted(path.name for path in (tmp_path / "gallery").iterdir()) == sorted(
        [*(path.name for path in paths), "gallery.parquet"]
    )
    again = read_gallery(tmp_path / "gallery")
    assert [shot.hit for shot in again] == [shot.hit for shot in shots]
    assert [shot.image for shot in again] == [shot.image for shot in shots]
    assert all(np.array_equal(one.heatmap, two.heatmap) for one, two in zip(again, shots, strict=True))
    write_gallery(tmp_path / "gallery", shots[:1])
    assert len(list((tmp_path / "gallery").iterdir())) == 2
    with pytest.raises(InputError, match=r"gallery\.parquet: no such file"):
        read_gallery(tmp_path / "nothing")


def test_a_shot_shows_heat_where_the_map_is_high() -> None:
    (shot,) = take_shots(Reader(), [row("a", [phrase("at 3,0")])], SCENES, load)
    panel = np.asarray(draw_shot(shot, caption=False)).astype(int)
    assert panel.shape == (256, 256, 3)
    # Cold: the image, dimmed. Hot, beside the marker: towards the yellow end of the map.
    assert panel[200, 30].tolist() == pytest.approx([160, 24, 24], abs=3)
    assert panel[20, 240, 1] > 120
    plain = np.asarray(draw_shot(shot, caption=False, heatmap=False)).astype(int)
    assert plain[200, 30].tolist() == pytest.approx([200, 30, 30], abs=3)


def test_the_marker_and_the_frame_stand_where_they_should() -> None:
    image = Image.new("RGB", (64, 64), (0, 0, 0))
    for hit, colour in ((True, HIT), (False, MISS)):
        panel = heatmap_overlay(image, np.zeros((4, 4), np.float32), [Box(16, 16, 48, 48)], (40, 20), "", hit)
        # The centre of pixel (40, 20), four times enlarged.
        assert panel.getpixel((162, 82)) == colour
        assert panel.getpixel((64, 120)) == (255, 255, 255)
        assert panel.getpixel((191, 120)) == (255, 255, 255)


def test_a_smaller_copy_is_drawn_like_the_original() -> None:
    boxes, point = [Box(16, 16, 48, 40), Box(127.8, 95.9, 128, 96)], (40.0, 20.0)
    heatmap = np.zeros((4, 4), np.float32)
    whole = heatmap_overlay(Image.new("RGB", (128, 96)), heatmap, boxes, point, "", hit=True)
    small = heatmap_overlay(
        Image.new("RGB", (64, 48)), heatmap, boxes, point, "", hit=True, original=(128, 96)
    )
    assert np.array_equal(np.asarray(whole), np.asarray(small))
    # The box at the very corner, a part of a pixel, is seen.
    assert whole.getpixel((255, 191)) == (255, 255, 255)


def test_a_caption_grows_with_its_text() -> None:
    image = Image.new("RGB", (64, 48))
    short = heatmap_overlay(image, None, caption="a star")
    long = heatmap_overlay(
        image, None, caption="a small red star above the large green ring on the left side"
    )
    assert short.size == (256, 192 + 29)
    assert long.size == (256, 192 + 46)


def test_colours_run_from_black_to_bright_yellow() -> None:
    colours = colormap(np.array([[0.0, 0.5, 1.0]]))[0].astype(int)
    assert colours[0].tolist() == [0, 0, 4]
    assert colours[2].tolist() == [252, 255, 164]
    assert colours[0].sum() < colours[1].sum() < colours[2].sum()
