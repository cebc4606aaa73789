"""UNSIR: impair with noise that stands for what is to be forgotten, then repair."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from feasible_jax.methods.divergences import cross_entropy
from feasible_jax.methods.labels import inputs_of_pair, label_of_pair
from feasible_jax.methods.logits import logits_of
from feasible_jax.methods.method import Method, Objective, Prepared, Problem


def unsir(
    impair: float = 0.5,
    noise_size: int = 256,
    noise_steps: int = 40,
    noise_rate: float = 0.1,
    penalty: float = 2.0,
    inputs_of: Callable[[Any], jax.Array] = inputs_of_pair,
    label_of: Callable[[Any], jax.Array] = label_of_pair,
) -> Method:
    """Train on error-maximising noise under the forgotten labels, then on the retain set alone.

    UNSIR of Tarun et al., *Fast Yet Effective Machine Unlearning* (2021). Before the first step,
    noise ``x`` in the shape of the inputs is made that the original model is most wrong about, by
    Adam from standard normal numbers; its labels ``y`` are drawn from the forget set's::

        noise:   minimise  -mean CE(original(x), y) + penalty mean ||x||^2  over the noise
        impair:  minimise  mean CE(x, y) + mean CE(retain)                  over the parameters
        repair:  minimise  mean CE(retain)                                  over the parameters

    It never looks at a forget example, only at the labels, and was made for forgetting classes:
    there the noise has one label. It needs ``predict_fn``. The paper's penalty is 0.1: for images
    in [0, 1] that makes noise of many times their norm, and damage beyond repair in as many steps.

    Args:
      impair: share of the run after which repair begins, in [0, 1].
      noise_size: how many images of noise, at least 1.
      noise_steps: steps of Adam on them, at least 1.
      noise_rate: its learning rate, > 0.
      penalty: weight of the squared norm of the noise, >= 0.
      inputs_of: how to read an example's inputs, of floating point; for pairs ``(inputs, label)``
        by default.
      label_of: how to read its label.

    Returns:
      A ``Method``.

    Raises:
      ValueError: if a number lies outside its range; when the run begins, if the inputs are no
        floats.

    >>> method = unsir(impair=0.5)
    >>> [int(method.schedule(step, step / 4)) for step in range(4)]
    [0, 0, 1, 1]
    """
    _check(impair, noise_size, noise_steps, noise_rate, penalty)

    def prepare(problem: Problem, data, key):
        start_key, label_key = jax.random.split(key)
        labels = jax.vmap(label_of)(data["forget"])
        labels = labels[jax.random.randint(label_key, (noise_size,), 0, len(labels))]
        like = jax.eval_shape(jax.vmap(inputs_of), data["forget"])
        if not jnp.issubdtype(like.dtype, jnp.floating):
            raise ValueError(
                f"UNSIR learns noise in the place of inputs, but they are {like.dtype}: convert "
                "them to floats."
            )
        start = jax.random.normal(start_key, (noise_size, *like.shape[1:]), like.dtype)

        def harmless(noise, label):
            logits = logits_of(problem, problem.original_params, noise)
            return penalty * jnp.sum(noise**2) - cross_entropy(logits, label)

        def loss(noise):
            return jnp.mean(jax.vmap(harmless)(noise, labels))

        return Prepared(extras=(_minimise(loss, start, noise_steps, noise_rate), labels))

    def on_noise(problem: Problem, params, example, key):
        del example
        noise, labels = problem.extras
        row = jax.random.randint(key, (), 0, noise_size)
        return cross_entropy(logits_of(problem, params, noise[row]), labels[row])

    objectives = (Objective("noise", "forget", on_noise), Objective("retain", "retain"))
    return Method(
        "UNSIR", objectives, (1.0, 1.0), phases=(("noise", "retain"), ("retain",)),
        schedule=lambda step, progress: jnp.asarray(progress) >= impair, prepare=prepare,
    )  # fmt: skip


def _minimise(loss: Callable, start: jax.Array, steps: int, rate: float) -> jax.Array:
    # optax raises its float decay to an integer power, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        adam = optax.adam(rate)

        def step(_, carry):
            noise, state = carry
            updates, state = adam.update(jax.grad(loss)(noise), state)
            return optax.apply_updates(noise, updates), state

        return jax.lax.fori_loop(0, steps, step, (start, adam.init(start)))[0]


def _check(impair, noise_size, noise_steps, noise_rate, penalty) -> None:
    if not 0 <= impair <= 1:
        raise ValueError(f"impair={impair}: give a share in [0, 1].")
    for name, value in (("noise_size", noise_size), ("noise_steps", noise_steps)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: give a whole number of at least 1.")
    if not noise_rate > 0:
        raise ValueError(f"noise_rate={noise_rate}: give a number above 0.")
    if not penalty >= 0:
        raise ValueError(f"penalty={penalty}: give a number >= 0.")
