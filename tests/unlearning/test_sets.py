import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.unlearning import Examples
from feasible_jax.unlearning.sets import join_sets, shared_examples, warn_of_shared


def some(n, seed=0):
    rng = np.random.default_rng(seed)
    return Examples(rng.normal(size=(n, 2, 3)).astype("f"), rng.integers(0, 2, n))


def rows(examples, *which):
    return Examples(*(part[np.array(which)] for part in examples))


def test_examples_shared_are_those_equal_in_every_part():
    retain = some(30)
    forget = rows(retain, 3, 7, 7, 11)
    assert shared_examples(forget, retain) == 4
    assert shared_examples(some(4, seed=1), retain) == 0
    relabelled = forget._replace(labels=1 - forget.labels)
    assert shared_examples(relabelled, retain) == 0
    moved = forget._replace(inputs=forget.inputs + np.array([0, 0, 1e-6, 0], "f")[:, None, None])
    assert shared_examples(moved, retain) == 3


def test_sets_of_other_kinds_share_nothing():
    retain = some(30)
    for other in (
        retain.inputs,
        retain._replace(inputs=retain.inputs[:, 0]),
        retain._replace(inputs=retain.inputs.astype(np.float64)),
    ):
        assert shared_examples(other, retain) == 0


def test_the_warning_says_how_many_and_where():
    retain = some(30)
    data = {"forget": rows(retain, 1, 2), "retain": retain}
    with pytest.warns(UserWarning, match="^2 of 2 forget examples are also in the ret") as caught:
        warn_of_shared(data, stacklevel=1)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shared(data | {"forget": some(2, seed=1)}, stacklevel=1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_the_first_example_with_nan_is_named(dtype):
    bad = np.ones((5, 2), dtype)
    bad[3:, 1] = np.nan
    with pytest.raises(ValueError, match=r"group set: group\['x'\]\[3\] holds NaN"):
        join_sets(np.ones((2, 2)), np.ones((3, 2)), {"group": {"x": bad}})


def test_infinity_is_left_to_the_run_and_integers_have_no_nan():
    data = join_sets(np.full((2, 2), -np.inf), np.ones((3, 2), int), {})
    assert data["forget"].shape == (2, 2)
