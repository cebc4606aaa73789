import jax
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import scrub, scrub_r

TAMED = {"min_steps": 2, "max_steps": 1, "max_until": 0.6}


@pytest.fixture
def run(loss, predict, params, sets):
    def run(method, **kwargs):
        seen = {}
        result = fj.unlearn(
            loss, params, **sets, method=method, optimizer=optax.sgd(0.5), steps=12, batch_size=8,
            chunk_size=2, predict_fn=predict, progress=False,
            on_chunk=lambda step, params: seen.update({step: params}), **kwargs,
        )  # fmt: skip
        return result, seen

    return run


def error(predict, params, examples):
    return float(np.mean(predict(params, examples.inputs).argmax(-1) != examples.labels))


def test_until_it_goes_back_every_step_is_that_of_scrub(run, sets):
    plain, plain_seen = run(scrub(0.3, 0.7, 3.0, **TAMED))
    result, seen = run(scrub_r(0.3, 0.7, 3.0, **TAMED), rewind_to=sets["retain"])
    assert list(seen) == list(plain_seen) == [2, 4, 6, 8, 10, 12]
    for one, other in ((seen, plain_seen), (result.history, plain.history)):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_it_goes_back_to_where_forget_examples_were_no_harder_than_unseen_ones(run, predict, sets):
    rng = np.random.default_rng(4)
    unseen = fj.Examples(rng.normal(size=(40, 4)).astype(np.float32), np.ones(40, int))
    result, seen = run(scrub_r(**TAMED), rewind_to=unseen)
    wanted = error(predict, seen[12], unseen)
    gaps = {step: abs(error(predict, at, sets["forget"]) - wanted) for step, at in seen.items()}
    nearest = max(step for step, gap in gaps.items() if gap == min(gaps.values()))
    assert nearest < 12, "the test would show nothing otherwise"
    assert result.rewound_to == nearest
    for name in result.params:
        np.testing.assert_array_equal(result.params[name], seen[nearest][name])


def test_it_does_not_run_without_knowing_where_to_go_back_to(loss, params):
    with pytest.raises(ValueError, match=r"'SCRUB\+R' goes back .* pass rewind_to=\(inputs"):
        fj.unlearn(
            loss, params, forget=None, retain=None, method=scrub_r(), optimizer=optax.sgd(0.1),
            steps=1,
        )  # fmt: skip


def test_numbers_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="temperature"):
        scrub_r(temperature=0)
