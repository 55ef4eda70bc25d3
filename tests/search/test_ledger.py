"""Claims, settlements, takeovers and adoption, on real folders and a real MLflow store."""

import multiprocessing
import os
import signal
import time
from collections.abc import Collection
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from small_experiment import write_experiment

from amc_platform.evaluation.hits import write_hits
from amc_platform.files import write_json, write_text
from amc_platform.search import ledger as ledger_module
from amc_platform.search.ledger import Ledger, read_mirror
from amc_platform.search.plan import make_plan
from amc_platform.tracking.journal import Journal
from amc_platform.tracking.reader import history
from amc_platform.tracking.records import MlflowRecords, NoRecords, Record, open_records
from amc_platform.training.trial import TrialJob, TrialStatus

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def jobs_in(folder: Path, output: str = "runs", seeds: tuple[int, ...] = (0,)) -> list[TrialJob]:
    """Trials of the small experiment; all folders share one table, so that identities agree."""
    folder.mkdir(exist_ok=True)
    table = folder / "scenes.parquet"
    if not table.exists():
        from amc_platform.data.prepare import prepare_scenes

        prepare_scenes(table, train=6, val=2, test=2, unseen=0, workers=1)
    spec = write_experiment(
        folder, search={"seeds": [*seeds]}, evaluation={"gallery": 0}, output=str(folder / output)
    )
    return make_plan(spec).jobs


def finish(job: TrialJob) -> None:
    """What a training leaves behind, without training."""
    write_json(job.model / "config.json", {})
    write_text(job.model / "model.safetensors", "weights")
    for split in job.missing_splits:
        write_hits(job.evaluation(split) / "hits.parquet", [], job.protocol)
    TrialStatus(state="finished", steps=8).write(job.folder)
    with Journal(job.folder) as journal:
        for step in (2, 4, 6):
            journal.metrics(
                step, {"val/scenes/pointing": 10.0 * step, "train/pairs_per_second": 100.0 + step}
            )
        journal.artifact(job.evaluation("test") / "hits.parquet", "evaluations/test")


class Memory:
    """A store that two ledgers share; `slow` says how long a write takes to be seen."""

    shared = True

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.states: list[str] = []
        self.broken = False

    def prepare(self) -> None: ...

    def find(self, identities: Collection[str]) -> list[Record]:
        if self.broken:
            raise ConnectionError("no store")
        return [record for record in self.records.values() if record.identity in identities]

    def put(self, record: Record) -> None:
        if self.broken:
            raise ConnectionError("no store at https://me:secret@host")
        self.records[record.identity, record.place] = record
        self.states.append(record.state)

    def fetch(self, run_id: str, artifacts: str, to: Path) -> Path:
        raise FileNotFoundError(artifacts)


@pytest.fixture
def job(tmp_path: Path) -> TrialJob:
    return jobs_in(tmp_path)[0]


def test_a_claim_is_exclusive_until_it_is_settled(job: TrialJob) -> None:
    one, other = Ledger(NoRecords()), Ledger(NoRecords())
    claim = one.claim(job)
    assert claim is not None
    assert other.claim(job) is None
    mirror = read_mirror(job.folder)
    assert mirror is not None
    assert (mirror.state, mirror.owner.rpartition(":")[2]) == ("running", str(os.getpid()))
    finish(job)
    one.settle(claim, "done")
    mirror = read_mirror(job.folder)
    assert mirror is not None
    assert (mirror.state, mirror.steps, len(mirror.evaluations)) == ("done", 8, 1)
    assert mirror.metrics == {"val/scenes/pointing": 60.0, "train/pairs_per_second": 106.0}
    # Its first record is warm-up.
    assert mirror.speed == pytest.approx(105.0)
    again = other.claim(job)
    assert again is not None
    assert job.done


def _hold(job: TrialJob, ready: Event) -> None:
    assert Ledger(NoRecords()).claim(job) is not None
    ready.set()
    time.sleep(60)


def test_the_claim_of_a_killed_process_is_taken_over_at_once(job: TrialJob) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(job, ready))
    process.start()
    assert ready.wait(60)
    ledger = Ledger(NoRecords())
    assert ledger.claim(job) is None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert ledger.claim(job) is not None


def test_another_machine_is_believed_for_a_minute(job: TrialJob) -> None:
    """Where the lock does not reach, the heartbeat in the mirror counts."""
    ledger = Ledger(NoRecords())
    claim = ledger.claim(job)
    assert claim is not None
    ledger.settle(claim, "partial")
    mirror = read_mirror(job.folder)
    assert mirror is not None
    away = replace(mirror, state="running", owner="me@elsewhere:1", heartbeat=time.time() - 30)
    write_text(job.folder / "ledger.json", away.text())
    assert ledger.claim(job) is None
    write_text(job.folder / "ledger.json", replace(away, heartbeat=time.time() - 61).text())
    assert ledger.claim(job) is not None


def test_two_places_that_claim_at_once_agree_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_process_lives", lambda owner: True)
    store = Memory()
    (low,), (high,) = (jobs_in(tmp_path, output) for output in ("a", "b"))
    assert low.identity == high.identity
    first = Ledger(store)
    claim = first.claim(high)
    assert claim is not None
    # One that runs is left alone, though its place is the higher one.
    second = Ledger(store)
    assert second.claim(low) is None
    first.settle(claim, "partial")
    first.close()
    # Both claim: the higher place gives way.
    record = store.records[high.identity, next(p for _, p in store.records if p.endswith(str(low.folder)))]
    store.records[record.identity, record.place] = replace(record, state="claiming", heartbeat=time.time())
    assert first.claim(high) is None
    assert store.records[record.identity, _place(high, store)].state == "withdrawn"
    assert second.claim(low) is not None


