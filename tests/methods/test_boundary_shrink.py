import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.methods import Problem, boundary_shrink


def nearest_by_hand(params, inputs, label, eps, probabilities):
    """One fast gradient sign step on a linear model, in float64 NumPy."""
    residual = probabilities(params, inputs) - np.eye(3)[label]
    moved = inputs + eps * np.sign(np.asarray(params["w"], np.float64) @ residual)
    odds = probabilities(params, moved)
    odds[label] = -1
    return odds.argmax()


@pytest.mark.parametrize("eps", [0.1, 3.0])
def test_the_label_is_the_nearest_wrong_class_of_the_original(
    eps, predict, params, sets, probabilities
):
    method = boundary_shrink(eps, batch_size=4)  # the last batch is not full
    assert method.prepare is not None
    forget = jax.tree.map(jnp.asarray, sets["forget"])
    problem = Problem(lambda p, e: p, predict, params)
    made = jax.jit(lambda forget: method.prepare(problem, {"forget": forget}, None))(forget)
    want = [
        nearest_by_hand(params, np.float64(x), y, eps, probabilities)
        for x, y in zip(*sets["forget"], strict=True)
    ]
    assert made.beside["forget"].tolist() == want
    assert (np.asarray(want) != sets["forget"].labels).all()


def test_the_step_towards_the_boundary_matters(params, sets, probabilities):
    """The two lengths above give other classes, or the test above would show nothing."""
    found = [
        [
            nearest_by_hand(params, np.float64(x), y, eps, probabilities)
            for x, y in zip(*sets["forget"], strict=True)
        ]
        for eps in (0.1, 3.0)
    ]
    assert found[0] != found[1]


def test_one_step_teaches_that_label_on_forget_alone(
    one_step, params, moved, by_hand, lone_examples, probabilities
):
    inputs, label = (part[0] for part in lone_examples["forget"])
    nearest = nearest_by_hand(params, np.float64(inputs), label, 0.1, probabilities)
    gradient, result = one_step(boundary_shrink(), params, begin=moved)
    expected = by_hand(moved, (inputs, nearest))
    for name in params:
        np.testing.assert_allclose(gradient[name], expected[name], atol=2e-6)
    assert list(result.history.losses) == ["forget, nearest wrong class"]


def test_inputs_without_a_gradient_are_refused(one_step, params, lone_examples):
    tokens = lone_examples["forget"]._replace(inputs=np.array([[1, 2, 0, 0]]))
    with pytest.raises(ValueError, match="int32"):
        one_step(boundary_shrink(), params, forget=tokens)


@pytest.mark.parametrize("eps", [0.0, -0.1, float("nan")])
def test_a_step_without_length_is_refused(eps):
    with pytest.raises(ValueError, match="eps"):
        boundary_shrink(eps)
