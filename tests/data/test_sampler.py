"""Orders of images: the same for any number of workers, and from any place in an epoch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from amc_platform.data.sampler import Sampler, SamplerState

sizes = st.integers(1, 12).flatmap(lambda batch: st.tuples(st.just(batch), st.integers(batch, 60)))


def images_of(sampler: Sampler, steps: range) -> list[int]:
    return [int(image) for step in steps for image in sampler.share(sampler.state(step))]


def test_states_by_hand() -> None:
    sampler = Sampler(images=10, per_batch=4, seed=7)
    states = [sampler.state(step) for step in range(4)]
    assert states == [
        SamplerState(0, 0, 7),
        SamplerState(0, 4, 7),
        SamplerState(1, 0, 7),
        SamplerState(1, 4, 7),
    ]


def test_the_order_is_the_recorded_one() -> None:
    # A change of this order changes every training: it must be seen, and CODE_FORMAT raised.
    sampler = Sampler(images=8, per_batch=8, seed=3)
    assert images_of(sampler, range(1)) == [6, 7, 2, 1, 4, 5, 3, 0]
    assert images_of(sampler, range(1, 2)) == [4, 3, 1, 6, 0, 2, 5, 7]


@given(sizes, st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 12))
def test_shares_in_rank_order_are_the_batch_of_one_worker(
    size: tuple[int, int], seed: int, step: int, workers: int
) -> None:
    batch, images = size
    whole = Sampler(images, batch, seed)
    parts = [Sampler(images, batch, seed, rank, workers) for rank in range(workers)]
    shares = [part.share(part.state(step)) for part in parts]
    assert np.concatenate(shares).tolist() == whole.share(whole.state(step)).tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(sizes, st.integers(0, 2**32), st.integers(0, 3))
def test_an_epoch_shows_an_image_at_most_once_and_leaves_out_less_than_a_batch(
    size: tuple[int, int], seed: int, epoch: int
) -> None:
    batch, images = size
    steps = images // batch
    shown = images_of(Sampler(images, batch, seed), range(epoch * steps, (epoch + 1) * steps))
    assert len(set(shown)) == len(shown) == steps * batch > images - batch
    assert set(shown) <= set(range(images))


@given(sizes, st.integers(0, 2**32), st.integers(0, 60))
def test_a_state_is_all_it_takes_to_go_on(size: tuple[int, int], seed: int, step: int) -> None:
    batch, images = size
    state = Sampler(images, batch, seed).state(step)
    # Another sampler, told nothing but the state, draws the same.
    assert (
        Sampler(images, batch, seed=0).share(SamplerState(*state)).tolist()
        == Sampler(images, batch, seed).share(state).tolist()
    )


@given(st.integers(0, 2**32))
def test_seeds_and_epochs_order_differently(seed: int) -> None:
    one, other = Sampler(50, 50, seed), Sampler(50, 50, seed + 1)
    assert images_of(one, range(1)) != images_of(other, range(1))
    assert images_of(one, range(1)) != images_of(one, range(1, 2))
