"""Ray Tune: what it proposes, and when it stops; it starts no training itself (see tuned.py)."""

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm, Searcher, create_searcher

from amc_models.errors import InputError
from amc_platform.search.exchange import Exchange
from amc_platform.spec import Dimension, Experiment
from amc_platform.spec.factors import Values

VALUE, STEPS, ROW = "value", "steps", "row"
# A trial of Tune needs none of what worker groups need, so that neither can wait for the other. Every cluster has
# this resource, on its head; Tune refuses trials without any.
_RESOURCES = {"node:__internal_head__": 0.0001}

# No files a trial, and none of Tune's own tables: the command has one.
_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class RowTrial(tune.Trainable):
    """A row as Tune sees it. Actors are reused: the next row costs no process."""

    def setup(self, config: dict[str, Any], exchange: str = "") -> None:
        """Ask for the row."""
        self._exchange = Exchange(Path(exchange))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Ask for another row."""
        self._heard = 0
        self._last: dict[str, Any] = {}
        self._exchange.ask(self.trial_id, new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Pass on the next validation. Raises RuntimeError where the training failed."""
        said = self._exchange.hear(self.trial_id, self._heard)
        self._heard += 1
        if said is None:
            return {**self._last, "done": True}
        if said.end == "failed":
            raise RuntimeError("the training failed")
        if said.value is not None:
            self._last = {VALUE: said.value, STEPS: said.steps}
        return {**self._last, "done": bool(said.end)}


class TuneThread:
    """A search of Tune in a thread of its own; results, snapshots and pickles of Tune are thrown away with it.

    `left` is called, in that thread, with the id of each trial that Tune is through with.
    """

    def __init__(
        self,
        experiment: Experiment,
        rows: int,
        points: Sequence[Values],
        exchange: Exchange,
        concurrent: int,
        left: Callable[[str], None],
    ) -> None:
        exchange.folder.mkdir(parents=True)
        self._exchange = exchange
        self._ended = threading.Event()
        self._storage = tempfile.TemporaryDirectory(prefix="amc-tune-")
        self.error: BaseException | None = None
        os.environ.update(_QUIET)
        optuna = experiment.search.optuna
        mode = optuna or experiment.search.asha
        assert mode is not None, "only searches that look at results are conducted by Tune"
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(RowTrial, exchange=str(exchange.folder)), {"CPU": 0, **_RESOURCES}
            ),
            param_space={} if optuna else {ROW: tune.grid_search(list(range(rows)))},
            tune_config=tune.TuneConfig(
                metric=VALUE,
                mode=mode.mode,
                search_alg=_searcher(experiment, points) if optuna else None,
                scheduler=_scheduler(experiment),
                num_samples=optuna.n if optuna else 1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=self._storage.name,
                stop=_UntilEnded(self._ended),
                callbacks=[_Leaving(left)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        # Off the main thread Tune installs no handler for Ctrl-C: the command has its own.
        self._thread = threading.Thread(target=self._run, args=(tuner,), name="tune", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether Tune is still at it."""
        return self._thread.is_alive()

    def close(self, timeout_s: float = 30.0) -> None:
        """End the search where it is."""
        self._ended.set()
        self._exchange.close()
        self._thread.join(timeout_s)
        self._storage.cleanup()

    def _run(self, tuner: tune.Tuner) -> None:
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        try:
            tuner.fit()
        except BaseException as error:
            self.error = error


class _UntilEnded(Stopper):
    """Ends the search from outside; a trial is never ended by it alone."""

    def __init__(self, ended: threading.Event) -> None:
        self._is_set = ended.is_set

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether all is to end."""
        return self._is_set()

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes snapshots, which nobody reads.
        return {"_is_set": bool}


class _Leaving(Callback):
    """Tells who left."""

    def __init__(self, left: Callable[[str], None]) -> None:
        self._left = left

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Ended or stopped."""
        self._left(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Failed."""
        self._left(trial.trial_id)

    def __getstate__(self) -> dict[str, Any]:
        return {"_left": print}


def _scheduler(experiment: Experiment) -> TrialScheduler | None:
    """Asynchronous successive halving: a trial is stopped where it reports, never paused, so it needs no checkpoint."""
    asha = experiment.search.asha
    if asha is None:
        return None
    return ASHAScheduler(
        time_attr=STEPS,
        max_t=max(asha.max_t or experiment.training.steps, asha.grace_period),
        grace_period=asha.grace_period,
        reduction_factor=asha.reduction_factor,
    )


def _searcher(experiment: Experiment, points: Sequence[Values]) -> Searcher | SearchAlgorithm:
    """The algorithm of `search.optuna`; `points`, proposed by an earlier command, come first."""
    optuna = experiment.search.optuna
    assert optuna is not None
    name = "optuna" if optuna.algorithm == "tpe" else optuna.algorithm
    space = {path: _domain(dimension) for path, dimension in optuna.space.items()}
    options: dict[str, Any] = {"metric": VALUE, "mode": optuna.mode, "space": space}
    if points:
        options["points_to_evaluate"] = [dict(point) for point in points]
    # A search that is taken up again would else draw its first numbers a second time.
    seed = (optuna.seed + 1_000_003 * len(points)) % 2**32
    try:
        if name == "optuna":
            import_module("optuna").logging.set_verbosity(logging.ERROR)
        # Seeds go by several names; create_searcher drops what an algorithm does not know.
        return create_searcher(name, **options, seed=seed, random_state_seed=seed)
    except (ImportError, AssertionError) as error:
        raise InputError(
            f"search.optuna.algorithm: {optuna.algorithm} cannot be used ({error}); install its package, or say tpe"
        ) from error


def _domain(dimension: Dimension) -> Any:
    values = dimension.values
    match dimension.shape:
        case "uniform":
            return tune.uniform(*values)
        case "loguniform":
            return tune.loguniform(*values)
        case "randint":
            return tune.randint(values[0], values[1] + 1)
        case _:
            return tune.choice(values)
