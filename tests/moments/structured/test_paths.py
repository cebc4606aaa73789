import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments.structured import trace_program
from feasible_jax.moments.structured.paths import fans_out, is_structural, pull

B = 6
MASK = np.tri(12, 10, dtype=np.float32)


# From a (12, 10) parameter to what is used.
STRUCTURAL = {
    "itself": lambda w: w,
    "transpose": lambda w: w.T,
    "reshape": lambda w: w.reshape(5, 24),
    "several": lambda w: -(w.T.reshape(4, 3, 10)[:, 1] * 2).T / 3 + 1,
    "slice": lambda w: w[2:9:3, ::2],
    "reverse": lambda w: w[::-1],
    "squeeze": lambda w: w[None][0],
    "half": lambda w: w.astype(jnp.bfloat16).astype(w.dtype),
    "pad": lambda w: jax.lax.pad(w, w.dtype.type(0), ((1, 0, 0), (0, 2, 0))),
    "negative pad": lambda w: jax.lax.pad(w, w.dtype.type(1), ((-1, 2, 1), (0, 0, 0))),
    "split": lambda w: jnp.split(w, 3)[1],
    "broadcast": lambda w: jnp.broadcast_to(w[:, :1], (12, 4)),
    "from one": lambda w: 1 - w,
}
OTHER = {
    "pad with a constant that is computed": lambda w: jnp.pad(w, ((1, 0), (0, 2))),
    "one over": lambda w: 1 / (w + 9),
    "softplus": jax.nn.softplus,
    "exponential": lambda w: jnp.exp(w / 2),
    "power": lambda w: 1.5**w,
    "mask": lambda w: w * jnp.asarray(MASK, w.dtype),
    "lower triangle": jnp.tril,
    "clip": lambda w: jnp.clip(w, -0.5, 0.5),
    "times itself": lambda w: w * w,
    "with its transpose": lambda w: w @ w.T,
    "columns summed": lambda w: w.reshape(12, 5, 2).sum(2),
    "cumulative": lambda w: jnp.cumsum(w, axis=0),
    "normalised": lambda w: w / jnp.linalg.norm(w, axis=0, keepdims=True),
    "centred": lambda w: w - w.mean(0, keepdims=True),
    "largest": lambda w: w.max(0, keepdims=True),
    "twice": lambda w: jnp.concatenate([w, 2 * w]),
    "sorted": lambda w: jnp.sort(w, axis=0),
    "rows": lambda w: w[jnp.array([0, 3, 3])],
    "stepped": lambda w: jax.lax.scan(lambda c, r: (c + r, c * r), w[0], w)[1],
    "padded with itself": lambda w: jax.lax.pad(w, w[0, 0], ((1, 0, 1), (0, 2, 0))),
    "barrier": lambda w: sum(jax.lax.optimization_barrier((w, 2 * w))),
    "rounded": lambda w: w * jax.lax.stop_gradient(jnp.round(w)),
}
WAYS = STRUCTURAL | OTHER


def dense(h, x):
    return jnp.sum(jnp.tanh(x[: h.shape[0]] @ h / 3) ** 2)


def several(h, x):
    rows = jnp.stack([x[: h.shape[0]], x[-h.shape[0] :]])
    return jnp.sum(jnp.tanh(rows @ h / 3) ** 2)


def lifted(h, x):
    return jnp.sum(jnp.tanh(h * x[: h.shape[0], None] / 3) ** 2)


USES = [dense, several, lifted]


@pytest.mark.parametrize("name", WAYS)
def test_every_way_to_every_use(assert_oracle, normal, name):
    rtol = 2e-2 if name == "half" else 1e-5

    def loss(ws, x):
        return sum(use(WAYS[name](w), x) for use, w in zip(USES, ws, strict=True))

    assert_oracle(loss, [normal(12, 10) for _ in USES], normal(B, 24), rtol=rtol)


