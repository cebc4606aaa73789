import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feasible_jax.moments import GradientMoments, grad_moments
from feasible_jax.moments.structured import parts, trace_program
from feasible_jax.moments.structured.parts import moments_in_parts, part_size


def network(p, x):
    """Parameters of every way: closed, stacked, joint, left over, unused."""
    h = jnp.tanh(x @ p["in"] + p["bias"][None])
    h = jnp.tanh(h @ p["tied"]) @ p["tied"].T
    h = jnp.linalg.solve(p["left"] + 9 * jnp.eye(6, dtype=x.dtype), h[0])
    return jnp.sum(jnp.tanh(h) ** 2)


@pytest.fixture
def params(normal):
    shapes = {"in": (40, 6), "bias": (6,), "tied": (6, 50), "left": (6, 6), "unused": (3,)}
    return {name: normal(*shape) / 4 for name, shape in shapes.items()}


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr(parts, "_LARGE_BYTES", 0)


def decision(loss, *args, size=64):
    return part_size(trace_program(loss, *args), size)


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("size", [32, 37, 64])
@pytest.mark.parametrize("third", [False, True])
def test_parts_add_up_to_the_batch(assert_oracle, normal, params, size, third):
    assert decision(network, params, normal(size, 2, 40), size=size) == 16
    assert_oracle(network, params, normal(size, 2, 40), third=third)


@pytest.mark.usefixtures("everything_is_large")
def test_padding_counts_for_nothing_even_where_it_fills_a_part(assert_oracle, normal, params):
    weights = np.ones(50, np.float32)
    weights[[0, 3]] = 0, 2
    weights[30:] = 0
    batch = np.array(normal(50, 2, 40))
    batch[30:] = np.nan
    take = jax.jit(grad_moments(network, "structured"))
    got = take(params, batch, weights)
    rows = np.r_[1, 2, 3, 3, 4:30]
    want = jax.jit(grad_moments(network, "vmap"))(params, batch[rows])
    assert float(got.count) == len(rows)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("everything_is_large")
def test_losses_and_aux_come_back_in_order(normal, params):
    def with_aux(p, x):
        return network(p, x), {"first": x[0, 0]}

    batch = np.array(normal(37, 2, 40))
    take = grad_moments(with_aux, "structured", return_losses=True, has_aux=True)
    losses, aux, _ = jax.jit(take)(params, batch)
    np.testing.assert_array_equal(aux["first"], batch[:, 0, 0])
    want = [network(params, x) for x in batch[[0, 16, 36]]]
    np.testing.assert_allclose(losses[np.array([0, 16, 36])], want, rtol=1e-5)


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("level", [0.0, 1.0, 1e4, 2.0**-90])
def test_what_never_varies_and_what_hardly_does(level):
    """Gradients are the examples themselves: 0 stays 0, and no difference becomes a certainty."""
    batch = np.full((48, 20), level, np.float32)
    batch[-1, 0] *= 1.5
    moments = jax.jit(grad_moments(lambda w, x: w @ x, "structured"))(jnp.ones(20), batch)
    assert (moments.variance[0] > 0) == (level > 0)
    if level in (0, 1):
        assert (moments.variance[1:] == 0).all()
    if level >= 1:
        np.testing.assert_allclose(moments.variance[0], batch[:, 0].var(ddof=1), rtol=1e-5)


@pytest.mark.usefixtures("everything_is_large")
def test_one_gradient_that_is_not_finite_is_not_hidden(normal):
    batch = np.array(normal(48, 20))
    batch[40, 3] = np.nan
    moments = jax.jit(grad_moments(lambda w, x: w @ x, "structured"))(jnp.ones(20), batch)
    np.testing.assert_array_equal(np.isnan(moments.variance), np.arange(20) == 3)


def test_a_mean_large_beside_the_deviations_leaves_the_variance_its_digits(normal):
    grads = 1e4 + normal(64, 30)

    def of(rows, weights):
        mean = rows.mean(0)
        variance = ((rows - mean[None]) ** 2).sum(0) / (len(rows) - 1)
        return rows, GradientMoments(mean, variance, jnp.float32(len(rows)))

    _, moments = jax.jit(lambda g: moments_in_parts(of, g, None, 16))(grads)
    want = np.asarray(grads, np.float64).var(0, ddof=1)
    # Means are rounded to 6e-8 of 1e4; squares less the square of the mean would keep no digit.
    np.testing.assert_allclose(moments.variance, want, rtol=2e-3)


def test_it_is_taken_in_parts_where_activations_are_large_and_hardly_convolved(monkeypatch):
    def dense(w, x):
        return jnp.sum(jnp.tanh(x @ w))

    w, x = jnp.ones((8, 1000)), jnp.ones((64, 100, 8))
    a_layer = 100 * 1000 * 4
    monkeypatch.setattr(parts, "_LARGE_BYTES", 64 * 2 * a_layer)
    assert decision(dense, w, x) == 16
    assert decision(dense, w, x, size=31) == 31
    monkeypatch.setattr(parts, "_LARGE_BYTES", 64 * 3 * a_layer)
    assert decision(dense, w, x) == 64
    assert (
        decision(lambda w, x: jax.lax.fori_loop(0, 3, lambda i, s: s + dense(w, x), 0.0), w, x)
        == 16
    )

    def convolve(w, x):
        return jnp.sum(jax.lax.conv(x[None, None], w[None, None], (1, 1), "SAME"))

    monkeypatch.setattr(parts, "_LARGE_BYTES", 0)
    assert decision(convolve, jnp.ones((3, 3)), jnp.ones((64, 100, 100))) == 64
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert decision(dense, w, x) == 64
