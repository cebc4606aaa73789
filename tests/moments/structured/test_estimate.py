import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments import GradientMoments, grad_moments
from feasible_jax.moments.structured import sums, ways
from feasible_jax.moments.structured.plan import make_plan
from feasible_jax.moments.structured.program import trace_program

B = 7


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


def network(p, x):
    """Parameters of every way: closed, stacked, joint, left over, unused."""
    h = jnp.tanh(x @ p["in"] + p["bias"][None])
    h = jnp.tanh(h @ p["tied"]) @ p["tied"].T
    return squashed(h) + squashed(
        jnp.linalg.solve(p["left"] + 90 * jnp.eye(70, dtype=x.dtype), h[0])
    )


def network_params(normal):
    shapes = {"in": (60, 70), "bias": (70,), "tied": (70, 90), "left": (70, 70), "unused": (3,)}
    return {name: normal(*shape) / 8 for name, shape in shapes.items()}


take = jax.jit(grad_moments(network, "structured"))
take_thirds = jax.jit(grad_moments(network, "structured", third=True))


def with_aux(p, x):
    value = network(p, x)
    return value, {"double": 2 * value, "norm": jnp.sum(p["in"] ** 2), "first": x[0, 0]}


@pytest.mark.parametrize("size", [2, 3, B])
def test_every_way_at_every_size(assert_oracle, normal, size):
    assert_oracle(network, network_params(normal), normal(size, 2, 60), third=size > 2)


def test_the_network_has_every_way(ways_of, normal):
    ways = ways_of(network, network_params(normal), normal(200, 2, 60))
    assert ways.closed
    assert ways.stacked
    assert ways.joint
    assert ways.left_over
    assert ways.unused


@pytest.fixture
def optimized():
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


def test_every_way_in_a_large_batch_compiled_as_for_users(assert_oracle, normal, optimized):
    assert_oracle(network, network_params(normal), normal(90, 2, 60), rtol=3e-5)


@pytest.mark.parametrize(
    "weights", [[1, 0, 2, 1, 0, 1, 3], [0, 0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0, 0]]
)
def test_padding_may_be_nan(assert_moments, wide_oracle, normal, weights):
    batch = normal(B, 2, 60)
    weights = jnp.asarray(weights, jnp.float32)
    padded = jnp.where(weights[:, None, None] > 0, batch, jnp.nan)
    params = network_params(normal)
    moments = take(params, padded, weights)
    assert_moments(moments, wide_oracle(network, params, batch, weights, third=False), 1e-5)


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_examples_know_no_variance(normal, size):
    weights = jnp.ones(2).at[size:].set(0)
    moments = take_thirds(network_params(normal), normal(2, 2, 60), weights)
    for variance in jax.tree.leaves(moments.variance):
        assert np.all(np.isinf(variance)) if size == 1 else np.all(np.isfinite(variance))
    assert all(np.all(np.isnan(third)) for third in jax.tree.leaves(moments.third))


def test_losses_and_aux_are_the_loss_s_own(normal):
    params, batch = network_params(normal), normal(B, 2, 60)
    all_of = grad_moments(with_aux, "structured", return_losses=True, has_aux=True)
    losses, aux, moments = jax.jit(all_of)(params, batch)
    want, want_aux = jax.jit(jax.vmap(with_aux, in_axes=(None, 0)))(params, batch)
    chex.assert_trees_all_close((losses, aux), (want, want_aux), rtol=1e-5)
    assert isinstance(moments, GradientMoments)
    chex.assert_trees_all_equal_shapes_and_dtypes(moments.mean, params)


def test_aux_may_be_of_any_kind(normal):
    def loss(p, x):
        aux = [jnp.argmax(p @ x), {"sign": x > 0, "tanh": jnp.tanh(p), "none": None, "three": 3}]
        return squashed(p @ x), aux

    params, batch = normal(4, 3), normal(B, 3)
    aux, _ = jax.jit(grad_moments(loss, "structured", has_aux=True))(params, batch)
    chex.assert_trees_all_close(aux, jax.vmap(loss, in_axes=(None, 0))(params, batch)[1])


