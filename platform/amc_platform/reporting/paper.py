"""The figures that the paper prints, as far as they are known here, and which rows of a spec stand beside them."""

from dataclasses import dataclass

from amc_models.errors import InputError
from amc_platform.data.table import read_info
from amc_platform.search.plan import Plan
from amc_platform.spec.suggestions import hint


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """Pointing accuracy of a row of the paper on all phrases of a split, in per cent."""

    row: str
    """`<table>/<row>`, as a spec names it."""
    benchmark: str
    split: str
    percent: float
    source: str


_TABLE_1 = "AMC (Yang et al., CVPR 2023), Table 1"

FIGURES = (
    PaperFigure("table1/amc", "flickr30k", "test", 86.59, _TABLE_1),
    PaperFigure("table1/amc", "refcoco_plus", "testA", 80.34, _TABLE_1),
    PaperFigure("table1/amc", "refcoco_plus", "testB", 64.55, _TABLE_1),
    PaperFigure("table1/amc", "referit", "test", 64.27, _TABLE_1),
)
"""AMC trained on boxes and regions. A figure that cannot be looked up here is not guessed: its row is missing."""


def paper_figures(plan: Plan) -> dict[str, dict[str, PaperFigure]]:
    """{row: {column of its table: figure}} for the rows whose spec names a row of the paper.

    Raises InputError for a name that no figure has, and for a row none of whose figures is on what is evaluated.
    """
    experiment = plan.experiment
    data = experiment.data
    found: dict[str, dict[str, PaperFigure]] = {}
    for index, row in enumerate(experiment.search.list):
        if row.paper is None:
            continue
        field = f"{plan.source}: search.list.{index}.paper"
        own = [figure for figure in FIGURES if figure.row == row.paper]
        if not own:
            names = dict.fromkeys(figure.row for figure in FIGURES)
            raise InputError(f"{field}: the paper's row '{row.paper}' is not known; {hint(row.paper, names)}")
        if not data.table.exists():
            continue  # what it holds is known when it is there
        benchmark = read_info(data.table).benchmark
        splits = experiment.evaluation.splits
        found[row.name] = {
            "all" if figure.split == splits[0] else f"{figure.split}/all": figure
            for figure in own
            if figure.benchmark == benchmark and figure.split in splits
        }
        if not found[row.name]:
            there = ", ".join(f"{figure.benchmark} {figure.split}" for figure in own)
            raise InputError(
                f"{field}: {row.paper} has no figure for {benchmark} {', '.join(splits)}, only for {there}; remove it"
            )
    return found
