"""What the report states of trials whose hits are made by hand, in text, Markdown, HTML and JSON."""

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_experiment import write_experiment

from amc_models.errors import InputError
from amc_platform.cli.run import report as report_command
from amc_platform.data.boxes import Box
from amc_platform.data.prepare import prepare_scenes
from amc_platform.data.table import read_rows, write_table
from amc_platform.evaluation.hits import Hit, write_hits
from amc_platform.files import write_json
from amc_platform.reporting.collect import check_report, page_data
from amc_platform.reporting.page import render_page
from amc_platform.reporting.paper import FIGURES
from amc_platform.reporting.report import render_markdown
from amc_platform.reporting.statements import statement_notes, statement_texts, statements, statements_json
from amc_platform.search.plan import Plan, make_plan

IMAGES = 20
HIT = Hit("0", 0, "a star", "attribute", "", "test", True, (Box(1, 1, 3, 3),), (64, 64), (2, 2), True, 1.0)
# Of the first images so many are hit, by each seed.
HITS = {"base": (4, 4), "near": (15, 17), "amc": (16, 16)}


def measured(
    folder: Path,
    *,
    benchmark: str = "scenes",
    split: str = "test",
    paper: str = "",
    report: dict[str, str] | None = None,
) -> Plan:
    """A plan of three rows, two seeds each, all of whose trials are done."""
    table = folder / "scenes.parquet"
    prepare_scenes(table, train=2, val=1, test=2, unseen=0, workers=1)
    if benchmark != "scenes":
        write_table(table, read_rows(table), source={"source": benchmark}, baselines=None)
    rows = [
        {
            "name": name,
            "set": {"training.lr": 0.01 + n},
            **({"paper": paper} if name == "amc" and paper else {}),
        }
        for n, name in enumerate(HITS)
    ]
    spec = write_experiment(
        folder,
        evaluation={"splits": ["test"], "gallery": 0},
        search={"seeds": [0, 1], "list": rows},
        data={"table": str(table), "images_per_batch": 2},
        report=report or {},
    )
    plan = make_plan(spec)
    for row in plan.rows:
        for job, number in zip(row.jobs, HITS[row.name], strict=True):
            write_json(job.model / "config.json", {})
            hits = [replace(HIT, image_id=str(i), hit=i < number) for i in range(IMAGES)]
            write_hits(job.evaluation("test") / "hits.parquet", hits, job.protocol)
    return plan


def test_a_row_is_set_beside_the_last_one(tmp_path: Path) -> None:
    data = page_data(measured(tmp_path), {})
    base, near, amc = (one for one in statements(data) if one.column == "all")
    assert [one.row for one in (base, near, amc)] == ["base", "near", "amc"]
    assert (near.score.percent, near.score.spread) == (80, pytest.approx(50**0.5))
    assert near.score.low < 75 < 85 < near.score.high
    # Twelve images that only AMC hits, with either seed: t = 12 / sqrt(12) with 11 degrees of freedom; two rows.
    assert base.against is not None
    assert base.against.difference == pytest.approx(60)
    assert base.p == pytest.approx(2 * 0.0052922, rel=1e-3)
    assert base.significant is True
    # One seed is better by an image, the other worse by one.
    assert (near.p, near.significant) == (1, False)
    assert (amc.against, amc.p, amc.significant, amc.paper) == (None, None, None, None)


def test_every_form_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = measured(tmp_path)
    data = page_data(plan, {})
    heads, lines = statement_texts(data)
    assert heads[-4:] == ["amc − row", "95 % interval", "p (Holm)", ""]
    assert "paper" not in heads
    assert lines[0][:6] == ["base", "all", "20.0", "0.0", "2", "20"]
    # All phrases, then the hard ones: the same here.
    assert [line[-1] for line in lines] == ["", "n.s.", ""] * 2
    markdown, page = render_markdown(data), html.unescape(render_page(data))
    for line in lines:
        assert f"| {' | '.join(line)} |" in markdown
        assert "<tr>" + "".join(f"<td>{text}</td>" for text in line) + "</tr>" in page
    for note in statement_notes(data):
        assert note in markdown
        assert note in page

    report_command(plan.source, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["statements"] == statements_json(data)
    assert said["statements"][1]["significant"] is False
    report_command(plan.source)
    plain = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        assert [text for text in line if text] in plain
    assert markdown.split("## How the numbers")[0] in (plan.folder / "report.md").read_text()


def test_another_row_may_be_the_reference(tmp_path: Path) -> None:
    plan = measured(tmp_path, report={"reference": "near"})
    check_report(plan)
    data = page_data(plan, {})
    assert [contrast.title for contrast in data.contrasts] == ["near − amc", "near − base"]
    assert "near − row" in statement_texts(data)[0]
    # Where that row is not done, the others are set beside the last that is.
    left = page_data(replace(plan, rows=(plan.rows[0], plan.rows[2])), {})
    assert [contrast.title for contrast in left.contrasts] == ["amc − base"]


def test_a_reference_that_is_no_row_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report\.reference: no row is named 'nera'; did you mean near\?$"):
        check_report(measured(tmp_path, report={"reference": "nera"}))
    single = write_experiment(tmp_path, name="alone", report={"reference": "alone"})
    with pytest.raises(InputError, match="no effect while there is one row"):
        check_report(make_plan(single))


def test_the_papers_figure_stands_beside_its_row(tmp_path: Path) -> None:
    plan = measured(tmp_path, benchmark="refcoco_plus", paper="table1/amc")
    with pytest.raises(
        InputError, match=r"list\.2\.paper: table1/amc has no figure for refcoco_plus test, only"
    ):
        check_report(plan)
    plan = measured(tmp_path, benchmark="flickr30k_entities", paper="table1/amc")
    check_report(plan)
    data = page_data(plan, {})
    heads, lines = statement_texts(data)
    column = heads.index("paper")
    # 80.0 measured, 86.59 printed; of hard phrases, and of the other rows, the paper says nothing.
    assert [line[column : column + 2] for line in lines] == [
        ["–", "–"], ["–", "–"], ["86.59", "−6.6"], ["–", "–"], ["–", "–"], ["–", "–"]
    ]  # fmt: skip
    assert "CVPR 2023" in statement_notes(data)[-1]
    assert statements_json(data)[2]["minus_paper"] == pytest.approx(80 - 86.59)


def test_a_row_that_the_paper_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"paper: the paper's row 'table1/acm' is not known; did you mean table1/amc"
    ):
        check_report(measured(tmp_path, benchmark="flickr30k_entities", paper="table1/acm"))


def test_no_figure_is_there_twice() -> None:
    keys = [(figure.row, figure.benchmark, figure.split) for figure in FIGURES]
    assert len(set(keys)) == len(keys)


def test_what_is_reported_changes_no_training(tmp_path: Path) -> None:
    plain = [job.identity for job in measured(tmp_path).jobs]
    assert [job.identity for job in measured(tmp_path, report={"reference": "base"}).jobs] == plain


def test_a_report_waits_for_no_large_package(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from amc_platform.cli.run import report; report(Path(sys.argv[1]))\n"
        "print({'torch', 'pandas', 'mlflow', 'ray', 'scipy.stats'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, measured(tmp_path).source], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
