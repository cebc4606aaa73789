"""The contenders of the moments benchmark that run in JAX."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from moments_contender import MICROBATCH_SIZE, Contender, Prepared, one_microbatch, whole_batch
from moments_models import Architecture
from optax import microbatching

import feasible_jax as fj


def plain_gradient(loss_fn: Callable) -> Callable:
    """The mean loss of a batch and its gradient."""

    def mean_loss(params, batch):
        return jax.vmap(loss_fn, in_axes=(None, 0))(params, batch).mean()

    return jax.value_and_grad(mean_loss)


def grad_moments(loss_fn: Callable, strategy: str) -> Callable:
    """Mean and variance by a strategy of this library."""
    moments_of = fj.grad_moments(loss_fn, strategy, microbatch_size=MICROBATCH_SIZE)

    def mean_and_variance(params, batch):
        moments = moments_of(params, batch)
        return moments.mean, moments.variance

    return mean_and_variance


def optax_micro_grad(loss_fn: Callable) -> Callable:
    """Mean and variance from Optax's sums of gradients and of their squares.

    ``E[g^2] - E[g]^2`` cancels in float32 where the mean is large beside the deviation, which no
    other contender allows itself; it is what the sums that ``micro_grad`` can accumulate give.
    """

    def mean_and_variance(params, batch):
        size = len(jax.tree.leaves(batch)[0])
        sums_of = microbatching.micro_grad(
            loss_fn,
            keep_batch_dim=False,
            microbatch_size=min(size, MICROBATCH_SIZE),
            accumulator=microbatching.AccumulationType.SUM,
            transform_fn=lambda grads: (grads, jax.tree.map(jnp.square, grads)),
        )
        (sums, squares), _ = sums_of(params, batch)
        mean = jax.tree.map(lambda s: s / size, sums)
        variance = jax.tree.map(lambda q, m: (q - size * m * m) / (size - 1), squares, mean)
        return mean, variance

    return mean_and_variance


def prepare(make: Callable[[Callable], Callable], model: Architecture, size: int) -> Prepared:
    """Compile what ``make`` builds from a loss, with parameters and batch as arguments."""
    args = jax.tree.map(jnp.asarray, (model.init(), model.batch(size)))
    # So that no contender finds pieces that an earlier one has traced.
    jax.clear_caches()
    start = time.perf_counter()
    compiled = jax.jit(make(model.loss_fn)).lower(*args).compile()
    seconds = time.perf_counter() - start
    memory: Any = compiled.memory_analysis()
    temp_bytes = None if memory is None else memory.temp_size_in_bytes
    return Prepared(lambda: jax.block_until_ready(compiled(*args)), seconds, temp_bytes)


def _ours(strategy: str, **about: Any) -> Contender:
    label = f"fj {strategy}"
    make = partial(grad_moments, strategy=strategy)
    return Contender(strategy, label, "jax", partial(prepare, make), **about)


CONTENDERS = (
    Contender("plain", "plain gradient", "jax", partial(prepare, plain_gradient)),
    _ours("structured"),
    _ours("vmap", examples_held=whole_batch),
    _ours("microbatch", examples_held=one_microbatch),
    Contender(
        "optax",
        "optax micro_grad",
        "jax",
        partial(prepare, optax_micro_grad),
        examples_held=one_microbatch,
    ),
)