def test_narrow_parameters_and_compute(assert_moments, wide_oracle, normal):
    def loss(p, x):
        h = jax.nn.gelu(x.astype(p["w"].dtype) @ p["w"] + p["b"][None])
        h = h @ p["v"] @ p["v"].T * p["s"]
        return squashed(h).astype(x.dtype)

    shapes = {"w": (20, 30), "b": (30,), "v": (30, 9), "s": ()}
    wide = {name: normal(*shape) / 3 for name, shape in shapes.items()}
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), wide)
    batch = normal(40, 3, 20).astype(jnp.bfloat16).astype(jnp.float32)
    moments = jax.jit(grad_moments(loss, "structured"))(narrow, batch)
    chex.assert_type(jax.tree.leaves(moments), jnp.float32)
    assert_moments(moments, wide_oracle(loss, narrow, batch, third=False), 0.02)


def test_narrow_compute_of_wide_parameters(assert_moments, wide_oracle, normal):
    def loss(p, x):
        w, x = p.astype(jnp.bfloat16), x.astype(jnp.bfloat16)
        return squashed((x @ w).astype(jnp.float32))

    def wide_loss(p, x):
        return squashed(x @ p)

    params, batch = (
        leaf.astype(jnp.bfloat16).astype(jnp.float32)
        for leaf in (normal(9, 8) / 3, normal(60, 3, 9))
    )
    moments = jax.jit(grad_moments(loss, "structured"))(params, batch)
    chex.assert_type(jax.tree.leaves(moments), jnp.float32)
    assert_moments(moments, wide_oracle(wide_loss, params, batch, third=False), 0.01)


def attention(p, x):
    q, k = (jnp.einsum("td,hdk->htk", x, p[name]) for name in "qk")
    mixed = jax.nn.softmax(jnp.einsum("htk,hsk->hts", q, k)) @ x[None]
    return jnp.sum(jnp.sin(jnp.einsum("htd,hdo->to", mixed, p["o"])))


def layers(p, x):
    def layer(h, q):
        return jnp.tanh(h @ q["w"] + q["b"][None]) * q["s"][None], None

    return squashed(jax.lax.scan(layer, x, p)[0])


NARROW = {
    "attention": (attention, {"q": (2, 3, 4), "k": (2, 3, 4), "o": (2, 3, 3)}),
    "layers": (layers, {"w": (5, 3, 3), "b": (5, 3), "s": (5, 3)}),
}


@pytest.mark.parametrize("name", NARROW)
def test_bfloat16_is_as_good_as_its_gradients(normal, name):
    """Within 1% of float32, or as near as gradients are that were rounded on their way."""
    loss, shapes = NARROW[name]
    params = {name: normal(*shape) for name, shape in shapes.items()}
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, normal(12, 5, 3)))
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), narrow)
    vmapped = jax.jit(grad_moments(loss, "vmap"))
    got = jax.jit(grad_moments(loss, "structured"))(*narrow)

    def error(a, b):
        return np.linalg.norm(a - b) / np.linalg.norm(b)

    trees = map(jax.tree.leaves, (got, vmapped(*narrow), vmapped(*wide)))
    for a, of_gradients, b in zip(*trees, strict=True):
        assert a.dtype == jnp.float32
        assert error(a, b) <= max(0.01, 1.5 * error(of_gradients, b))


@pytest.mark.parametrize("size", [B, 120])
def test_float64_is_exact_to_float64(assert_moments, wide_oracle, normal, size):
    params, batch = network_params(normal), normal(size, 2, 60)
    want = wide_oracle(network, params, batch)
    with jax.enable_x64(True):
        params, batch = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, batch))
        got = take_thirds(params, batch)
        chex.assert_type(jax.tree.leaves(got), jnp.float64)
        assert_moments(got, want, 1e-11)


def test_one_compilation_serves_every_batch(normal):
    compiled = take._cache_size()
    params, batch = network_params(normal), normal(B + 1, 2, 60)
    take(params, batch, jnp.ones(B + 1))
    take(jax.tree.map(jnp.sin, params), batch, jnp.zeros(B + 1))
    assert take._cache_size() == compiled + 1


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_extreme_losses_are_never_certain(normal, scale):
    def loss(p, x):
        h = jnp.tanh(x @ p["w"] + p["b"][None])
        return jnp.sum(jnp.sin(h[0] @ p["v"])) * scale

    params = {"w": normal(30, 40) / 5, "b": normal(40), "v": normal(40, 50)}
    moments = jax.jit(grad_moments(loss, "structured"))(params, normal(80, 2, 30))
    for variance in jax.tree.leaves(moments.variance):
        assert np.all((variance > 0) & np.isfinite(variance))


