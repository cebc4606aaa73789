"""On meshes of eight devices everything is as on one, and little crosses the mesh.

Data parallelism, fully sharded data parallelism and tensor parallelism, each on automatic meshes,
where the compiler lays arrays out, and on explicit ones, where types do.
"""

import sys
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import feasible_jax as fj
from feasible_jax.methods import Method, Objective
from feasible_jax.unlearning.chunks import make_chunk

INPUTS, HIDDEN, CLASSES, BATCH = 16, 32, 8, 128
KINDS = {"automatic": AxisType.Auto, "explicit": AxisType.Explicit}
# One axis for the examples, and where there is tensor parallelism, one for the hidden units.
LAYOUTS = {
    "data parallel": {"w1": P(), "b1": P(), "w2": P(), "b2": P()},
    "fully sharded": {"w1": P("data"), "b1": P("data"), "w2": P("data"), "b2": P("data")},
    "tensor parallel": {"w1": P(None, "model"), "b1": P("model"), "w2": P("model"), "b2": P()},
    "both": {"w1": P("data", "model"), "b1": P("model"), "w2": P("model", "data"), "b2": P("data")},
}


@pytest.fixture(autouse=True, scope="module")
def compile_quickly(quick_compilation):
    """Programs here are compiled far longer than they run."""


def make_loss(product=jnp.dot):
    def loss(params, example):
        inputs, label = example
        hidden = jnp.tanh(inputs @ params["w1"] + params["b1"])
        logits = product(hidden, params["w2"]) + params["b2"]
        return jax.nn.logsumexp(logits) - logits @ jax.nn.one_hot(label, CLASSES)

    return loss


def network():
    rng = np.random.default_rng(0)
    shapes = {"w1": (INPUTS, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, CLASSES), "b2": (CLASSES,)}
    return {k: np.float32(0.3 * rng.normal(size=shape)) for k, shape in shapes.items()}


def examples(seed, size):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, size).astype(np.int32)
    return np.float32(rng.normal(size=(size, INPUTS))), labels


SIZE = sum(leaf.size for leaf in network().values())
LOSS = make_loss()
# Types say where a sum over hidden units is to lie: nobody else may decide on an explicit mesh.
TYPED_LOSS = make_loss(partial(jnp.dot, out_sharding=P(None)))


def placed(kind, layout):
    """``(loss, params, rows)``: the same network on a mesh, and how batches lie there."""
    tensor = layout in ("tensor parallel", "both")
    shape, names = ((2, 4), ("data", "model")) if tensor else ((8,), ("data",))
    mesh = jax.make_mesh(shape, names, axis_types=(KINDS[kind],) * len(names))
    params = {k: NamedSharding(mesh, spec) for k, spec in LAYOUTS[layout].items()}
    loss = TYPED_LOSS if tensor and kind == "explicit" else LOSS
    return loss, jax.device_put(network(), params), NamedSharding(mesh, P("data"))


def assert_lie_like(tree, params):
    for leaf, like in zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True):
        assert leaf.sharding.is_equivalent_to(like.sharding, like.ndim), (leaf.sharding, like)


def total(found):
    return sum(numbers * times for _, numbers, times in found)


def assert_little_crosses(found, steps=1, batches=0):
    """A few times the parameters, and batches that are drawn from a set which is spread.

    Never one copy of the parameters an example: those of one device's examples would be too many.
    """
    here, leak = total(found) / steps, BATCH // 8 * SIZE
    assert here >= SIZE, found
    assert here - batches * BATCH * (INPUTS + 1) < 14 * SIZE < leak, found


STRATEGIES = ("structured", "vmap", "microbatch", "grouped")
WEIGHTS = np.float32(np.arange(BATCH) % 5 > 0)


def all_strategies(loss, rows=None):
    """One program for all strategies, whose batch has padding that holds NaN."""

    def moments(params, batch, weights):
        inputs, labels = batch
        batch = jnp.where(weights[:, None] > 0, inputs, jnp.nan), labels
        return {
            strategy: fj.grad_moments(loss, strategy, microbatch_size=4, batch_sharding=rows)(
                params, batch, weights
            )
            for strategy in STRATEGIES
        }

    return moments


@pytest.fixture(scope="module")
def moments_on_one_device():
    return jax.jit(all_strategies(LOSS))(network(), examples(1, BATCH), WEIGHTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["data parallel", "fully sharded", "tensor parallel"])
def test_moments_are_those_of_one_device(layout, kind, moments_on_one_device, what_crosses):
    loss, params, rows = placed(kind, layout)
    told = rows if kind == "automatic" else None  # on explicit meshes types say it
    args = (params, *jax.device_put((examples(1, BATCH), WEIGHTS), rows))
    program = jax.jit(all_strategies(loss, told)).lower(*args).compile()
    moments = program(*args)
    for strategy, want in moments_on_one_device.items():
        got = moments[strategy]
        assert got.count == want.count
        for part in ("mean", "variance"):
            for name, leaf in getattr(want, part).items():
                np.testing.assert_allclose(
                    getattr(got, part)[name], leaf, rtol=1e-5, atol=1e-5 * np.abs(leaf).max()
                )
        if kind == "explicit":
            assert_lie_like([got.mean, got.variance], [params] * 2)
    # Twice the batch adds the batch itself, which grouped() leaves to the compiler, and activations
    # under tensor parallelism: much less than gradients of one device's examples.
    twice = jax.device_put((examples(1, 2 * BATCH), np.tile(WEIGHTS, 2)), rows)
    larger = what_crosses(jax.jit(all_strategies(loss, told)).lower(params, *twice).compile())
    allowed = BATCH * (INPUTS + 1 + HIDDEN + CLASSES)
    assert SIZE <= total(larger) <= total(what_crosses(program)) + allowed
    assert allowed < 0.6 * BATCH / 8 * SIZE


