"""From the folders of a plan's trials to the content of its report."""

import itertools
from pathlib import Path

from amc_models.errors import InputError
from amc_platform.data.table import read_info
from amc_platform.evaluation.gallery import read_gallery
from amc_platform.reporting.content import Curve, GalleryColumn, PageData, Series
from amc_platform.reporting.measured import check_reference, measure, name_of, reference_of
from amc_platform.reporting.paper import paper_figures
from amc_platform.reporting.table import baseline_rows
from amc_platform.search.plan import Plan
from amc_platform.tracking.reader import history
from amc_platform.training.trial import TrialStatus

CURVES = {
    "train/loss_amc": "Attention mask loss",
    "train/loss_itm": "Image-text matching loss",
    "train/loss_mlm": "Masked language loss",
}


def check_report(plan: Plan) -> None:
    """Raise InputError where the spec asks of the report what it cannot give: better before the training than after."""
    check_reference(plan)
    paper_figures(plan)


def page_data(plan: Plan, stamps: dict[str, str]) -> PageData:
    """The report of a plan of which nothing is left to do; `stamps` say what made it.

    Trials that were stopped early are left out, and named. Raises InputError where a trial is still to be run, naming
    the command that does it, or where none was trained to its end.
    """
    to_come = [f"{plan.unproposed} trials still to be proposed"] if plan.unproposed else []
    if unfinished := [*(job.label for job in plan.pending), *to_come]:
        raise InputError(f"{plan.source}: {', '.join(unfinished)} not done; `amc run {plan.source}` does it")
    plan = plan.finished
    if not plan.rows:
        raise InputError(f"{plan.source}: no trial was trained to its end, so there is nothing to report")
    experiment = plan.experiment
    splits = experiment.evaluation.splits
    rows, contrasts = measure(plan)
    info = read_info(experiment.evaluated_table)
    facts = {
        "data": f"{info.source['source']} {info.content_hash}",
        "seeds": ", ".join(str(seed) for seed in sorted({job.seed for job in plan.jobs})),
        "trials": ", ".join(
            f"{name_of(row, plan)}: {' '.join(job.identity for job in row.jobs)}" for row in plan.rows
        ),
        **({"left out": _left_out(plan)} if plan.left_out else {}),
        "training": _effort(plan),
        **{
            name: stamps[name]
            for name in ("git.sha", "git.dirty", "versions.torch", "versions.ray")
            if name in stamps
        },
    }
    return PageData(
        title=experiment.name,
        claim=claim_of(plan.source),
        command=f"amc run {plan.source}",
        rows=rows,
        protocol=plan.jobs[0].protocol,
        baselines=baseline_rows(info.baselines, splits),
        paper=paper_figures(plan),
        reference=name_of(plan.rows[reference_of(plan)], plan),
        contrasts=contrasts,
        gallery=_galleries(plan, splits[0]),
        curves=tuple(_curves(plan)),
        facts=tuple(facts.items()),
    )


def claim_of(spec: Path) -> str:
    """The claim that the comment at the top of a spec states; empty where it states none."""
    lines = itertools.takewhile(
        lambda line: line.startswith("#"), spec.read_text(encoding="utf-8").splitlines()
    )
    return next((line.partition("Claim:")[2].strip() for line in lines if "Claim:" in line), "")


def _galleries(plan: Plan, split: str) -> tuple[GalleryColumn, ...]:
    if not plan.experiment.evaluation.gallery:
        return ()
    return tuple(
        GalleryColumn(name_of(row, plan), tuple(read_gallery(row.jobs[0].evaluation(split) / "gallery")))
        for row in plan.rows
    )


def _curves(plan: Plan) -> list[Curve]:
    histories = [(row, [history(job.folder) for job in row.jobs]) for row in plan.rows]
    curves: list[Curve] = []
    for key, title in CURVES.items():
        series = tuple(
            Series(name_of(row, plan), tuple((point.step, point.value) for point in points[key]))
            for row, seeds in histories
            for points in seeds
            if key in points
        )
        if series:
            curves.append(Curve(title, series))
    return curves


def _left_out(plan: Plan) -> str:
    """`1 of 12 trials: bad 1 (seed 0), stopped after 50 steps`."""
    jobs = [job for row in plan.left_out for job in row.jobs if not job.done]
    told = [f"{job.label}, {job.state} after {TrialStatus.read(job.folder).steps} steps" for job in jobs]
    return f"{len(jobs)} of {len(plan.jobs) + len(jobs)} trials: {'; '.join(told)}"


def _effort(plan: Plan) -> str:
    statuses = [(job, TrialStatus.read(job.folder)) for job in plan.jobs]
    seconds = sum(status.train_seconds for _, status in statuses)
    cluster = plan.experiment.cluster
    workers = f"{cluster.least} to {cluster.most}" if cluster.least < cluster.most else cluster.most
    halved = sum(status.memory_halved for _, status in statuses)
    finer = f"; {halved} with micro-batches of half the size, for lack of memory" if halved else ""
    return (
        f"{sum(status.steps for _, status in statuses)} steps in {seconds:.0f} s on {workers} workers{finer}"
    )
