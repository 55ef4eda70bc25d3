"""`amc bench`: what is measured, one verb a file."""

import typer

from amc_platform.cli.bench import data, evaluate, golden, scale, search, tracking, train

app = typer.Typer(
    no_args_is_help=True, help="Measure: equal numbers first, then speed as a ratio in one run."
)
app.command("data")(data.data)
app.command("evaluate")(evaluate.evaluate)
app.command("golden")(golden.golden)
app.command("scale")(scale.scale)
app.command("search")(search.search)
app.command("tracking")(tracking.tracking)
app.command("train")(train.train)
