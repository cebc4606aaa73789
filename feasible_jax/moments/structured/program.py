"""The loss of one example as a program: operations on numbered values, calls inlined."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from feasible_jax.moments.per_example import manual_axes

# Calls that only name a piece of a program. Functions with derivatives of their own are not here:
# to look inside would bypass those derivatives.
_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr"}
_BODIES = {"scan": "jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr", "cond": "branches"}


class Constant(NamedTuple):
    """A literal, or an array that the loss captured."""

    value: Any


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: ``outputs = primitive(inputs)``.

    Attributes:
      number: its place in the program, unique.
      primitive: the JAX primitive.
      params: the primitive's parameters.
      inputs: numbers of values, or ``Constant``.
      outputs: numbers of values.
      bodies: the scopes of a scan, a remat or the branches of a cond.
      source: where the user wrote it.
      context: settings under which it was traced, such as the precision of products.
    """

    number: int
    primitive: Any
    params: dict[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]
    bodies: tuple["Scope", ...]
    source: Any
    context: Any

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return self.primitive.name

    def bind(self, *values: Any) -> list[Any]:
        """The outputs for these values of the inputs."""
        params = self.primitive.get_bind_params(self.params)
        with self.context.manager:
            outputs = self.primitive.bind(*values, **params)
        return list(outputs) if self.primitive.multiple_results else [outputs]


class Scope(NamedTuple):
    """A sequence of operations with inputs and outputs of its own."""

    inputs: tuple[int, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Any, ...]


class Program(NamedTuple):
    """The loss of one example.

    Attributes:
      scope: the outermost scope; its inputs are the leaves of the parameters, then of the example.
      avals: shape and dtype of every value, by number.
      num_params: how many of the inputs are parameters.
      aux_tree: the structure of what the loss returns beside its value, None without.
    """

    scope: Scope
    avals: tuple[Any, ...]
    num_params: int
    aux_tree: Any


def all_ops(scope: Scope) -> Iterator[Op]:
    """Every operation of a scope and of the scopes inside."""
    for op in scope.ops:
        yield op
        for body in op.bodies:
            yield from all_ops(body)


def scan_counts(op: Op) -> tuple[int, int]:
    """How many inputs of a scan are the same at every step, and how many it carries along."""
    if "num_consts" in op.params:
        return op.params["num_consts"], op.params["num_carry"]
    consts, carry, _ = op.params["ft_in"].unpack()  # JAX 0.12 and newer
    return len(consts), len(carry)


def trace_program(loss_fn: Callable, params: Any, batch: Any, has_aux: bool = False) -> Program:
    """Trace ``loss_fn(params, example)`` for one example of a batch.

    Args:
      loss_fn: ``(params, example) -> scalar``, or ``(scalar, aux)``.
      params: the parameters, arrays or their shapes and dtypes.
      batch: a tree of arrays with a leading axis of examples.
      has_aux: whether the loss returns a pair.

    Returns:
      The ``Program``.

    Raises:
      ValueError: if the loss is not a real scalar, not a pair where ``has_aux``, or if it asks for
        other examples over a named axis.

    >>> import jax.numpy as jnp
    >>> program = trace_program(lambda w, x: jnp.sin(w) @ x, jnp.ones(2), jnp.ones((5, 2)))
    >>> [op.name for op in program.scope.ops]
    ['sin', 'dot_general']
    """
    leaves, tree = jax.tree.flatten((params, jax.tree.map(_one_example, batch)))
    aux_tree: list[Any] = []

    def flat(*flat_leaves):
        out = loss_fn(*tree.unflatten(flat_leaves))
        loss, aux = _pair(out) if has_aux else (out, None)
        _check_scalar(loss)
        aux_leaves, structure = jax.tree.flatten(aux)
        aux_tree.append(structure)
        return loss, *aux_leaves

    try:
        closed = jax.make_jaxpr(flat)(*leaves)
    except NameError as error:
        if "axis name" not in str(error):
            raise
        raise ValueError(
            f"loss_fn(params, example) communicates over a named axis ({error}), but one example "
            "has no axis of examples: use the inference mode of BatchNorm, and no collectives."
        ) from error
    avals: list[Any] = []
    scope = _Builder(avals).scope(closed)
    num_params = len(jax.tree.leaves(params))
    return Program(scope, tuple(avals), num_params, aux_tree[-1] if has_aux else None)