def noisy(problem, params, example, key):
    """An objective of a method's own: another loss, a random key and the original parameters."""
    drift = sum(jnp.sum((params[k] - problem.original_params[k]) ** 2) for k in params)
    inputs, label = example
    noise = 0.1 * jax.random.normal(key, inputs.shape)
    return problem.loss_fn(params, (inputs + noise, label)) + 0.1 * drift


METHOD = Method(
    "own", (Objective("forget", "forget"), Objective("noisy", "retain", noisy)), (-0.5, 0.5)
)
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
FEASIBILITY = optax.chain(
    fj.feasible_updates(
        decrease=("retain",),
        confidence=0.6,
        rule=fj.coordinatewise(curvature="adaptive", evidence_decay=0.9),
    ),
    fj.certify_updates("retain", confidence=0.7, tolerance=0.1, test="student", backtrack=0),
)
# The forget set is too small to be spread: it is whole on every device.
SETS = {"forget": examples(2, 11), "retain": examples(3, 128)}


def run(loss, params, sets, **kwargs):
    return fj.unlearn(
        loss, params, **sets, method=METHOD, optimizer=OPTIMIZER, feasibility=FEASIBILITY,
        steps=5, batch_size=BATCH, certify_batch_size=BATCH, chunk_size=3, progress=False,
        **kwargs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run_on_one_device():
    return run(LOSS, network(), SETS)


@pytest.mark.parametrize(
    ("layout", "kind"), [*((layout, "automatic") for layout in LAYOUTS), ("both", "explicit")]
)
def test_a_run_is_that_of_one_device(layout, kind, run_on_one_device, what_crosses, monkeypatch):
    programs = []

    def compiled_chunk(step, length, args, fed):
        programs.append(make_chunk(step, length, args).lower(*args).compile())
        return programs[-1]

    module = sys.modules["feasible_jax.unlearning.unlearn"]  # not the function of that name
    monkeypatch.setattr(module, "make_chunk", compiled_chunk)
    loss, params, rows = placed(kind, layout)
    got = run(loss, params, {**SETS, "retain": jax.device_put(SETS["retain"], rows)})
    want = run_on_one_device
    assert 0 < want.history.kept.mean() < 1, "the test would show nothing otherwise"
    assert want.history.certificates.accepted.any()
    chex.assert_trees_all_close(got.params, want.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(got.opt_state, want.opt_state, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(got.history, want.history, rtol=1e-5, atol=1e-5)
    state = partial(optax.tree_utils.tree_get, got.opt_state)
    average, learnt = state("average")["retain"], state("rule_state")
    for tree in (
        got.params,
        state("trace"),
        average.mean,
        average.variance,
        learnt.params,
        learnt.step,
    ):
        assert_lie_like(tree, params)
    (program,) = programs  # which ran twice: the state came back as it went in
    assert_little_crosses(what_crosses(program), steps=3, batches=3)


@pytest.mark.parametrize("layout", ["data parallel", "tensor parallel"])
def test_a_step_by_hand_under_shard_map(layout):
    """Moments and changes of every shard's examples, one mask and one certificate for all.

    Tensor parallelism is left to the compiler, by an axis that ``axis_names`` does not name.
    """
    _, params, _ = placed("automatic", layout)
    mesh, updates = params["w1"].sharding.mesh, jax.tree.map(lambda x: -0.1 * x, params)
    chosen, fresh = examples(4, BATCH), examples(5, BATCH)

    def step(reduce, axis_name):
        tx = optax.chain(
            fj.feasible_updates("retain", confidence=0.6),
            fj.certify_updates("retain", tolerance=0.05, test="student", axis_name=axis_name),
        )

        def apply(params, updates, chosen, fresh):
            moments = reduce(fj.grad_moments(LOSS)(params, chosen))
            change = fj.loss_change(LOSS, fresh)
            return tx.update(updates, tx.init(params), params, retain=moments, retain_change=change)

        return apply

    alone = jax.tree.map(np.asarray, (params, updates))
    want = jax.jit(step(lambda m: m, None))(*alone, chosen, fresh)
    program = jax.shard_map(
        step(partial(fj.reduce_moments, axis_name="data"), "data"),
        mesh=mesh, in_specs=(P(), P(), P("data"), P("data")), out_specs=P(), axis_names={"data"},
    )  # fmt: skip
    got = jax.jit(program)(params, updates, chosen, fresh)
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-6)
    assert_lie_like(got[0], params)
    assert 0 < want[1][0].kept < 1
