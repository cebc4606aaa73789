import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.structured.estimate import _backward
from feasible_jax.moments.structured.gradients import (
    Sums,
    example_gradients,
    gradient_entries,
    is_outer_product,
    is_row_lookup,
    move_sums,
    stacked_steps,
    summed_steps,
    use_sums,
)

B = 6


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


def each_step(p, x):
    return squashed(jax.lax.scan(lambda h, w: (jnp.tanh(h @ w.T), None), x, p)[0])


def every_step(p, x):
    return squashed(jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ p[0]), x))


def both(p, x):
    def outer(h, w):
        return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ -w), h), None

    return squashed(jax.lax.scan(outer, x, p)[0])


def one_step_of_each(p, x):
    return squashed(jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x[0], p)[0])


# A (5, 4, 4) parameter; steps that have a weight of their own, and that share one.
CASES = {
    "dense": (lambda p, x: squashed(x @ p[2]), 1, 1, False),
    "one position": (lambda p, x: squashed(x[0] @ p[2]), 1, 1, True),
    "lifted": (lambda p, x: squashed(x[0] * p[0, 0]), 1, 1, False),
    "each step": (each_step, 5, 1, False),
    "one step of each": (one_step_of_each, 5, 1, True),
    "every step": (every_step, 1, 3, False),
    "both": (both, 5, 3, False),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_and_outer_products(plan_of, normal, name):
    loss, stacks, adds, outer = CASES[name]
    plan = plan_of(loss, normal(5, 4, 4), normal(B, 3, 4))
    (use,) = plan.uses
    assert (stacked_steps(use), summed_steps(use)) == (stacks, adds)
    assert is_outer_product(use) == outer
    assert not is_row_lookup(use)
    assert gradient_entries(use, plan) == plan.program.avals[use.operand].size * stacks


@pytest.mark.parametrize("name", CASES)
def test_gradients_at_a_use_and_their_sums(plan_of, normal, name):
    params, batch = normal(5, 4, 4) / 2, normal(B, 3, 4)
    loss = CASES[name][0]
    plan = plan_of(loss, params, batch)
    (use,) = plan.uses

    @jax.jit
    def at_the_use(params, batch):
        _, data = _backward(plan, [params], batch)
        here = data[use.number]
        want = jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, batch)
        return example_gradients(use, plan, here), use_sums(use, plan, here, None, True), want

    grads, sums, want = at_the_use(params, batch)
    grads = np.float64(grads)
    # What is used is a slice of the parameter: the rest of it has no gradient.
    np.testing.assert_allclose(np.sum(grads**2), np.sum(np.float64(want) ** 2), rtol=1e-4)
    deviations = grads - grads.mean(0)
    np.testing.assert_allclose(sums.mean, grads.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sums.squares, (deviations**2).sum(0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(sums.cubes, (deviations**3).sum(0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("table", "row"),
    [(lambda t, i: t[i], True), (lambda t, i: t[i, i], False), (lambda t, i: t[i[0]], False)],
)
def test_whole_rows_are_told_from_entries(plan_of, normal, integers, table, row):
    plan = plan_of(lambda t, i: squashed(table(t, i)), normal(4, 4), integers(0, 4, B, 2))
    assert [is_row_lookup(use) for use in plan.uses] == [row]


def test_sums_move_with_the_powers_of_the_factor():
    sums = Sums(*(jnp.arange(1.0, 4) for _ in range(3)))
    scaled = move_sums(sums, lambda grad: -2 * grad[::-1], unit=False)
    for values, factor in zip(scaled, (-2, 4, -8), strict=True):
        np.testing.assert_allclose(values, factor * np.arange(3.0, 0, -1))
    moved = move_sums(sums._replace(cubes=None), lambda grad: grad[::-1], unit=True)
    assert moved.cubes is None
    np.testing.assert_allclose(moved.squares, [3, 2, 1])
