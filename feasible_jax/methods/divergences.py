"""Cross-entropy and Kullback-Leibler divergence of one example, from logits."""

from typing import Any

import jax
import jax.numpy as jnp

from feasible_jax.moments.precision import accumulation_dtype


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """``-log softmax(logits)[label]``, in float32 or wider.

    Args:
      logits: ``(C,)``.
      label: an integer scalar. A label that is no class, such as -100, gives 0 and no gradient: it
        is never used as an index.

    Returns:
      A scalar, >= 0.

    >>> print(f"{cross_entropy(jnp.zeros(10), jnp.array(3)):.4f}")  # log(10)
    2.3026
    """
    log_probabilities = _log_softmax(logits)
    is_label = jnp.arange(logits.shape[-1]) == label
    return -jnp.sum(jnp.where(is_label, log_probabilities, 0))


def kl_divergence(target: jax.Array, logits: jax.Array, temperature: float = 1.0) -> jax.Array:
    """``T^2 KL(softmax(target / T) || softmax(logits / T))``, in float32 or wider.

    The factor keeps gradients comparable between temperatures (Hinton et al., 2015). Both arguments
    are logits, and the first is the teacher's.

    Args:
      target: ``(C,)`` logits of the teacher, which get no gradient.
      logits: ``(C,)`` logits of the student.
      temperature: ``T``, > 0.

    Returns:
      A scalar, >= 0; a class that the teacher gives probability 0 adds nothing.

    >>> target = jnp.log(jnp.array([0.5, 0.5]))
    >>> student = jnp.log(jnp.array([0.25, 0.75]))
    >>> print(f"{kl_divergence(target, student):.4f}")  # 0.5 log 2 + 0.5 log(2/3)
    0.1438
    """
    log_p = jax.lax.stop_gradient(_log_softmax(target, temperature))
    log_q = _log_softmax(logits, temperature)
    p = jnp.exp(log_p)
    return temperature**2 * jnp.sum(jnp.where(p > 0, p * (log_p - log_q), 0))


def _log_softmax(logits: Any, temperature: float = 1.0) -> jax.Array:
    return jax.nn.log_softmax(logits.astype(accumulation_dtype(logits)) / temperature)