def _place(job: TrialJob, store: Memory) -> str:
    return next(place for _, place in store.records if place.endswith(str(job.folder)))


def test_a_running_trial_elsewhere_is_taken_over_once_its_heartbeat_is_old(tmp_path: Path) -> None:
    store = Memory()
    (here,), (there,) = (jobs_in(tmp_path, output) for output in ("a", "b"))
    away = Record(there.identity, f"far:{there.folder}", "running", "you@far:1", time.time() - 50)
    store.put(away)
    assert Ledger(store).claim(here) is None
    store.put(replace(away, heartbeat=time.time() - 61))
    assert Ledger(store).claim(here) is not None


def test_what_is_done_elsewhere_is_linked_not_trained(tmp_path: Path) -> None:
    store = Memory()
    (there,), (here,) = (jobs_in(tmp_path, output) for output in ("a", "b"))
    ledger = Ledger(store)
    claim = ledger.claim(there)
    assert claim is not None
    finish(there)
    ledger.settle(claim, "done")
    ledger.close()
    # A start of one's own that came less far is given up.
    write_text(here.states / "step-00000002.pt", "state")
    other = Ledger(store)
    assert other.look_up([here]) == 1
    assert here.done
    assert here.state == "done"
    assert not here.states.exists()
    assert (here.model / "model.safetensors").read_text() == "weights"
    assert [point.value for point in history(here.folder)["val/scenes/pointing"]] == [20.0, 40.0, 60.0]
    # Evaluated differently, it is trained already, and what is added stays here.
    spec = here.experiment.evaluation.model_copy(update={"splits": ["test", "val"]})
    further = replace(here, experiment=here.experiment.model_copy(update={"evaluation": spec}))
    assert further.state == "trained"
    assert further.missing_splits == ["val"]
    write_hits(further.evaluation("val") / "hits.parquet", [], further.protocol)
    assert not there.evaluation("val").exists()


def test_hits_of_a_folder_out_of_reach_come_from_the_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/shared.db"
    (there,), (here,) = (jobs_in(tmp_path, output) for output in ("a", "b"))
    finish(there)
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.create_experiment("amc/x", artifact_location=(tmp_path / "artifacts").as_uri())
    run_id = client.create_run(experiment).info.run_id
    client.log_artifacts(run_id, str(there.evaluation("test")), "evaluations/test")
    records = open_records("mlflow", uri, tmp_path / "a")
    ledger = Ledger(records)
    claim = ledger.claim(there)
    assert claim is not None
    ledger.settle(claim, "done")
    ledger.name_run(there, run_id)
    assert ledger.close() == ""
    book = client.get_experiment_by_name("amc-ledger")
    assert book is not None
    # Who looks at the ledger's own runs in MLflow's pages sees none that seems to go on.
    assert [run.info.status for run in client.search_runs([book.experiment_id])] == ["FINISHED"]
    there.folder.rename(tmp_path / "gone")
    began = time.monotonic()
    other = Ledger(open_records("mlflow", uri, tmp_path / "b"))
    assert other.look_up([here]) == 1
    assert time.monotonic() - began < 3
    assert here.done
    assert not here.trained
    assert (here.evaluation("test") / "hits.parquet").is_file()
    mirror = read_mirror(here.folder)
    assert mirror is not None
    assert mirror.metrics["val/scenes/pointing"] == 60.0
    # Of a training that was fetched without its weights, another split needs the weights again.
    spec = here.experiment.evaluation.model_copy(update={"splits": ["val"]})
    assert not replace(here, experiment=here.experiment.model_copy(update={"evaluation": spec})).done


def test_without_the_store_the_folders_are_enough_and_it_hears_later(tmp_path: Path) -> None:
    store = Memory()
    store.broken = True
    (job,) = jobs_in(tmp_path)
    ledger = Ledger(store)
    assert ledger.look_up([job]) == 0
    claim = ledger.claim(job)
    assert claim is not None
    finish(job)
    ledger.settle(claim, "done")
    warning = ledger.close(1.0)
    assert "1 records of the ledger are kept" in warning
    assert "secret" not in warning
    assert job.done
    store.broken = False
    later = Ledger(store)
    later.look_up([job])
    assert later.close() == ""
    assert [record.state for record in store.find([job.identity])] == ["done"]


def test_a_plan_of_sixty_done_trials_is_recognised_in_a_tenth_of_a_second_each(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/shared.db"
    records = MlflowRecords(uri, tmp_path, shared=True)
    there = jobs_in(tmp_path, "a", tuple(range(60)))
    for job in there:
        finish(job)
        records.put(Record(job.identity, f"far:{job.folder}", "done", "me@far:1", 0.0))
    here = jobs_in(tmp_path, "b", tuple(range(60)))
    began = time.monotonic()
    ledger = Ledger(MlflowRecords(uri, tmp_path, shared=True))
    assert ledger.look_up(here) == 60
    assert time.monotonic() - began < 6
    assert all(job.done for job in here)
    ledger.close(60)


def test_a_database_of_ones_own_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert not open_records("mlflow", None, tmp_path).shared
    assert open_records("mlflow", "http://tracking:5000", tmp_path).shared
    assert not open_records("jsonl", None, tmp_path).shared
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert open_records("mlflow", None, tmp_path).shared
