import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments import GradientMoments, grad_moments

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


def test_every_way_in_a_large_batch(assert_oracle, normal):
    assert_oracle(network, network_params(normal), normal(90, 2, 60), rtol=3e-5)


@pytest.mark.parametrize(
    "weights", [[1, 0, 2, 1, 0, 1, 3], [0, 0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0, 0]]
)
def test_padding_may_be_nan(assert_moments, wide_oracle, normal, weights):
    batch = normal(B, 2, 60)
    weights = jnp.asarray(weights, jnp.float32)
    padded = jnp.where(weights[:, None, None] > 0, batch, jnp.nan)
    params = network_params(normal)
    moments = jax.jit(grad_moments(network, "structured"))(params, padded, weights)
    assert_moments(moments, wide_oracle(network, params, batch, weights, third=False), 1e-5)


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_examples_know_no_variance(normal, size):
    weights = jnp.ones(2).at[size:].set(0)
    moments = grad_moments(network, "structured", third=True)(
        network_params(normal), normal(2, 2, 60), weights
    )
    for variance in jax.tree.leaves(moments.variance):
        assert np.all(np.isinf(variance)) if size == 1 else np.all(np.isfinite(variance))
    assert all(np.all(np.isnan(third)) for third in jax.tree.leaves(moments.third))


def test_losses_and_aux_are_the_loss_s_own(normal):
    params, batch = network_params(normal), normal(B, 2, 60)
    take = grad_moments(with_aux, "structured", return_losses=True, has_aux=True)
    losses, aux, moments = jax.jit(take)(params, batch)
    want, want_aux = jax.vmap(with_aux, in_axes=(None, 0))(params, batch)
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


@pytest.mark.parametrize("size", [B, 120])
def test_float64_is_exact_to_float64(assert_moments, normal, size):
    params, batch = network_params(normal), normal(size, 2, 60)
    with jax.enable_x64(True):
        params, batch = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, batch))
        got, want = (
            jax.jit(grad_moments(network, s, third=True))(params, batch)
            for s in ("structured", "vmap")
        )
        chex.assert_type(jax.tree.leaves(got), jnp.float64)
        assert_moments(got, want, 1e-11)


def test_one_compilation_serves_every_batch(normal):
    take = jax.jit(grad_moments(network, "structured"))
    params = network_params(normal)
    take(params, normal(B, 2, 60), jnp.ones(B))
    take(jax.tree.map(jnp.sin, params), normal(B, 2, 60), jnp.zeros(B))
    assert take._cache_size() == 1


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
    batch = {"a": normal(B, 3).at[2, 1].set(jnp.nan), "b": normal(B, 3)}
    take = grad_moments(
        lambda p, x: jnp.sum(p["a"] @ x["a"]) + squashed(p["b"] @ x["b"]), "structured"
    )
    moments = take({"a": normal(4, 3), "b": normal(4, 3)}, batch)
    for field in (moments.mean, moments.variance):
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
}


@pytest.mark.parametrize("name", MEMORY)
def test_there_is_never_a_gradient_for_every_example(normal, name):
    size, rows, columns = 32, 700, 900
    params, batch = normal(rows, columns), normal(size, 2, rows)
    take = grad_moments(MEMORY[name], "structured")
    closed = jax.make_jaxpr(take)(params, batch)
    assert rows * columns <= largest_array(closed.jaxpr) <= 4 * rows * columns
    vmap = jax.make_jaxpr(grad_moments(MEMORY[name], "vmap"))(params, batch)
    assert largest_array(vmap.jaxpr) >= size * rows * columns
    memory = jax.jit(take).lower(params, batch).compile().memory_analysis()
    if memory is not None:
        assert memory.temp_size_in_bytes < 4 * size * rows * columns / 2


def test_a_lookup_never_holds_a_table_for_every_example(normal, integers):
    params, ids = normal(50_000, 4), integers(0, 50_000, 64, 3)
    take = grad_moments(lambda p, i: squashed(p[i]), "structured")
    assert largest_array(jax.make_jaxpr(take)(params, ids).jaxpr) <= 2 * params.size
