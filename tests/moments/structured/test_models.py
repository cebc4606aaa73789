import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from feasible_jax.models import MODELS, build_model, cross_entropy
from feasible_jax.moments import grad_moments
from feasible_jax.unlearning.task import Examples

B = 4


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


class Perceptron(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.relu(nn.Dense(9)(x)))
        x = nn.RMSNorm()(nn.gelu(nn.Dense(8)(x)))
        return nn.Dense(3)(x)


class Convolutional(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.silu(nn.GroupNorm(num_groups=2)(nn.Conv(4, (3, 3), strides=2)(x)))
        x = nn.Conv(4, (3, 3), feature_group_count=4, kernel_dilation=2)(x)
        x = nn.avg_pool(x, (2, 2), (1, 1)) + nn.max_pool(x, (2, 2), (1, 1))
        x = nn.ConvTranspose(3, (2, 2), strides=(2, 2))(x)
        return nn.Dense(3)(x.mean(axis=(-3, -2)))


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, ids):
        embed = nn.Embed(11, 8)
        position = self.param("position", nn.initializers.normal(0.1), (5, 8))
        x = embed(ids) + position
        mask = nn.make_causal_mask(ids)
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(x), mask=mask)
            x = x + nn.Dense(8)(nn.gelu(nn.Dense(12)(nn.LayerNorm()(x))))
        return embed.attend(x)


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        def block(dense, h, _):
            return nn.tanh(dense(h)), None

        remat = nn.remat(block)
        scan = nn.scan(remat, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return scan(nn.Dense(6), x, None)[0]


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.RNN(nn.GRUCell(4))(x[None])[0] + nn.RNN(nn.LSTMCell(4))(x[None])[0]


MODULES = {
    "perceptron": (Perceptron(), (6,)),
    "convolutional": (Convolutional(), (6, 6, 2)),
    "scanned": (Scanned(), (6,)),
    "weight norm": (nn.WeightNorm(nn.Dense(4)), (6,)),
}


@pytest.fixture(autouse=True)
def _flax_promotes():
    """Flax broadcasts over ranks, and computes statistics in a dtype that it promotes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("name", MODULES)
def test_linen(assert_oracle, normal, name):
    module, shape = MODULES[name]
    params = jax.jit(module.init)(jax.random.key(0), jnp.ones(shape))
    weights = jnp.asarray([1.0, 2, 0, 1])

    def loss(params, x):
        return squashed(module.apply(params, x))

    assert_oracle(loss, params, normal(B, *shape), weights, rtol=3e-5)


def test_a_transformer_with_tied_embeddings(assert_oracle, integers):
    module, ids = Transformer(), integers(0, 11, B, 5)
    params = jax.jit(module.init)(jax.random.key(0), ids[0])

    def loss(params, ids):
        log_probabilities = jax.nn.log_softmax(module.apply(params, ids))
        return -jnp.take_along_axis(log_probabilities[:-1], ids[1:, None], axis=-1).mean()

    assert_oracle(loss, params, ids, rtol=3e-5)


def test_recurrent(assert_moments, normal):
    module = Recurrent()
    params = jax.jit(module.init)(jax.random.key(0), jnp.ones((5, 3)))

    def loss(params, x):
        return squashed(module.apply(params, x))

    # Its carry starts in float32: no float64 oracle.
    batch = normal(B, 5, 3)
    got, want = (
        jax.jit(grad_moments(loss, s, third=True))(params, batch) for s in ("structured", "vmap")
    )
    assert_moments(got, want, 1e-5)


def test_dropout_with_a_key_of_each_example(normal):
    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=False)(nn.Dense(8)(x)))

    module = Dropped()
    params = jax.jit(module.init)(
        {"params": jax.random.key(0), "dropout": jax.random.key(1)}, jnp.ones(5)
    )

    def loss(params, example):
        return squashed(module.apply(params, example["x"], rngs={"dropout": example["key"]}))

    batch = {"x": normal(B, 5), "key": jax.random.split(jax.random.key(2), B)}
    got, want = (jax.jit(grad_moments(loss, s))(params, batch) for s in ("structured", "vmap"))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert jnp.allclose(a, b, rtol=1e-4, atol=1e-6)


class NnxNetwork(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.GroupNorm(4, num_groups=2, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
        self.out = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        h = nnx.relu(self.norm(self.conv(x[None])))[0].reshape(-1, 4)
        return self.out(h + self.attention(h))


def test_nnx(assert_oracle, normal):
    graph, params, rest = nnx.split(NnxNetwork(nnx.Rngs(0)), nnx.Param, ...)

    def loss(params, x):
        return squashed(nnx.merge(graph, params, rest)(x))

    assert_oracle(loss, params, normal(B, 4, 4, 2), rtol=3e-5)


BUILT_IN = {"mlp": {"hidden_sizes": (7, 5)}, "cnn": {"widths": (4, 6)}, "resnet18": {"width": 4}}


@pytest.mark.parametrize("name", MODELS)
def test_built_in(assert_oracle, normal, integers, name):
    model = build_model(name, (8, 8, 1), 5, **BUILT_IN[name])
    params = model.init(jax.random.key(0))
    batch = Examples(normal(B, 8, 8, 1), integers(0, 5, B))
    # Normalising the few positions of a tiny image amplifies rounding.
    rtol = 1e-3 if name == "resnet18" else 1e-5
    assert_oracle(cross_entropy(model), params, batch, third=False, rtol=rtol)


def test_equinox(assert_oracle, normal):
    eqx = pytest.importorskip("equinox", reason="its models are trees, no dependency of ours")
    model = eqx.nn.MLP(4, 3, 8, 2, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    assert_oracle(lambda p, x: squashed(eqx.combine(p, static)(x)), params, normal(B, 4))
