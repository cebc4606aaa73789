import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.methods import influence_unlearning

SGD = optax.sgd(1.0)


def stack(by_hand, params, examples):
    """Per-example gradients in float64, ``(N, P)``."""
    gradients = (by_hand(params, example) for example in zip(*examples, strict=True))
    return np.array([np.concatenate([np.ravel(g[name]) for name in params]) for g in gradients])


def edit(method, loss, params, sets):
    result = fj.unlearn(
        loss, params, **sets, method=method, optimizer=SGD, steps=1, batch_size=2,
        progress=False,
    )  # fmt: skip
    return np.concatenate([np.ravel(result.params[name] - params[name]) for name in params])


@pytest.mark.parametrize(("scale", "damping"), [(1.0, 0.01), (0.5, 1.0)])
def test_the_edit_solves_the_system_of_all_examples(scale, damping, loss, params, sets, by_hand):
    forget, retain = (stack(by_hand, params, sets[side]) for side in ("forget", "retain"))
    fisher = retain.T @ retain / 20
    gradient = 6 / 26 * (forget.mean(0) - retain.mean(0))
    expected = scale * np.linalg.solve(fisher + damping * np.eye(15), gradient)
    found = edit(influence_unlearning(scale, damping), loss, params, sets)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_woodfishers_recursion_comes_to_the_same(loss, params, sets, by_hand):
    """Rank-one updates by every retain example, the first one included."""
    forget, retain = (stack(by_hand, params, sets[side]) for side in ("forget", "retain"))
    inverse = np.eye(15) / 0.1
    for g in retain:
        inverse -= np.outer(inverse @ g, inverse @ g) / (20 + g @ inverse @ g)
    expected = inverse @ (6 / 26 * (forget.mean(0) - retain.mean(0)))
    found = edit(influence_unlearning(damping=0.1), loss, params, sets)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [((-1.0,), "scale=-1"), ((1.0, 0.0), "damping=0.0"), ((1.0, 1.0, 0), "iterations=0")],
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        influence_unlearning(*settings)
