import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.feasibility.counting import count_each

SHAPES = [(), (1,), (0,), (7,), (5, 0), (3, 4), (2, 3, 4, 5)]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_counts_are_those_of_each_mask_in_each_leaf(wrap):
    rng = np.random.default_rng(0)
    masks = [rng.random(shape) < 0.4 for shape in SHAPES]
    parts = [rng.random(shape).astype(np.float32) for shape in SHAPES]
    counts, sums = wrap(count_each)(list(map(jnp.asarray, masks)), list(map(jnp.asarray, parts)))
    assert [int(c) for c in counts] == [mask.sum() for mask in masks]
    np.testing.assert_allclose(sums, [part.sum() for part in parts], rtol=1e-6)


def test_a_mask_that_broadcasts_counts_for_the_whole_leaf():
    every, some = count_each([jnp.array(True)], [jnp.array([[True, False, True]] * 2)])
    assert (float(every[0]), float(some[0])) == (6, 4)


def test_nothing_to_count():
    assert count_each([], []) == ([], [])


def test_half_precision_parts_are_summed_in_single():
    (sums,) = count_each([jnp.full(5000, 0.5, jnp.bfloat16)])
    assert sums[0] == 2500


def test_no_gradient_flows_through_counts():
    def scaled(x):
        (sums,) = count_each([x])
        return sums[0] * x.sum()

    np.testing.assert_allclose(jax.grad(scaled)(jnp.array([1.0, 2.0])), [3.0, 3.0])


def test_all_masks_of_a_leaf_are_summed_in_one_reduction():
    masks = [[jnp.ones((8, 8), bool)]] * 5
    text = str(jax.make_jaxpr(count_each)(*masks))
    assert text.count(" reduce[") == 1
