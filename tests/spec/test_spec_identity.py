from pathlib import Path

import pytest

from amc_platform.spec import Experiment, evaluation_identity, identity, load_experiment, training_identity


def identity_of(experiment: Experiment, **changes: str | None) -> str:
    facts: dict[str, str | None] = {"data_hash": "d", "start_hash": "s", "code_format": "1", **changes}
    return training_identity(experiment, **facts)  # type: ignore[arg-type]


def test_identity_is_the_hash_of_canonical_json() -> None:
    # printf '{"a":[1,2.5,null],"b":"é"}' | sha256sum
    assert identity({"b": "é", "a": [1, 2.5, None]}) == "41a039b5a690a0e4"


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "model.patch_size=8",
        "objective.amc.delta_1=0.2",
        "objective.mlm=0.5",
        "training.steps=301",
        "training.lr=2e-4",
        "data.images_per_batch=32",
        "data.kinds=[region]",
        "data.flip=plain",
        "data.preset=paper",
        "cluster.workers=2",
        "training.accumulation=2",
        "training.on_nan=skip",
        "objective.batch=global",
    ],
)
def test_what_changes_the_weights_changes_the_identity(base: Path, override: str) -> None:
    assert identity_of(load_experiment(base, [override])) != identity_of(load_experiment(base))


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "training.log_every=3",
        "training.checkpoint_every=3",
        "data.table=moved.parquet",
        "data.prepare.seed=4",
        "data.prepare=null",
        "data.loader_workers=4",
        "data.empty_regions=error",
        "start_from=moved",
        "evaluation.splits=[val]",
        "evaluation.every=5",
        "evaluation.gallery=0",
        "cluster.cpus_per_worker=2",
        "cluster.max_failures=0",
        "cluster.accelerator_type=A40",
        "cluster.pool=a40",
        "cluster.wait=60",
        "cluster.address=ray://x",
        "tracking.kind=none",
        "output=elsewhere",
        "search.seeds=[1, 2]",
    ],
)
def test_what_does_not_change_the_weights_leaves_it(base: Path, override: str) -> None:
    assert identity_of(load_experiment(base, [override])) == identity_of(load_experiment(base))


def test_an_identity_from_before_there_were_pools_holds(base: Path) -> None:
    # As commit 9cb9c67 gives it.
    assert identity_of(load_experiment(base)) == "ccae03fe6f8cbad1"


def test_tf32_counts_where_it_is_on_and_where_workers_are_placed_does_not(base: Path) -> None:
    gpus = ["cluster.workers=2", "cluster.gpus_per_worker=1"]

    def of(*overrides: str) -> str:
        return identity_of(load_experiment(base, [*gpus, *overrides]))

    assert of("training.tf32=false") == of("cluster.placement=spread") == of() != of("training.tf32=true")


def test_data_start_and_code_count(base: Path) -> None:
    experiment = load_experiment(base)
    facts = [{}, {"data_hash": "e"}, {"start_hash": "t"}, {"start_hash": None}, {"code_format": "2"}]
    assert len({identity_of(experiment, **fact) for fact in facts}) == len(facts)


def test_the_vocabulary_counts_for_random_weights_only(base: Path) -> None:
    scenes = load_experiment(base, ["start_from=null"])
    words = load_experiment(base, ["start_from=null", "vocabulary=words.txt"])
    assert identity_of(scenes, start_hash=None) != identity_of(words, start_hash=None)


def test_sizes_count_and_not_the_preset_they_came_from(base: Path) -> None:
    experiment = load_experiment(base)
    sizes = experiment.model.model_dump()
    custom = experiment.model_copy(
        update={"model": experiment.model.model_validate({**sizes, "preset_name": "custom"})}
    )
    assert identity_of(custom) == identity_of(experiment)


def test_an_evaluation_has_its_own_identity() -> None:
    names = {evaluation_identity(t, p, s) for t in "ab" for p in "cd" for s in ("test", "val")}
    assert len(names) == 8


def test_how_a_batch_is_cut_counts_only_where_losses_are_over_its_parts(base: Path) -> None:
    def of(*overrides: str) -> str:
        return identity_of(load_experiment(base, list(overrides)))

    assert of("cluster.workers=2") == of("training.accumulation=2") != of()
    assert of("cluster.workers=2", "training.accumulation=2") == of("cluster.workers=4")
    whole = of("objective.batch=global")
    assert of("objective.batch=global", "cluster.workers=2", "training.accumulation=2") == whole != of()
    rounded = of("cluster.workers=2", "cluster.gradient_precision=bf16")
    assert rounded != of("cluster.workers=2")
