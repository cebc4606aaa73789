import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.feasibility import Selection
from feasible_jax.methods import gradient_ascent
from feasible_jax.methods.one_shot import is_one_shot, one_shot

PARAMS = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(3.0, jnp.bfloat16)}
DATA = {"forget": jnp.array([[4.0]]), "retain": jnp.array([[6.0], [8.0]])}


def edit(problem, data, key):
    shift = data["forget"].mean() + data["retain"].mean()  # 4 + 7
    return jax.tree.map(lambda p: p.astype(jnp.float32) + shift, problem.original_params)


SHIFT = one_shot("shift", edit)


def loss(params, example):
    return example[0] * (params["w"].sum() + params["b"].astype(jnp.float32))


def run(method=SHIFT, rate=1.0, steps=1, **kwargs):
    return fj.unlearn(
        loss, PARAMS, **DATA, method=method, optimizer=optax.sgd(rate), steps=steps, batch_size=2,
        progress=False, **kwargs,
    )  # fmt: skip


def test_one_step_at_a_rate_of_one_is_the_edit():
    result = run()
    assert result.params["w"].tolist() == [12.0, 9.0]
    assert (result.params["b"].dtype, float(result.params["b"])) == (jnp.bfloat16, 14.0)
    assert result.history.losses == {}


@pytest.mark.parametrize(("rate", "steps", "part"), [(0.25, 1, 0.25), (0.5, 2, 0.75), (1.0, 3, 1)])
def test_smaller_rates_make_parts_of_it_and_further_steps_come_closer(rate, steps, part):
    result = run(rate=rate, steps=steps)
    np.testing.assert_allclose(result.params["w"], [1 + 11 * part, -2 + 11 * part])


def test_the_edit_is_an_update_that_is_masked_like_any_other():
    def select(proposal, state):
        keep = tuple(jnp.full((), path != "b") for path in proposal.paths)
        return Selection(keep, {c.name: keep for c in proposal.constraints}), state

    rule = fj.Rule("frozen", "nothing", lambda params: (), select)
    result = run(feasibility=fj.feasible_updates(decrease=("retain",), rule=rule))
    assert result.params["w"].tolist() == [12.0, 9.0]
    assert float(result.params["b"]) == 3.0


def test_an_edit_that_is_not_finite_is_said_not_hidden():
    broken = one_shot("broken", lambda problem, data, key: jax.tree.map(
        lambda p: p * jnp.nan, problem.original_params
    ))  # fmt: skip
    with pytest.warns(RuntimeWarning, match="broken: a loss or a parameter was not finite"):
        result = run(broken)
    assert result.params["w"].tolist() == PARAMS["w"].tolist()


def test_methods_with_objectives_are_not_one_shot():
    assert is_one_shot(SHIFT)
    assert not is_one_shot(gradient_ascent())
