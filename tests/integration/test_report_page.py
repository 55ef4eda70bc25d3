"""The page in a real browser: it renders, its pictures load, it fits a phone, and it asks no network."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amc_platform.data.boxes import Box
from amc_platform.evaluation.comparison import compare_outcomes
from amc_platform.evaluation.gallery import Shot
from amc_platform.evaluation.groups import groups_of_table
from amc_platform.evaluation.hits import Hit
from amc_platform.evaluation.protocol import Protocol
from amc_platform.evaluation.scored_phrases import ScoredPhrases
from amc_platform.evaluation.scores import score_table
from amc_platform.reporting.content import Contrast, Curve, GalleryColumn, PageData, Series
from amc_platform.reporting.page import write_page
from amc_platform.reporting.table import ResultRow

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine: install `chromium` to see the page"
)

# Added to a copy of the page only: what the browser itself says of it, written where --dump-dom shows it.
PROBE = """
<script>
addEventListener("load", () => {
  const pictures = [...document.images];
  const loaded = pictures.filter((picture) => picture.complete && picture.naturalWidth === 256).length;
  const page = document.documentElement;
  const asked = performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:")).length;
  const paths = [...document.querySelectorAll("#curves path")].filter((path) => path.getTotalLength() > 0).length;
  document.body.dataset.probe = [loaded, pictures.length, page.scrollWidth - innerWidth, asked, paths].join(" ");
});
</script>
"""


def shots(hit: bool) -> tuple[Shot, ...]:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (40, 60, 90)).save(stream, "PNG")
    heatmap = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    texts = ("a small red star", "the green ring on the left")
    return tuple(
        Shot(
            Hit(
                text,
                0,
                text,
                "attribute",
                "",
                "test",
                True,
                (Box(8, 8, 24, 24),),
                (64, 64),
                (16, 16),
                hit,
                1.0,
            ),
            stream.getvalue(),
            heatmap,
        )
        for text in texts
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = {name: shots(hit) for name, hit in (("base", False), ("control", False), ("amc", True))}
    phrases = ScoredPhrases([one.hit for one in columns["amc"]], groups_of_table)
    found = {
        name: np.stack([phrases.outcomes([one.hit for one in row])] * 3) for name, row in columns.items()
    }
    contrasts = tuple(
        Contrast(f"amc − {name}", name, compared, {group: one.p for group, one in compared.items()})
        for name in ("control", "base")
        if (compared := compare_outcomes(phrases, found["amc"], found[name], draws=10))
    )
    data = PageData(
        title="scenes/effect",
        claim="AMC moves the heatmap into the region.",
        command="amc run experiments/scenes/effect.yaml",
        rows=tuple(ResultRow(name, score_table(phrases, row)) for name, row in found.items()),
        protocol=Protocol.named("scenes"),
        reference="amc",
        contrasts=contrasts,
        gallery=tuple(GalleryColumn(name, of_row) for name, of_row in columns.items()),
        curves=(Curve("Attention mask loss", (Series("amc", ((0, 0.6), (50, 0.3), (100, 0.1))),)),),
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, data)
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
    return path


def opened(page: Path, profile: Path, width: int) -> str:
    """The page's DOM after it has loaded in a window of `width` px."""
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        f"--user-data-dir={profile}",
        f"--window-size={width},900",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_opens(page: Path, tmp_path: Path, width: int) -> None:
    dom = opened(page, tmp_path, width)
    assert "AMC moves the heatmap into the region." in dom
    assert "the green ring on the left" in dom
    assert "100.0<small>± 0.0</small>" in dom
    probe = re.search(r'data-probe="([^"]+)"', dom)
    assert probe is not None, "the page did not finish loading"
    loaded, pictures, overflow, asked, paths = map(int, probe.group(1).split())
    # Two phrases: the image and three heatmaps each.
    assert (loaded, pictures) == (8, 8)
    assert overflow <= 0
    assert asked == 0
    assert paths == 1
