"""A training under random kills, held against the same training left alone.

Both are the command that a user gives, in processes of its own. A kill is `kill -9` of a worker, of the command itself,
of Ray's raylet, of its head server, or of both; a command that it ended is given again. The local Ray that a command
starts has one node: what becomes of a training on several, when one of them dies, is in infra/failures.md.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from amc_models.errors import InputError
from amc_platform.search.plan import Plan, make_plan
from amc_platform.search.sameness import Sameness, compare
from amc_platform.search.victims import VICTIMS, Victim, find, kill
from amc_platform.tracking.events import Metrics
from amc_platform.tracking.journal import JOURNAL
from amc_platform.tracking.reader import latest
from amc_platform.training.trial import TrialStatus

_POLL_S = 0.02
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Kill:
    """A kill that happened."""

    victim: Victim
    step: int
    """Steps recorded before, over all trials."""
    lost_s: float
    """Seconds until workers had taken up a trial again, or the command was done."""
    commands: int
    """How often the command had to be given again."""

    def __str__(self) -> str:
        """In one line."""
        again = ", the same command given again" if self.commands else ""
        return f"{self.victim} killed at step {self.step}: training went on after {self.lost_s:.1f} s{again}"


@dataclass(frozen=True)
class Chaos:
    """What is run: `command`, followed by a spec and its options, in the folder `folder`."""

    command: Sequence[str]
    spec: Path
    overrides: Sequence[str]
    folder: Path
    tell: Callable[[str], None]

    @classmethod
    def of(
        cls, command: Sequence[str], spec: Path, overrides: Sequence[str], tell: Callable[[str], None]
    ) -> "Chaos":
        """In the folder `chaos` of the experiment, which is emptied."""
        folder = make_plan(spec, overrides, outline=True).folder.absolute() / "chaos"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return cls(command, spec, overrides, folder, tell)

    def run(self, kills: int, seed: int, victims: Sequence[Victim] = VICTIMS) -> tuple[list[Kill], Sameness]:
        """Run the spec alone, then under `kills` kills drawn by `seed`; returns those and how the ends differ.

        Raises InputError where training is too short for so many kills, RuntimeError where the command fails by itself
        or nothing goes on within minutes of a kill.
        """
        self.tell("running undisturbed")
        alone = _Command(self, "undisturbed", kills)
        try:
            alone.wait_for(lambda: False)
        finally:
            alone.end()
        self.tell(f"running under {kills} kills")
        disturbed = _Command(self, "disturbed", kills)
        try:
            done = self._disturb(disturbed, kills, victims, random.Random(seed))
            disturbed.wait_for(lambda: False)
        finally:
            disturbed.end()
        return done, compare(alone.plan, disturbed.plan)

    def _disturb(
        self, command: "_Command", kills: int, victims: Sequence[Victim], draw: random.Random
    ) -> list[Kill]:
        steps = sum(job.experiment.training.steps for job in command.plan.jobs)
        moments = sorted(draw.randint(1, max(1, steps - 1)) for _ in range(kills))
        drawn: list[Victim] = [draw.choice(victims) for _ in moments]
        done: list[Kill] = []
        for moment, victim in zip(moments, drawn, strict=True):
            if command.wait_for(partial(command.may_kill, victim, moment)):
                raise InputError(
                    f"{self.spec}: training ended before kill {len(done) + 1} of {kills}; raise training.steps"
                )
            done.append(command.kill(victim, draw))
            self.tell(str(done[-1]))
        return done


class _Command:
    """`amc run` into an output folder of its own, under way from the start."""

    def __init__(self, chaos: Chaos, name: str, kills: int) -> None:
        output = chaos.folder / name
        # A local Ray and a database of its own, and no kill that Ray gives up after.
        own = {
            "output": output,
            "cluster.address": "null",
            "cluster.max_failures": kills,
            "tracking.kind": "mlflow",
            "tracking.uri": "null",
            "tracking.experiment": "null",
        }
        self._overrides = [*chaos.overrides, *(f"{field}={value}" for field, value in own.items())]
        self._spec, self._log = chaos.spec, output.with_suffix(".log")
        options = [option for change in self._overrides for option in ("--set", change)]
        self._arguments = [*chaos.command, str(chaos.spec), *options]
        self._environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        self._process = self._start()

    @property
    def plan(self) -> Plan:
        """What it is to do, and did."""
        return make_plan(self._spec, self._overrides)

    @property
    def steps(self) -> int:
        """Steps that the journals tell of, over all trials."""
        return sum(_last_step(folder / JOURNAL) for folder in self._trials())

    @property
    def starts(self) -> int:
        """How often workers took up a trial."""
        return sum(len(TrialStatus.read(folder).world_sizes) for folder in self._trials())

    def may_kill(self, victim: Victim, moment: int) -> bool:
        """Whether step `moment` is done and there is such a victim."""
        return self.steps >= moment and bool(find(self._process.pid, victim))

    def wait_for(self, happened: Callable[[], bool]) -> bool:
        """Wait until it `happened` (False) or the command is done (True). Raises RuntimeError where it failed."""
        while not happened():
            code = self._process.poll()
            if code == 0:
                return True
            if code is not None:
                raise RuntimeError(f"the command left with {code} by itself: {self._last_words()}")
            time.sleep(_POLL_S)
        return False

    def kill(self, victim: Victim, draw: random.Random) -> Kill:
        """Kill `victim`, one drawn among several workers, and see that training goes on."""
        step, starts, commands = self.steps, self.starts, 0
        pids = find(self._process.pid, victim)
        kill([draw.choice(sorted(pids))] if victim == "worker" else pids)
        began = time.monotonic()
        while self.starts == starts and self._process.poll() != 0:
            if self._process.poll() is not None:
                self._process, commands = self._start(), commands + 1
            if time.monotonic() - began > _PATIENCE_S:
                raise RuntimeError(f"nothing goes on after a kill of {victim}: {self._last_words()}")
            time.sleep(_POLL_S)
        return Kill(victim, step, time.monotonic() - began, commands)

    def end(self) -> None:
        """Leave nothing behind that still runs: Ray's processes follow the one that started them."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(self._arguments, stdout=log, stderr=log, env=self._environment)

    def _trials(self) -> list[Path]:
        return sorted((self._log.with_suffix("") / "trials").glob("*"))

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} ({self._log})"


def _last_step(journal: Path) -> int:
    events = (event for event in latest(journal) if isinstance(event, Metrics))
    return next((event.points[0].step for event in events if event.points), 0)
