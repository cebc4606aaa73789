import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from feasible_jax.alignment import directional_derivatives, loss_change
from feasible_jax.moments import grad_moments
from feasible_jax.moments.estimator import STRATEGIES

B = 4


def squashed(h):
    return jnp.sum(jnp.tanh(h) ** 2)


@pytest.fixture(autouse=True)
def _flax_promotes():
    """Flax broadcasts over ranks, and computes statistics in a dtype that it promotes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def linen(shape, layer, **options):
    """Parameters and loss of a network with a normalising layer."""

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layer()(nn.Conv(4, (2, 2))(x) if len(shape) > 1 else nn.Dense(4)(x))

    module = Network()
    variables = jax.jit(module.init)(jax.random.key(0), jnp.ones((1, *shape)))
    rest = {k: v for k, v in variables.items() if k != "params"}

    def loss(params, x):
        out = module.apply({"params": params, **rest}, x[None], **options)
        return squashed(out[0] if options.get("mutable") else out)

    return variables["params"], loss, jnp.ones((B, *shape))


def training(**options):
    return lambda: nn.BatchNorm(use_running_average=False, **options)


def nnx_network(use_running_average):
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(3, 4, rngs=rngs)
            self.norm = nnx.BatchNorm(4, use_running_average=use_running_average, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.dense(x))

    graph, params, rest = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)

    def loss(params, x):
        # A copy of its statistics: they are written within the trace.
        return squashed(
            nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf + 0, rest))(x[None])
        )

    return params, loss, jnp.ones((B, 3))


def by_hand(p, x):
    h = (p["w"] @ x)[None]
    return squashed((h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5) * p["s"])


def by_hand_in_a_scan(p, x):
    def step(h, w):
        h = (w @ h)[None]
        return (h - h.mean(0, keepdims=True))[0], None

    return squashed(jax.lax.scan(step, x, p["w"][None])[0])


def by_hand_network(loss):
    return {"w": jnp.ones((3, 3)), "s": jnp.ones(3)}, loss, jnp.ones((B, 3))


REFUSED = {
    "linen": lambda: linen((3,), training(), mutable=["batch_stats"]),
    "linen, convolution": lambda: linen((4, 4, 2), training(), mutable=["batch_stats"]),
    "nnx": lambda: nnx_network(use_running_average=False),
    "by hand": lambda: by_hand_network(by_hand),
    "by hand in a scan": lambda: by_hand_network(by_hand_in_a_scan),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_batch_norm_in_training_mode_is_refused(name, strategy):
    params, loss, batch = REFUSED[name]()
    with pytest.raises(ValueError, match=r"normalises by statistics of the batch.*inference"):
        grad_moments(loss, strategy)(params, batch)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", [loss_change, directional_derivatives])
def test_nor_may_it_certify_that_nothing_changes(name, kind):
    """An example is its own batch: normalised by itself, its loss would hardly ever change."""
    params, loss, batch = REFUSED[name]()
    change = kind(loss, batch)
    with pytest.raises(ValueError, match=r"normalises by statistics of the batch.*inference"):
        jax.jit(lambda p, u: change(p, u))(params, jax.tree.map(jnp.ones_like, params))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_batch_norm_over_a_named_axis_is_refused(strategy):
    class Network(nn.Module):
        axis_name: str | None = None

        @nn.compact
        def __call__(self, x):
            return nn.BatchNorm(use_running_average=False, axis_name=self.axis_name)(nn.Dense(4)(x))

    variables = jax.jit(Network().init)(jax.random.key(0), jnp.ones((1, 3)))
    module, stats = Network("batch"), {"batch_stats": variables["batch_stats"]}

    def loss(params, x):
        return squashed(module.apply({"params": params} | stats, x, mutable=["batch_stats"])[0])

    with pytest.raises(ValueError, match=r"named axis.*inference mode"):
        grad_moments(loss, strategy)(variables["params"], jnp.ones((B, 3)))


ACCEPTED = {
    "inference": lambda: linen((3,), lambda: nn.BatchNorm(use_running_average=True)),
    "inference, convolution": lambda: linen(
        (4, 4, 2), lambda: nn.BatchNorm(use_running_average=True)
    ),
    "nnx inference": lambda: nnx_network(use_running_average=True),
    "layer norm": lambda: linen((3,), nn.LayerNorm),
    "group norm": lambda: linen((4, 4, 2), lambda: nn.GroupNorm(num_groups=2)),
    "group norm of one position": lambda: linen((1, 1, 2), lambda: nn.GroupNorm(num_groups=2)),
    "instance norm": lambda: linen((4, 4, 2), nn.InstanceNorm),
    "global mean of one position": lambda: by_hand_network(
        lambda p, x: squashed(p["s"] * (p["w"] @ x).reshape(1, 1, 3).mean((0, 1)))
    ),
    "minus the mean of features": lambda: by_hand_network(
        lambda p, x: squashed((p["w"] @ x - (p["w"] @ x).mean())[None])
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_treats_each_example_by_itself_is_accepted(assert_oracle, normal, name):
    params, loss, batch = ACCEPTED[name]()
    assert_oracle(loss, params, normal(*batch.shape), third=False, rtol=1e-3)
