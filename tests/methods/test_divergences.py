import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from feasible_jax.methods.divergences import cross_entropy, kl_divergence

RNG = np.random.default_rng(0)
TEACHER, STUDENT = RNG.normal(0, 3, 7), RNG.normal(0, 3, 7)
T, S = jnp.asarray(TEACHER, jnp.float32), jnp.asarray(STUDENT, jnp.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_divergence_is_that_of_the_teacher_from_the_student(temperature):
    p, q = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
    expected = temperature**2 * rel_entr(p, q).sum()
    value, gradient = jax.value_and_grad(kl_divergence, argnums=1)(T, S, temperature)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, temperature * (q - p), atol=2e-6)


def test_logits_are_normalised_on_both_sides():
    """Neither side may be read as log-probabilities: a shift of all logits changes nothing."""
    np.testing.assert_allclose(kl_divergence(T + 5, S - 3), kl_divergence(T, S), rtol=1e-5)
    assert abs(float(kl_divergence(T + 5, T))) < 1e-6


def test_the_teacher_is_not_trained():
    assert not jax.grad(kl_divergence, argnums=0)(T, S).any()


def test_a_class_that_the_teacher_excludes_adds_nothing():
    teacher = jnp.array([0.0, 1.0, -jnp.inf])
    student = jnp.array([1.0, 0.0, -jnp.inf])
    value, gradient = jax.value_and_grad(kl_divergence, argnums=1)(teacher, student)
    np.testing.assert_allclose(value, rel_entr(softmax([0, 1]), softmax([1, 0])).sum(), rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_cross_entropy_is_minus_the_log_probability_of_the_label():
    for label in range(7):
        value, gradient = jax.value_and_grad(cross_entropy)(S, jnp.array(label))
        np.testing.assert_allclose(value, -log_softmax(STUDENT)[label], rtol=1e-5)
        np.testing.assert_allclose(gradient, softmax(STUDENT) - np.eye(7)[label], atol=1e-6)


@pytest.mark.parametrize("label", [-100, -1, 7])
def test_a_label_that_is_no_class_is_never_an_index(label):
    value, gradient = jax.value_and_grad(cross_entropy)(S, jnp.array(label))
    assert float(value) == 0
    assert not gradient.any()


def test_low_precision_logits_are_compared_in_float32():
    teacher, student = T.astype(jnp.bfloat16), S.astype(jnp.bfloat16)
    assert kl_divergence(teacher, student, 2.0).dtype == jnp.float32
    assert cross_entropy(student, jnp.array(1)).dtype == jnp.float32
    gradient = jax.grad(kl_divergence, argnums=1)(teacher, student)
    assert gradient.dtype == jnp.bfloat16
