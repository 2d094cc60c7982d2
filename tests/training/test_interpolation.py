"""Between pretrained and fine-tuned weights."""

import numpy as np
import pytest

from kit.training.interpolation import SHARES, between, least_share


@pytest.mark.parametrize("share", SHARES)
def test_what_did_not_change_stays_and_the_end_is_the_end(share):
    start, end = np.random.default_rng(0).normal(0, 10, (2, 1000)).astype(np.float32)
    assert np.array_equal(between([start], [end], 1)[0], end)
    assert np.array_equal(between([start], [start], share)[0], start)
    (found,) = between([start], [end], share)
    assert found.dtype == np.float32
    assert np.allclose(found, (1 - share) * start + share * end, atol=1e-4)


@pytest.mark.parametrize(
    ("least_at", "tolerance", "expected"),
    [
        (1, 0, 1),  # it rises from the start
        (0.7, 0, 0.7),
        (1, 0.05, 0.85),  # 1 + (1 - share)² * 2 is 1.045 at 0.85
        (0.7, 0.05, 0.55),
        (0.3, 0, SHARES[-1]),
    ],
)
def test_the_least_share_that_is_tolerated(least_at, tolerance, expected):
    seen = []

    def loss_at(share):
        seen.append(share)
        return 1 + 2 * (share - least_at) ** 2

    assert least_share(loss_at, tolerance) == pytest.approx(expected)
    # None is tried beyond the first that is worse.
    assert seen == [share for share in SHARES if share >= min(seen)]
    assert min(seen) >= expected - 0.051


def test_none_is_taken_that_the_head_alone_beats():
    losses = dict(zip(SHARES, [0.49, 0.495, 0.51, 0.4], strict=False))
    assert least_share(losses.__getitem__, 0.1, ceiling=0.5) == 0.95
    assert least_share(lambda share: 0.6, 0.1, ceiling=0.5) == SHARES[-1]


def test_a_better_one_on_the_way_counts_as_the_best():
    """The last is 8 % above the first, and 20 % above the best."""
    losses = dict(zip(SHARES, [1.0, 0.9, 0.92, 1.08, 0.5], strict=False))
    assert least_share(losses.__getitem__, 0.1) == 0.9
