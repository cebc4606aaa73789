import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

import feasible_jax as fj
from feasible_jax.methods import Problem, amnesiac


def wrong_labels(labels, num_classes, key=0):
    """The labels that are kept beside a forget set."""
    method = amnesiac(num_classes)
    assert method.prepare is not None
    forget = fj.Examples(np.zeros((len(labels), 2), np.float32), jnp.asarray(labels))
    made = method.prepare(Problem(None, None, None), {"forget": forget}, jax.random.key(key))  # type: ignore[arg-type]
    return np.asarray(made.beside["forget"])


def test_wrong_classes_are_drawn_uniformly_and_the_right_one_never():
    labels = np.full(9000, 7, np.int8)
    drawn = wrong_labels(labels, 10)
    assert drawn.dtype == np.int8
    counts = np.bincount(drawn, minlength=10)
    assert counts[7] == 0
    assert chisquare(np.delete(counts, 7)).pvalue > 1e-3
    assert (wrong_labels(labels, 10, key=1) != drawn).mean() > 0.8


def test_a_label_that_is_no_class_stays_what_it_is():
    assert wrong_labels(np.array([-100, 0, 1]), 2).tolist() == [-100, 1, 0]


def test_one_step_teaches_the_wrong_label_and_the_right_ones(
    one_step, params, by_hand, lone_examples
):
    """With two classes there is one wrong label, so the step is known by hand."""
    two = {"w": params["w"][:, :2], "b": params["b"][:2]}
    retain = fj.Examples(lone_examples["retain"].inputs, np.array([0]))
    gradient, result = one_step(amnesiac(2), two, retain=retain)
    wrong = by_hand(two, (lone_examples["forget"].inputs[0], 0))  # the true label is 1
    right = by_hand(two, (retain.inputs[0], 0))
    for name in two:
        np.testing.assert_allclose(gradient[name], wrong[name] + right[name], atol=2e-6)
    assert set(result.history.losses) == {"forget, wrong labels", "retain"}


@pytest.mark.filterwarnings("ignore:1 of 1 forget examples")
def test_an_example_keeps_its_label_whenever_it_is_drawn(one_step, params, by_hand, lone_examples):
    """A batch of one example 64 times over has the gradient of one label, 0 or 2, not of a mix."""
    forget = lone_examples["forget"]
    gradient, _ = one_step(amnesiac(3), params, batch_size=64, retain=forget)
    right = by_hand(params, (forget.inputs[0], 1))
    mixes = [by_hand(params, (forget.inputs[0], label))["b"] + right["b"] for label in (0, 2)]
    assert min(np.abs(gradient["b"] - mix).max() for mix in mixes) < 2e-6


def test_one_class_has_no_wrong_label():
    with pytest.raises(ValueError, match="at least 2"):
        amnesiac(1)
