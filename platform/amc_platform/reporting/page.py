"""The page: one HTML file that holds its style and its pictures, and asks no network for anything."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from amc_platform.evaluation.gallery import draw_shot
from amc_platform.files import write_text
from amc_platform.reporting.charts import HEIGHT, LEFT, RIGHT, WIDTH, Chart, layout
from amc_platform.reporting.content import PageData
from amc_platform.reporting.gallery import GalleryLine, side_by_side
from amc_platform.reporting.report import contrast_texts, legend
from amc_platform.reporting.statements import statement_notes, statement_texts
from amc_platform.reporting.table import ABSENT, beside_text, columns, phrases

TEMPLATE = "page.html.j2"


@dataclass(frozen=True, slots=True)
class _Number:
    """A cell of the page's table: `side` is the spread or the interval, `best` the highest of its column."""

    value: str
    side: str = ""
    best: bool = False


def write_page(path: str | Path, data: PageData) -> None:
    """Render the page to `path` (atomic)."""
    write_text(path, render_page(data))


def render_page(data: PageData) -> str:
    """The page as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("amc_platform.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    groups = columns(data.rows)
    drawn = [series.name for curve in data.curves for series in curve.series]
    # A row keeps the colour of its place in the table, also where an earlier row has no curve.
    names = list(dict.fromkeys([*(row.name for row in data.rows), *drawn]))
    return environment.get_template(TEMPLATE).render(
        data=data,
        groups=groups,
        numbers=_numbers(data, groups),
        baselines=_baselines(data, groups),
        counts=[f"{phrases(data.rows, group):,}" for group in groups],
        legend=legend(data),
        statements=statement_texts(data),
        notes=statement_notes(data),
        contrasts=[(contrast.title, *contrast_texts(data, contrast)) for contrast in data.contrasts],
        lines=[_line(line) for line in side_by_side(data.gallery)],
        charts=_charts(data, names),
        key=[(index, name) for index, name in enumerate(names) if name in drawn],
        box=(WIDTH, HEIGHT, LEFT, RIGHT),
    )


def _numbers(data: PageData, groups: Sequence[str]) -> list[tuple[str, int, list[_Number]]]:
    best = {
        group: max(row.scores[group].percent for row in data.rows if group in row.scores) for group in groups
    }
    lines: list[tuple[str, int, list[_Number]]] = []
    for row in data.rows:
        numbers: list[_Number] = []
        for group in groups:
            score = row.scores.get(group)
            if score is None:
                numbers.append(_Number(ABSENT))
                continue
            wins = len(data.rows) > 1 and score.percent == best[group]
            numbers.append(_Number(f"{score.percent:.1f}", beside_text(score).strip("()"), wins))
        lines.append((row.name, row.seeds, numbers))
    return lines


def _baselines(data: PageData, groups: Sequence[str]) -> list[tuple[str, list[str]]]:
    return [
        (name, [f"{scores[group]:.1f}" if group in scores else ABSENT for group in groups])
        for name, scores in data.baselines.items()
        if any(group in scores for group in groups)
    ]


def _charts(data: PageData, names: Sequence[str]) -> list[Chart]:
    charts = [layout(curve, names) for curve in data.curves]
    return [chart for chart in charts if chart is not None]


@dataclass(frozen=True, slots=True)
class _Panel:
    source: str
    hit: bool


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    kind: str
    hard: bool
    image: str
    panels: list[_Panel | None]


def _line(line: GalleryLine) -> _Line:
    hit = line.first.hit
    panels = [
        None if shot is None else _Panel(_data_uri(draw_shot(shot, caption=False)), shot.hit.hit)
        for shot in line.shots
    ]
    image = _data_uri(draw_shot(line.first, caption=False, heatmap=False))
    return _Line(hit.text, hit.kind, hit.hard, image, panels)


def _data_uri(image: Image.Image) -> str:
    """JPEG: heatmaps are smooth, and as PNG a page of fifty would have megabytes."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
