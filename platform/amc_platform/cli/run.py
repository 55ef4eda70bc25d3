"""`amc run` and `amc report`: from a spec to a table and a page."""

from typing import TYPE_CHECKING, Annotated

import typer

from amc_platform.cli.console import note, print_json, print_table, progress, say
from amc_platform.cli.plan import JsonOption, SetOption, SpecArgument

if TYPE_CHECKING:
    from amc_platform.search.plan import Plan


def run(
    spec: SpecArgument,
    overrides: SetOption = None,
    fresh: Annotated[bool, typer.Option(help="Train again what is done already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Plan, train, evaluate, track and report SPEC; what is done already is reused."""
    from amc_platform.reporting.collect import check_report
    from amc_platform.search.plan import make_plan

    check_report(make_plan(spec, overrides or []))
    # A wrong spec is told before seconds of imports.
    from amc_platform.cli.live import live
    from amc_platform.search.driver import carry_out, ledger_of, ready_plan, recorded

    with progress("images") as report_progress:
        made = ready_plan(spec, overrides or [], fresh=fresh, progress=report_progress)
    with recorded(made) as follower, ledger_of(made) as ledger:
        adopted = ledger.look_up(made.jobs, adopting=not fresh)
        note(_summary(made, adopted))
        with live(made.experiment.name) as (tell, watch):
            made = carry_out(made, ledger, follower, tell, watch)
        reported = made.finished
        if reported.rows:
            _report(reported, as_json)
            for name in ("report.md", "report.html"):
                follower.parent_artifact(made.folder / name)
        else:
            note("no trial was trained to its end, so there is nothing to report")
        warnings = follower.close()
        for job in made.jobs:
            ledger.name_run(job, follower.run_id(job.identity))
        warnings += filter(None, [ledger.close()])
    for warning in warnings:
        note(f"tracking: {warning}")


def _summary(made: "Plan", adopted: int) -> str:
    """`scenes/effect: 7 trials, 4 done already, 3 to run`."""
    jobs, pending = len(made.jobs) + made.unproposed, len(made.pending) + made.unproposed
    elsewhere = f" ({adopted} of them elsewhere)" if adopted else ""
    return (
        f"{made.experiment.name}: {jobs} trials, {jobs - pending} done already{elsewhere}, {pending} to run"
    )


def report(spec: SpecArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Write the table and the page of SPEC again, from results that are there."""
    from amc_platform.reporting.collect import check_report
    from amc_platform.search.plan import make_plan

    made = make_plan(spec, overrides or [])
    check_report(made)
    _report(made, as_json)


def _report(made: "Plan", as_json: bool) -> None:
    """Write report.md, report.html and figure.png; print the table and the page's path, or JSON."""
    from amc_platform.files import write_text
    from amc_platform.reporting.collect import page_data
    from amc_platform.reporting.figure import write_figure
    from amc_platform.reporting.page import write_page
    from amc_platform.reporting.report import render_markdown
    from amc_platform.reporting.statements import statement_notes, statement_texts, statements_json
    from amc_platform.reporting.table import table_json, table_texts
    from amc_platform.tracking.stamps import stamps

    data = page_data(made, stamps())
    page = made.folder / "report.html"
    write_text(made.folder / "report.md", render_markdown(data))
    write_page(page, data)
    if data.gallery:
        write_figure(made.folder / "figure.png", data.gallery)
    if as_json:
        print_json(
            {
                "name": data.title,
                "rows": table_json(data.rows),
                "statements": statements_json(data),
                "notes": statement_notes(data),
                "page": str(page),
                "facts": dict(data.facts),
            }
        )
        return
    heads, lines = table_texts(data.rows, data.baselines)
    print_table(heads, lines, title=f"{data.title}: pointing accuracy in per cent")
    print_table(*statement_texts(data), title="how sure that is")
    for line in statement_notes(data):
        say(line)
    say(f"page: {page}")