@pytest.mark.parametrize("name", ["several", "one over", "softplus", "mask", "normalised", "twice"])
def test_every_way_from_parameters_too_large_to_stack(assert_oracle, normal, name):
    # The sums themselves are moved back; 12 x 10 is too small for that.
    def loss(p, x):
        projected = p["big"] @ x
        return sum(
            use(WAYS[name](w[:12, :10]), x) + use(w.T / 20, projected)
            for use, w in ((dense, p["dense"]), (several, p["several"]))
        )

    params = {"dense": normal(300, 250), "several": normal(300, 250), "big": normal(250, 24)}
    assert_oracle(loss, params, normal(40, 24))


@pytest.mark.parametrize("way", [lambda w: (0.1 - w.T / 2)[1:], lambda w: 1 / (w.T + 9), jnp.tril])
def test_large_parameters_a_step_of_a_scan(assert_oracle, normal, way):
    def loss(p, x):
        def step(h, w):
            w = way(w)
            return jnp.tanh(jnp.pad(w @ h / 9, (0, 60 - w.shape[0]))), None

        return jnp.sum(jax.lax.scan(step, x, p)[0] ** 2)

    assert_oracle(loss, normal(4, 60, 60), normal(20, 60))


@pytest.mark.parametrize("name", WAYS)
def test_structural_operations_are_affine_and_say_where_they_fan_out(name):
    program = trace_program(
        lambda w, x: jnp.sum(WAYS[name](w)) * x, jnp.ones((12, 10)), jnp.ones(2)
    )
    *ops, _, _ = program.scope.ops  # the sum and the product
    avals = program.avals
    weights = {program.scope.inputs[0]}
    for op in ops:
        values = [a for a in op.inputs if isinstance(a, int)]
        if not weights.intersection(values):
            continue
        weights.update(op.outputs)
        if len(values) > 1 or not isinstance(op.inputs[0], int):
            assert op.name in ("sub", "add", "mul", "div", "pow") or not is_structural(op, avals)
        if len(values) > 1:
            continue
        jacobians = jacobians_of(op, values[0], program, (0.3, 1.7))
        if is_structural(op, avals):
            np.testing.assert_allclose(*jacobians, rtol=1e-6)
        if not fans_out(op, values, avals):
            assert (jacobians[0] != 0).sum(0).max() <= len(op.outputs), op.name


def jacobians_of(op, atom, program, places):
    """``(entries of all outputs, entries of the input)`` at every place."""
    aval = program.avals[atom]
    ramp = np.arange(aval.size).reshape(aval.shape) / 64

    def run(value):
        outputs = op.bind(*(value if isinstance(a, int) else a.value for a in op.inputs))
        return jnp.concatenate([out.astype(jnp.float32).reshape(-1) for out in outputs])

    take = jax.jit(jax.jacobian(run))
    at_each = [take(jnp.asarray(ramp + at, aval.dtype)) for at in places]
    return [np.asarray(found, np.float64).reshape(-1, aval.size) for found in at_each]


@pytest.mark.parametrize("name", [n for n in STRUCTURAL if n != "itself"])
def test_pull_is_the_transpose(normal, plan_of, name):
    def loss(w, x):
        return jnp.sum(jnp.tanh(STRUCTURAL[name](w) @ jnp.broadcast_to(x, (100,))[:COLUMNS]))

    w = normal(12, 10)
    used = jax.eval_shape(STRUCTURAL[name], w)
    COLUMNS = used.shape[1]
    plan = plan_of(loss, w, jnp.ones(2))
    (use,) = plan.uses
    source, chain = plan.chain_of(use.top)
    shape = plan.program.avals[use.top].shape

    @jax.jit
    def both(w, seed):
        want = jax.vjp(STRUCTURAL[name], w)[1](seed)[0]
        return pull(chain, source, use.top, w.shape, seed.reshape(shape)), want

    got, want = both(w, normal(*used.shape))
    # Casts are left out: in bfloat16 the gradient itself would be rounded.
    np.testing.assert_allclose(got, want, rtol=1e-2 if name == "half" else 1e-6)
