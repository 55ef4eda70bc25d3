"""Taking over what another place finished: its weights and hits, not its work."""

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from amc_platform.evaluation.hits import protocol_of_hits
from amc_platform.files import write_json, write_text
from amc_platform.spec import dump_experiment
from amc_platform.tracking.journal import JOURNAL
from amc_platform.tracking.records import Record, Records
from amc_platform.training.trial import TrialJob, TrialStatus

MIRROR = "ledger.json"
"""File of a trial's folder that holds its record."""
_LOCKS = ("lock", "training.lock")
_KEPT_KINDS = ("journal", "metrics", "params", "tags", "status")


def adopt(job: TrialJob, record: Record, records: Records) -> bool:
    """Make `job` as done as `record` says it is elsewhere; returns whether anything could be taken over.

    A folder that can be reached is linked to, so that a further evaluation finds its weights; of one that cannot, the
    hits and pictures are fetched from the store, if it has all that are wanted.
    """
    if (record.folder / "model" / "config.json").is_file():
        _clear(job)
        _link(job, record.folder)
    elif not _fetched(job, record, records):
        return False
    write_text(job.folder / "spec.yaml", dump_experiment(job.experiment))
    return True


def _clear(job: TrialJob) -> None:
    """Forget a training of one's own that did not come as far."""
    for path in job.folder.iterdir() if job.folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in _LOCKS:
            path.unlink()


def _link(job: TrialJob, other: Path) -> None:
    """Evaluations one by one: further ones are written here."""
    (job.folder / "evaluations").mkdir(parents=True, exist_ok=True)
    found = [other / "model", other / "best", *(other / "evaluations").glob("*")]
    for path in found:
        if path.exists():
            (job.folder / path.relative_to(other)).symlink_to(path.resolve())
    with suppress(OSError):
        shutil.copyfile(other / "status.json", job.folder / "status.json")
    with suppress(OSError, ValueError):
        lines = (other / JOURNAL).read_text(encoding="utf-8").splitlines()
        # Metrics, and the head by which the store finds the run; its artifacts lie there already.
        kept = [line for line in lines if json.loads(line)["type"] in _KEPT_KINDS]
        write_text(job.folder / JOURNAL, "".join(f"{line}\n" for line in kept))


def _fetched(job: TrialJob, record: Record, records: Records) -> bool:
    """Fetch the missing evaluations, all or none."""
    wanted = {split: job.evaluation_identity(split) for split in job.missing_splits}
    if not record.run_id or not {*wanted.values()} <= {*record.evaluations}:
        return False
    with tempfile.TemporaryDirectory(prefix="amc-adopted-") as scratch:
        found: dict[str, Path] = {}
        for split in wanted:
            try:
                found[split] = records.fetch(record.run_id, f"evaluations/{split}", Path(scratch) / split)
                _, protocol_hash = protocol_of_hits(found[split] / "hits.parquet")
            except Exception:
                # Whatever a store or a file may raise: then this trial is trained, as if nobody had.
                return False
            lacks_gallery = job.experiment.evaluation.gallery and not (found[split] / "gallery").is_dir()
            if protocol_hash != job.protocol.hash or lacks_gallery:
                return False
        _clear(job)
        for split, folder in found.items():
            job.evaluation(split).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder, job.evaluation(split))
    TrialStatus(state="finished", steps=record.steps).write(job.folder)
    # Its journal stays where it is; what it came to is in the record.
    write_text(job.folder / MIRROR, record.text())
    write_json(job.adopted, {"run_id": record.run_id, "owner": record.owner, "place": record.place})
    return True
