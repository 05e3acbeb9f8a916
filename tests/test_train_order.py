"""The order of samples: once each an epoch, a pure function of seed and epoch, shared among processes, resumable."""

import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defocal import InputError
from defocal.train.order import ShardShuffle
from defocal.train.seeds import Stream, generator

SHARDS = [5] * 9 + [4] + [2] * 7 + [1]


def numbers(batches):
    return [number for batch in batches for number in batch]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 7), st.integers(0, 6), st.integers(1, 4),
    st.sampled_from(["pad", "drop"]), st.booleans(),
)  # fmt: skip
def test_every_sample_comes_once(shards, batch, window, world, uneven, shuffle):
    total = sum(shards)
    if uneven == "drop" and total < world:
        return
    options = {"window": window, "world": world, "uneven": uneven, "shuffle": shuffle}
    ranks = [ShardShuffle(shards, batch, rank=rank, **options) for rank in range(world)]
    seen = [numbers(rank.epoch(3)) for rank in ranks]
    assert len({len(one) for one in seen}) == 1
    assert all(len(list(rank.epoch(3))) == len(rank) for rank in ranks)
    counts = np.bincount(np.concatenate(seen), minlength=total)
    if uneven == "pad":
        assert counts.min() >= 1
        assert counts.sum() - total < world
    else:
        assert counts.max() <= 1
        assert total - counts.sum() < world


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    order = ShardShuffle(SHARDS, 4, seed=3, window=4)
    first = [list(order.epoch(epoch)) for epoch in range(3)]
    again = ShardShuffle(SHARDS, 4, seed=3, window=4)
    assert [list(again.epoch(epoch)) for epoch in (2, 1, 0)] == first[::-1]
    assert first[0] != first[1]
    assert list(ShardShuffle(SHARDS, 4, seed=4, window=4).epoch(0)) != first[0]


def test_the_order_is_that_of_earlier_releases():
    """A run that is resumed with another release must go on where it was."""
    assert ShardShuffle([3, 3, 2], 8, seed=1, window=2).permutation(0).tolist() == ORDER_OF_SEED_1
    assert ShardShuffle([3, 3, 2], 8, seed=1).permutation(5).tolist() == ORDER_OF_EPOCH_5


def test_streams_are_those_of_earlier_releases():
    first = {stream.name: generator(3, stream, 1, 7).random() for stream in Stream}
    assert first == FIRST_NUMBERS


FIRST_NUMBERS = {
    "ORDER": 0.7871146721864256, "AUGMENTATION": 0.33856391470786695, "SLICE_COUNT": 0.1682724916517293,
    "SLICES": 0.8739620648056057, "TINTS": 0.1410049618868403,
}  # fmt: skip
ORDER_OF_SEED_1 = [3, 4, 5, 2, 0, 1, 7, 6]
ORDER_OF_EPOCH_5 = [5, 0, 3, 4, 2, 6, 7, 1]


def test_a_window_keeps_reads_within_its_shards():
    order = ShardShuffle(SHARDS, 4, seed=3, window=3)
    shard_of = np.repeat(np.arange(len(SHARDS)), SHARDS)[order.permutation(0)]
    seen = list(dict.fromkeys(shard_of.tolist()))
    for first in range(0, len(SHARDS), 3):
        window = seen[first : first + 3]
        places = np.flatnonzero(np.isin(shard_of, window))
        assert places[-1] - places[0] + 1 == len(places)
    mixed = ShardShuffle([50] * 20, 4, seed=3, window=4).permutation(0)[:200] // 50
    assert len(set(mixed[:20].tolist())) == 4


def test_full_shuffling_is_uniform():
    """Every sample is as often in every place."""
    counts = np.zeros((12, 12))
    for epoch in range(3000):
        counts[np.arange(12), ShardShuffle([3] * 4, 4, seed=5).permutation(epoch)] += 1
    assert abs(counts - 250).max() < 6 * np.sqrt(250)


def test_without_shuffling_samples_come_by_their_numbers():
    order = ShardShuffle([3, 4], 3, shuffle=False)
    assert list(order.epoch(9)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(ShardShuffle([3, 4], 3, drop_last=True)) == 2


def test_several_processes_together_see_what_one_would():
    """A step of two processes with batches of four has the samples of one process with a batch of eight."""
    one = ShardShuffle([40], 8, seed=2)
    two = [ShardShuffle([40], 4, seed=2, rank=rank, world=2) for rank in (0, 1)]
    for whole, *halves in zip(one.epoch(1), *(order.epoch(1) for order in two), strict=True):
        assert sorted(whole) == sorted(halves[0] + halves[1])


@pytest.mark.parametrize("place", [(0, 0), (1, 3), (1, 0), (2, 21)])
def test_it_goes_on_with_the_very_next_batch(place):
    whole = list(islice(iter(ShardShuffle(SHARDS, 3, seed=3)), 100))
    order = ShardShuffle(SHARDS, 3, seed=3)
    order.start(*place)
    first = place[0] * len(order) + place[1]
    assert list(islice(iter(order), 100 - first)) == whole[first:]


def test_its_state_is_small_and_belongs_to_one_order():
    order = ShardShuffle(SHARDS, 3, seed=3)
    order.start(1, len(order))
    assert order.position == (2, 0)
    state = json.loads(json.dumps(order.state()))
    again = ShardShuffle(SHARDS, 3, seed=3)
    again.load(state)
    assert again.position == (2, 0)
    with pytest.raises(InputError, match="batch_size was 3 and is 4 now"):
        ShardShuffle(SHARDS, 4, seed=3).load(state)
    with pytest.raises(InputError, match="no batch 99 of epoch 0"):
        order.start(0, 99)


@pytest.mark.parametrize(
    ("shards", "options"),
    [([], {"batch_size": 2}), ([3], {"batch_size": 4, "drop_last": True}), ([3], {"batch_size": 0}),
     ([3], {"batch_size": 1, "rank": 1}), ([1], {"batch_size": 1, "world": 2, "uneven": "drop"})],
)  # fmt: skip
def test_what_makes_no_batches_is_refused(shards, options):
    with pytest.raises(InputError):
        ShardShuffle(shards, **options)
