"""The card of a checkpoint: what it is, what it was made of and how well it does."""

from amc_platform.data.table import TableInfo, read_info
from amc_platform.spec import dump_experiment
from amc_platform.tracking.reader import history
from amc_platform.training.callbacks.best import Best
from amc_platform.training.trial import TrialJob

LICENCES = {
    "scenes": "drawn by this project, under its own licence (Apache-2.0)",
    "visual_genome": "annotations CC BY 4.0; images under the terms of their owners",
    "flickr30k_entities": "images for non-commercial research and education only, under Flickr's terms",
    "coco": "annotations CC BY 4.0; images under Flickr's terms",
    **dict.fromkeys(
        ("refcoco", "refcoco_plus", "refcocog"),
        "images of COCO, under Flickr's terms; of the expressions not known here, ask who published them",
    ),
}
"""What the publishers of a source say of its use."""


def model_card(job: TrialJob, best: Best) -> str:
    """Markdown: the checkpoint, its data and their licence, its accuracies, its spec."""
    info = read_info(job.experiment.data.table)
    of_step = {
        name: point.value
        for name, points in history(job.folder).items()
        for point in points
        if "/pointing" in name and point.step == best.steps
    }
    metrics = "\n".join(f"| {name} | {value:.2f} |" for name, value in of_step.items())
    return f"""# {job.experiment.name}: {job.label}

The weights after {best.steps} steps, chosen by validation alone: {best.metric} {best.value:.2f} %.
Load them with `amc_models.load_checkpoint`. Identity of the training: `{job.identity}`.

## Data

{_data(info)}

## Pointing accuracy in per cent

Measured on exactly these weights, protocol {job.protocol.name} ({job.protocol.hash}). What is missing here was not
measured on them: `amc evaluate` does it.

| metric | % |
| --- | ---: |
{metrics}

## Spec

```yaml
{dump_experiment(job.experiment).strip()}
```
"""


def _data(info: TableInfo) -> str:
    source = str(info.source["source"])
    licence = info.source.get("licence") or LICENCES.get(source, "not known here; ask who published it")
    splits = ", ".join(
        f"{split} {of['images']} images and {of['phrases']} phrases"
        for split, of in info.counts["splits"].items()
    )
    return (
        f"- source: {source}\n- content hash: `{info.content_hash}`\n- splits: {splits}\n- licence: {licence}"
    )
