import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amc_models.errors import InputError
from amc_platform.data.boxes import Box
from amc_platform.evaluation.comparison import compare_outcomes
from amc_platform.evaluation.gallery import Shot
from amc_platform.evaluation.groups import groups_of_table
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.protocol import Protocol
from amc_platform.evaluation.scored_phrases import ScoredPhrases
from amc_platform.evaluation.scores import score_table
from amc_platform.reporting.charts import HEIGHT, LEFT, WIDTH, layout, ticks
from amc_platform.reporting.content import Contrast, Curve, GalleryColumn, PageData, Series
from amc_platform.reporting.figure import write_figure
from amc_platform.reporting.gallery import side_by_side, telling
from amc_platform.reporting.page import render_page, write_page
from amc_platform.reporting.report import render_markdown
from amc_platform.reporting.table import ResultRow


def shot(name: str, kind: str = "attribute", *, hit: bool = True, hard: bool = False) -> Shot:
    stream = io.BytesIO()
    Image.new("RGB", (32, 24), (90, 90, 120)).save(stream, "PNG")
    heatmap = np.eye(4, dtype=np.float32)
    box = Box(4, 4, 12, 12)
    return Shot(
        Hit(name, 0, f"the <b> {name}", kind, "", "test", hard, (box,), (32, 24), (8, 8), hit, 1.0),
        stream.getvalue(),
        heatmap,
    )


def content() -> PageData:
    base = [shot("a", hit=False), shot("b", "region", hit=False)]
    amc = [shot("a"), shot("b", "region")]
    hits = {"base": [one.hit for one in base], "amc": [one.hit for one in amc]}
    phrases = ScoredPhrases(hits["base"], groups_of_table)
    found = {name: phrases.outcomes(of_row)[None] for name, of_row in hits.items()}
    compared = compare_outcomes(phrases, found["amc"], found["base"], draws=10)
    return PageData(
        title="scenes/effect & more",
        claim="AMC grounds <most> phrases.",
        command="amc run effect.yaml",
        rows=tuple(ResultRow(name, score_table(phrases, row)) for name, row in found.items()),
        protocol=Protocol.named("scenes"),
        baselines={"random object": {"region": 19.5}},
        reference="amc",
        contrasts=(
            Contrast("amc − base", "base", compared, {group: one.p for group, one in compared.items()}),
        ),
        gallery=(GalleryColumn("base", tuple(base)), GalleryColumn("amc", (amc[0],))),
        curves=(Curve("Attention mask loss", (Series("amc", ((0, 1.0), (10, 0.5))),)),),
        facts=(("data", "scenes 0123456789abcdef"),),
    )


def test_a_page_says_all_and_asks_for_nothing(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", content())
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (
        "scenes/effect &amp; more",
        "AMC grounds &lt;most&gt; phrases.",
        "amc run effect.yaml",
        Protocol.named("scenes").hash,
        "0123456789abcdef",
        "19.5",
        "random object",
        "amc − base",
        "+100.0",
        "Attention mask loss",
        "the &lt;b&gt; a",
    ):
        assert text in page, text
    assert "http" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    # Two images, two heatmaps of the base and one of AMC, whose second is missing.
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 5
    sizes = {Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in pictures}
    assert sizes == {(256, 192)}
    assert page.count('class="none"') == 1
    assert page.count("is-hit") - page.count(".is-hit") == 1
    assert page.count("is-miss") - page.count(".is-miss") == 2


def test_a_page_without_gallery_and_curves_leaves_them_out() -> None:
    page = render_page(replace(content(), gallery=(), curves=(), contrasts=(), baselines={}))
    assert 'id="gallery"' not in page
    assert 'id="curves"' not in page
    assert "without a network" not in page


def test_the_report_as_markdown() -> None:
    text = render_markdown(content())
    assert text.startswith("# scenes/effect & more\n\nAMC grounds <most> phrases.\n\n")
    assert "| amc | 100.0 (100–100) | 100.0 (100–100) | 100.0 (100–100) | 1 |" in text
    # Two images, both for AMC: t = sqrt(2) with one degree of freedom.
    assert "| all | +100.0 | +100.0 to +100.0 | 0.39 | n.s. | 2 |" in text
    line = "| base | all | 0.0 | – | 1 | 2 | 0.0 to 0.0 | +100.0 | +100.0 to +100.0 | 0.39 | n.s. |"
    assert line in text
    assert "- data: scenes 0123456789abcdef\n" in text
    assert "± is" not in text
    assert "a range is the 95 % interval" in text


def test_phrases_stand_beside_themselves() -> None:
    lines = side_by_side(content().gallery)
    assert [line.first.hit.image_id for line in lines] == ["a", "b"]
    assert [one is not None for one in lines[0].shots] == [True, True]
    assert [one is not None for one in lines[1].shots] == [True, False]


def test_a_picture_shows_every_kind_and_hard_ones_first() -> None:
    column = GalleryColumn(
        "amc",
        (shot("a"), shot("b", hard=True), shot("c", "region"), shot("d", hard=True), shot("e", "region")),
    )
    lines = side_by_side([column])
    assert [line.first.hit.image_id for line in telling(lines, 3)] == ["b", "c", "d"]
    assert len(telling(lines, 9)) == 5


def test_the_figure_has_a_row_a_phrase_and_a_column_a_row(tmp_path: Path) -> None:
    write_figure(tmp_path / "figure.png", content().gallery, side=64)
    with Image.open(tmp_path / "figure.png") as picture:
        size = picture.size
    # Margins 28, text 190, head 44, gaps 14; image, base and amc; two phrases.
    assert size == (2 * 28 + 190 + 3 * (64 + 14), 2 * 28 + 44 + 2 * (64 + 14) - 14)
    with pytest.raises(InputError, match="gallery is empty"):
        write_figure(tmp_path / "none.png", [])
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1000, [0, 250, 500, 750, 1000]),
        (0.31, 0.64, [0.3, 0.4, 0.5, 0.6, 0.7]),
        (-1, 2.9, [-1, 0, 1, 2, 3]),
        (5, 5, [5, 7.5, 10]),
        (0, 0, [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    found = ticks(low, high, 4)
    assert found[0] <= low
    assert found[-1] >= high
    if low != high or low == 0:
        assert found == expected


def test_a_chart_spans_its_box() -> None:
    curve = Curve("loss", (Series("amc", ((0, 0.0), (5, float("nan")), (10, 4.0))),))
    chart = layout(curve, ["base", "amc"])
    assert chart is not None
    (line,) = chart.lines
    assert line.colour == 1
    assert line.path == f"M{LEFT:.1f} {HEIGHT - 24:.1f} L{WIDTH - 10:.1f} 10.0"
    assert [tick.label for tick in chart.y_ticks] == ["0", "1", "2", "3", "4"]
    assert layout(Curve("loss", ()), []) is None


def test_a_long_curve_is_thinned_to_averages() -> None:
    points = tuple((step, float(step % 2)) for step in range(240))
    chart = layout(Curve("loss", (Series("amc", points),)), ["amc"])
    assert chart is not None
    assert chart.lines[0].path.count("L") == 119
    assert len({point.split(" ")[1] for point in chart.lines[0].path[1:].split(" L")}) == 1
