import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.structured.program import (
    Constant,
    all_ops,
    scan_counts,
    trace_program,
)

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)


def names(loss, w=None, batch=None):
    w, batch = jnp.ones((2, 3)) if w is None else w, jnp.ones((5, 3)) if batch is None else batch
    return [op.name for op in trace_program(loss, w, batch).scope.ops]


@pytest.mark.parametrize("wrap", [jax.jit, lambda f: jax.jit(jax.jit(f)), jax.named_call])
def test_calls_are_inlined(wrap):
    assert names(lambda w, x: jnp.sum(wrap(lambda w, x: w @ x)(w, x))) == [
        "dot_general",
        "reduce_sum",
    ]


def test_functions_with_derivatives_of_their_own_are_one_operation():
    found = names(lambda w, x: jnp.sum(jax.nn.relu(w @ x)))
    assert [name.startswith("custom_jvp") for name in found] == [False, True, False]


def evaluate(program, leaves):
    env = dict(zip(program.scope.inputs, leaves, strict=True))
    for op in program.scope.ops:
        read = [a.value if isinstance(a, Constant) else env[a] for a in op.inputs]
        env.update(zip(op.outputs, op.bind(*read), strict=True))
    return [a.value if isinstance(a, Constant) else env[a] for a in program.scope.outputs]


def with_bodies(w, x):
    h = jax.lax.scan(lambda h, _: (jnp.tanh(h * w[0]), None), x, None, length=3)[0]
    h = jax.checkpoint(lambda h: jax.nn.relu(w @ h))(h)
    return jnp.sum(jax.lax.cond(h[0] > 0, jnp.sin, jnp.cos, h) @ jnp.asarray(TABLE)) + 2.0


def test_a_program_computes_what_the_loss_computes():
    w, x = jnp.asarray(TABLE) / 9, jnp.linspace(-1, 1, 3)
    program = trace_program(with_bodies, w, x[None])
    np.testing.assert_allclose(evaluate(program, (w, x))[0], with_bodies(w, x), rtol=1e-6)


def test_operations_and_values_are_numbered_apart():
    program = trace_program(with_bodies, jnp.ones((2, 3)), jnp.ones((5, 3)))
    ops = list(all_ops(program.scope))
    assert len({op.number for op in ops}) == len(ops)
    outputs = [out for op in ops for out in op.outputs]
    assert len(set(outputs)) == len(outputs)
    assert max(outputs) < len(program.avals)
    assert {op.name for op in ops if op.bodies} >= {"scan", "cond"}


@pytest.mark.parametrize("carries", [1, 3])
def test_what_a_scan_takes_in(carries):
    def loss(w, x):
        def step(carry, row):
            return tuple(c * jnp.sum(w) + row for c in carry), None

        return sum(jax.lax.scan(step, (0.0,) * carries, x)[0])

    program = trace_program(loss, jnp.ones(2), jnp.ones((5, 3)))
    (scan,) = [op for op in program.scope.ops if op.name == "scan"]
    consts, carry = scan_counts(scan)
    assert carry == carries
    assert consts + carry + 1 == len(scan.inputs)


def test_a_product_keeps_the_precision_it_was_traced_with():
    def loss(w, x):
        with jax.default_matmul_precision("highest"):
            return jnp.sum(w @ x)

    program = trace_program(loss, jnp.ones((2, 3)), jnp.ones((5, 3)))
    (product,) = [op for op in program.scope.ops if op.name == "dot_general"]
    assert "HIGHEST" in str(product.params["precision"]).upper()


@pytest.mark.parametrize(
    ("loss", "has_aux", "words"),
    [
        (lambda w, x: w @ x, False, r"scalar for ONE example.*float32\[2\]"),
        (lambda w, x: jnp.argmax(w @ x), False, "real floating scalar"),
        (lambda w, x: jnp.sum(w @ x).astype(jnp.complex64), False, "real floating scalar"),
        (lambda w, x: {"loss": jnp.sum(w @ x)}, False, "real floating scalar"),
        (lambda w, x: (jnp.sum(w), 1, 2), True, "pair"),
        (lambda w, x: jnp.sum(w), True, "pair"),
        (lambda w, x: jax.lax.pmean(jnp.sum(w), "batch"), False, r"named axis.*inference mode"),
    ],
)
def test_what_is_wrong_is_said(loss, has_aux, words):
    with pytest.raises(ValueError, match=words):
        trace_program(loss, jnp.ones((2, 3)), jnp.ones((5, 3)), has_aux)


def test_an_error_of_the_loss_itself_is_not_touched():
    def loss(w, x):
        return undefined  # noqa: F821

    with pytest.raises(NameError, match="undefined"):
        trace_program(loss, jnp.ones(2), jnp.ones((5, 3)))


def test_aux_comes_with_its_structure():
    program = trace_program(
        lambda w, x: (jnp.sum(w @ x), {"a": x, "b": None}), jnp.ones((2, 3)), jnp.ones((5, 3)), True
    )
    assert len(program.scope.outputs) == 2
    assert jax.tree.unflatten(program.aux_tree, [1]) == {"a": 1, "b": None}