def test_one_nan_spoils_the_layer_that_read_it_and_never_raises(normal):
    def loss(p, x):
        return jnp.sum(p["a"] @ x["a"]) + squashed(p["b"] @ x["b"])

    batch = {"a": normal(B, 3).at[2, 1].set(jnp.nan), "b": normal(B, 3)}
    params = {"a": normal(4, 3), "b": normal(4, 3)}
    moments = jax.jit(grad_moments(loss, "structured"))(params, batch)
    for field in jax.tree.map(np.asarray, (moments.mean, moments.variance)):
        assert np.all(np.isnan(field["a"][:, 1]))
        assert np.all(np.isfinite(field["a"][:, [0, 2]]))
        assert np.all(np.isfinite(field["b"]))


def largest_array(jaxpr):
    """The most entries of any value of a program, bodies and calls included."""
    sizes = [
        var.aval.size for eqn in jaxpr.eqns for var in eqn.outvars if hasattr(var.aval, "size")
    ]
    for eqn in jaxpr.eqns:
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                sizes.append(largest_array(inner))
    return max(sizes, default=0)


MEMORY = {
    "one position": lambda p, x: squashed(x[0] @ p),
    "several positions": lambda p, x: squashed(x @ p),
    "tied": lambda p, x: squashed(jnp.tanh(x @ p) @ p.T),
    "with its decay": lambda p, x: squashed(x @ p) + jnp.sum(p**2),
    "recurrent": lambda p, x: squashed(
        jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ p)[:, :700], x)
    ),
    "softplus": lambda p, x: squashed(x @ jax.nn.softplus(p)),
    "start of a scan": lambda p, x: squashed(
        jax.lax.scan(lambda c, row: ((jnp.tanh(row @ c[1]), 0.9 * c[1]), None),
                     (jnp.zeros(900), p), x)[0][0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_there_is_never_a_gradient_for_every_example(normal, name):
    # A pass of its own takes sixteen examples at a time, and a scan keeps what it carries.
    at_once, size = (16, 128) if name == "start of a scan" else (4, 32)
    rows, columns = 700, 900
    params, batch = normal(rows, columns), normal(size, 2, rows)
    structured = grad_moments(MEMORY[name], "structured")
    closed = jax.make_jaxpr(structured)(params, batch)
    assert rows * columns <= largest_array(closed.jaxpr) <= at_once * rows * columns
    vmap = jax.make_jaxpr(grad_moments(MEMORY[name], "vmap"))(params, batch)
    assert largest_array(vmap.jaxpr) >= size * rows * columns
    memory = jax.jit(structured).lower(params, batch).compile().memory_analysis()
    if memory is not None:
        assert memory.temp_size_in_bytes < 4 * size * rows * columns / 2


def test_nor_all_gradients_of_many_parameters_where_each_would_fit(normal, monkeypatch):
    """As on an accelerator, where much more fits: together they may not take many times as much."""
    monkeypatch.setattr(sums, "held_bytes", lambda: 2**20)
    monkeypatch.setattr(ways, "held_bytes", lambda: 2**20)

    def loss(params, x):
        for p in params:
            x = jnp.tanh(x @ p)
        return squashed(x)

    params, batch = [normal(60, 60) for _ in range(40)], normal(64, 2, 60)
    chosen = ways.choose_ways(make_plan(trace_program(loss, params, batch)), 64)
    held = 4 * 64 * 3600
    assert 0 < len(chosen.stacked) * held <= 2**24 < len(params) * held
    assert len(chosen.stacked) + len(chosen.closed) == len(params)


def test_a_lookup_never_holds_a_table_for_every_example(normal, integers):
    params, ids = normal(50_000, 4), integers(0, 50_000, 64, 3)
    structured = grad_moments(lambda p, i: squashed(p[i]), "structured")
    assert largest_array(jax.make_jaxpr(structured)(params, ids).jaxpr) <= 2 * params.size
