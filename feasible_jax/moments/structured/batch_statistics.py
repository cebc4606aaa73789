"""Refuses losses that normalise one example by the statistics of a batch."""

from typing import Any

from feasible_jax.moments.structured.program import Constant, Op, Program, Scope

_SAME_VALUES = {"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "convert_element_type"}


def refuse_batch_statistics(program: Program) -> None:
    """Raise a ``ValueError`` for BatchNorm in training mode.

    Statistics of a batch mix its examples, so that there is no gradient of one of them. What is
    left of such a layer in the loss of one example is another function: on a dense layer it is
    constant. Two signs give it away: a reduction that was written in a class named ``BatchNorm``,
    and a value from which its own mean over axes of length 1 is subtracted.

    Args:
      program: the loss of one example.

    Raises:
      ValueError: that says what to do.

    >>> import jax.numpy as jnp
    >>> from feasible_jax.moments.structured.program import trace_program
    >>> def loss(w, x):
    ...     h = (w @ x)[None]  # a batch of one
    ...     return jnp.sum(h - h.mean(axis=0, keepdims=True))
    >>> refuse_batch_statistics(trace_program(loss, jnp.ones((2, 3)), jnp.ones((5, 3))))
    Traceback (most recent call last):
    ...
    ValueError: loss_fn(params, example) normalises by statistics of the batch ...
    """
    _search(program.scope, program.avals)


def _search(scope: Scope, avals: Any) -> None:
    producers = {out: op for op in scope.ops for out in op.outputs}
    for op in scope.ops:
        if _in_batch_norm(op) or _subtracts_mean_of_one(op, producers, avals):
            raise ValueError(
                "loss_fn(params, example) normalises by statistics of the batch (BatchNorm in "
                "training mode): one example has none, and so no gradient. Use its inference mode "
                "(use_running_average=True in Flax, inference=True in Equinox), or a layer that "
                "normalises each example, such as GroupNorm or LayerNorm."
            )
        for body in op.bodies:
            _search(body, avals)


def _in_batch_norm(op: Op) -> bool:
    if not op.name.startswith(("reduce_", "psum", "pmean")):
        return False
    frames = getattr(op.source.traceback, "frames", ())
    return any(frame.function_name.startswith("BatchNorm.") for frame in frames)


def _subtracts_mean_of_one(op: Op, producers: dict[int, Op], avals: Any) -> bool:
    if op.name != "sub" or any(isinstance(atom, Constant) for atom in op.inputs):
        return False
    value, mean = op.inputs
    while isinstance(mean, int) and (before := producers.get(mean)) is not None:
        if before.name in _SAME_VALUES or _divides_by_constant(before):
            mean = before.inputs[0]
            continue
        if before.name != "reduce_sum" or before.inputs[0] != value:
            return False
        axes = before.params["axes"]
        return bool(axes) and all(avals[value].shape[axis] == 1 for axis in axes)
    return False


def _divides_by_constant(op: Op) -> bool:
    return op.name in ("div", "mul") and isinstance(op.inputs[1], Constant)