def _pair(out: Any) -> tuple[Any, Any]:
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise ValueError(
            "loss_fn(params, example) must return a pair (loss, aux) where has_aux=True; "
            f"it returned {jax.tree.structure(out)}."
        )
    return out[0], out[1]


def _check_scalar(loss: Any) -> None:
    got: Any = jax.tree.structure(loss)
    if got.num_nodes == 1 and got.num_leaves == 1:
        dtype = jnp.result_type(loss)
        if jnp.shape(loss) == () and jnp.issubdtype(dtype, jnp.floating):
            return
        got = f"{dtype}{list(jnp.shape(loss))}"
    raise ValueError(
        "loss_fn(params, example) must return a real floating scalar for ONE example, "
        f"without a batch axis; it returned {got}."
    )


def _one_example(leaf: Any) -> Any:
    """What to trace one example as: its shape and dtype, or a slice.

    Only a slice carries the mesh axes along that a batch varies over inside ``shard_map``.
    """
    if not isinstance(leaf, jax.ShapeDtypeStruct) and manual_axes(leaf):
        return leaf[0]
    return jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf))


class _Builder:
    """Numbers values and operations while it walks a jaxpr."""

    def __init__(self, avals: list[Any]):
        self.avals = avals
        self.num_ops = 0

    def scope(self, closed: Any) -> Scope:
        jaxpr, consts = _open(closed)
        env = {var: Constant(const) for var, const in zip(jaxpr.constvars, consts, strict=True)}
        inputs = tuple(self._new(env, var) for var in jaxpr.invars)
        ops: list[Op] = []
        self._walk(jaxpr, env, ops)
        return Scope(inputs, tuple(ops), tuple(_read(env, var) for var in jaxpr.outvars))

    def _walk(self, jaxpr: Any, env: dict[Any, Any], ops: list[Op]) -> None:
        for eqn in jaxpr.eqns:
            inputs = tuple(_read(env, var) for var in eqn.invars)
            if eqn.primitive.name in _INLINED:
                inner, consts = _open(eqn.params[_INLINED[eqn.primitive.name]])
                names = [*inner.constvars, *inner.invars]
                values = [*map(Constant, consts), *inputs]
                inside = dict(zip(names, values, strict=True))
                self._walk(inner, inside, ops)
                for var, outer in zip(inner.outvars, eqn.outvars, strict=True):
                    env[outer] = _read(inside, var)
                continue
            bodies = (
                eqn.params[_BODIES[eqn.primitive.name]] if eqn.primitive.name in _BODIES else ()
            )
            bodies = bodies if isinstance(bodies, tuple) else (bodies,)
            outputs = tuple(self._new(env, var) for var in eqn.outvars)
            scopes = tuple(self.scope(body) for body in bodies)
            where = (eqn.source_info, eqn.ctx)
            op = Op(self.num_ops, eqn.primitive, eqn.params, inputs, outputs, scopes, *where)
            ops.append(op)
            self.num_ops += 1

    def _new(self, env: dict[Any, Any], var: Any) -> int:
        self.avals.append(var.aval)
        env[var] = len(self.avals) - 1
        return env[var]


def _open(jaxpr: Any) -> tuple[Any, list[Any]]:
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, jex.ClosedJaxpr) else (jaxpr, [])


def _read(env: dict[Any, Any], var: Any) -> Any:
    return Constant(var.val) if isinstance(var, jex.Literal) else env[var]
