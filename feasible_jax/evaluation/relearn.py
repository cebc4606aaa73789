"""Relearn time: how fast a model wins back what it was to forget."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from feasible_jax.evaluation.per_example import correct
from feasible_jax.evaluation.predictions import predict
from feasible_jax.unlearning.batches import draw_batch
from feasible_jax.unlearning.chunks import is_slow_in_loops
from feasible_jax.unlearning.task import Examples, Params, Task

# Made once, so that every call finds its compiled program again.
_DEFAULT_OPTIMIZER = optax.adam(1e-3)
# Examples looked at together, so that memory does not grow with the forget set.
_LOOK = 1000


class RelearnTime(NamedTuple):
    """What fine-tuning on the forget set came to.

    Attributes:
      steps: taken until the forget accuracy was won back, or the most that were allowed.
      recovered: whether it was won back.
      accuracy: on the forget set after the last step, in percent.

    >>> RelearnTime(12, True, 100.0).steps
    12
    """

    steps: int
    recovered: bool
    accuracy: float


class _State(NamedTuple):
    step: jax.Array
    params: Params
    opt_state: Any
    key: jax.Array
    correct: jax.Array


def relearn_time(
    task: Task,
    params: Params,
    *,
    margin: float = 0.0,
    max_steps: int = 1000,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 64,
    seed: int = 0,
) -> RelearnTime:
    """The steps of fine-tuning on the forget set that win back the original's accuracy on it.

    A model may answer wrongly and still hold what it would need to answer rightly; then it relearns
    in fewer steps than a model that never saw the forget set. The target is the retrained model's
    value: fewer steps say that something was kept, more that the model was damaged. The original
    model needs none. Each step is a gradient step on a batch drawn with replacement; all of the
    forget set is looked at after each, inside the compiled loop. Source: Golatkar et al., "Eternal
    sunshine of the spotless net", CVPR 2020 (arXiv 1911.04933); the ratio to the retrained model's
    value is the anamnesis index of Chundawat et al., 2023 (arXiv 2201.05629), with a margin of 5 to
    10 points.

    Args:
      task: the forget set with the labels it was trained on, and the original model.
      params: the model to measure; they are not changed.
      margin: how far below the original's forget accuracy is near enough, in percent points.
      max_steps: the most steps that are taken, not negative.
      optimizer: any Optax optimizer, Adam at 1e-3 if not given; pass the same object each time, for
        a new one is compiled anew.
      batch_size: examples a step.
      seed: of the batches.

    Returns:
      ``RelearnTime(steps, recovered, accuracy)``.

    Raises:
      ValueError: if a size is out of range or ``predict_fn`` does not return logits.

    >>> import numpy as np
    >>> def loss(w, example):
    ...     return -jax.nn.log_softmax(example.inputs @ w)[example.labels]
    >>> some = Examples(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    >>> task = Task("toy", loss, lambda w, x: x @ w, np.eye(3, dtype=np.float32), some, some, some,
    ...             some, num_classes=3)
    >>> relearn_time(task, task.params).steps
    0
    >>> relearn_time(task, -0.01 * task.params).recovered
    True
    """
    if not 0 <= margin <= 100 or max_steps < 0 or batch_size < 1:
        raise ValueError(
            f"margin is {margin}, max_steps {max_steps} and batch_size {batch_size}: give a margin "
            "in points, in [0, 100], at least 0 steps and batches of at least 1."
        )
    original = predict(task.predict_fn, task.params, task.forget)
    count = len(original.labels)
    wanted = math.ceil(round(correct(original).sum() - margin * count / 100, 6))
    optimizer = _DEFAULT_OPTIMIZER if optimizer is None else optimizer
    how = (task.loss_fn, task.predict_fn, optimizer, batch_size)
    forget = jax.tree.map(jnp.asarray, Examples(*task.forget))
    state = _start(task.predict_fn, optimizer, params, jax.random.key(seed), forget)
    limits = jnp.int32(max_steps), jnp.int32(wanted)
    if is_slow_in_loops(_jitted_step, (*how, state, forget)):
        while _goes_on(state, limits):
            state = _jitted_step(*how, state, forget)
    else:
        state = _run(*how, state, forget, limits)
    right = int(state.correct)
    return RelearnTime(int(state.step), right >= wanted, 100.0 * right / count)


@partial(jax.jit, static_argnums=(0, 1))
def _start(predict_fn, optimizer, params, key, forget) -> _State:
    params = jax.tree.map(jnp.asarray, params)
    right = _correct(predict_fn, params, forget)
    return _State(jnp.int32(0), params, optimizer.init(params), key, right)


def _step(loss_fn, predict_fn, optimizer, batch_size, state: _State, forget: Examples) -> _State:
    key, draw = jax.random.split(state.key)
    batch = draw_batch(draw, forget, batch_size)

    def mean_loss(params):
        return jax.vmap(loss_fn, in_axes=(None, 0))(params, batch).mean()

    grads = jax.grad(mean_loss)(state.params)
    # optax raises its float decay to an integer power, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return _State(state.step + 1, params, opt_state, key, _correct(predict_fn, params, forget))


_jitted_step = jax.jit(_step, static_argnums=(0, 1, 2, 3))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _run(loss_fn, predict_fn, optimizer, batch_size, state: _State, forget, limits) -> _State:
    step = partial(_step, loss_fn, predict_fn, optimizer, batch_size)
    return jax.lax.while_loop(
        lambda state: _goes_on(state, limits), lambda state: step(state, forget), state
    )


def _goes_on(state: _State, limits: tuple[jax.Array, jax.Array]) -> jax.Array:
    max_steps, wanted = limits
    return (state.step < max_steps) & (state.correct < wanted)


def _correct(predict_fn, params, examples: Examples) -> jax.Array:
    """How many examples are classified correctly, counted as ``correct`` does."""
    count = len(examples.labels)
    size = min(count, _LOOK)
    parts = -(-count // size)

    def of_part(part):
        inputs, labels, real = part
        logits = predict_fn(params, inputs)
        right = jnp.isfinite(logits.max(axis=1)) & (logits.argmax(axis=1) == labels)
        return (right & real).sum(dtype=jnp.int32)

    def split(leaf):
        rows = jnp.minimum(jnp.arange(parts * size), count - 1)
        return leaf[rows].reshape(parts, size, *leaf.shape[1:])

    real = jnp.arange(parts * size).reshape(parts, size) < count
    return jax.lax.map(of_part, (split(examples.inputs), split(examples.labels), real)).sum()
