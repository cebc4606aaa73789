"""Runs of ``unlearn`` with a certificate in the chain: its batches, its history, its patience."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import feasible_jax as fj
from feasible_jax.feasibility import Rule, Selection, certify_updates, feasible_updates
from feasible_jax.methods import fine_tuning, gradient_ascent, neg_grad_plus
from feasible_jax.unlearning.batches import draw_batch

SGD = optax.sgd(0.05)
MASK = feasible_updates("retain", confidence=0.7)
CERTIFY = certify_updates("retain", test="normal")
BOTH = optax.chain(MASK, CERTIFY)
# Evidence on one that is never harmless: nothing passes.
NEVER = certify_updates("retain", test="normal", confidence=1 - 1e-7)


def run(loss, params, sets, **kwargs):
    defaults = {
        "method": neg_grad_plus(0.5), "optimizer": SGD, "steps": 6, "batch_size": 6,
        "certify_batch_size": 9, "chunk_size": 4, "progress": False,
    }  # fmt: skip
    return fj.unlearn(loss, params, **{**sets, **defaults, **kwargs})


def batch_of(key, name, data, size, *more):
    for number in (zlib.crc32(name.encode()), *more):
        key = jax.random.fold_in(key, number)
    return draw_batch(key, data[name], size)


@pytest.mark.parametrize(
    ("change", "make"), [("loss", fj.loss_change), ("direction", fj.directional_derivatives)]
)
def test_a_certified_run_is_an_optax_loop_with_batches_drawn_apart(
    change, make, loss, params, sets
):
    feasibility = optax.chain(MASK, certify_updates("retain", test="normal", change=change))
    result = run(loss, params, sets, feasibility=feasibility)
    tx = optax.chain(SGD, feasibility)
    here, key = jax.tree.map(jnp.asarray, params), jax.random.key(0)
    state = tx.init(here)

    @jax.jit
    def step(here, state, key):
        key, batch_key, _ = jax.random.split(key, 3)
        forget, retain = (batch_of(batch_key, n, sets, 6) for n in ("forget", "retain"))
        fresh = batch_of(batch_key, "retain", sets, 9, 1)
        mean = lambda p, batch: jnp.mean(jax.vmap(loss, (None, 0))(p, batch))  # noqa: E731
        grads = jax.grad(lambda p: 0.5 * mean(p, retain) - 0.5 * mean(p, forget))(here)
        evidence = {
            "retain": fj.grad_moments(loss)(here, retain),
            "retain_change": make(loss, fresh),
        }
        updates, state = tx.update(grads, state, here, **evidence)
        return optax.apply_updates(here, updates), state, key

    certificates = []
    for _ in range(6):
        here, state, key = step(here, state, key)
        certificates.append(state[-1][-1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), result.params, here)
    got = result.history.certificates
    for name in ("accepted", "scale", "level"):
        want = [float(getattr(c, name)) for c in certificates]
        np.testing.assert_allclose(getattr(got, name), want, rtol=1e-6)
    want = [float(c.p_value["retain"]) for c in certificates]
    np.testing.assert_allclose(got.p_value["retain"], want, rtol=1e-3, atol=1e-6)
    assert len(set(want)) > 1


def test_the_choice_sees_the_same_batches_with_a_certificate_and_without(loss, params, sets):
    still = {"optimizer": optax.sgd(0.0), "patience": None}
    plain, certified = (run(loss, params, sets, feasibility=f, **still) for f in (MASK, BOTH))
    for name in plain.history.losses:
        np.testing.assert_array_equal(plain.history.losses[name], certified.history.losses[name])
    alone = run(loss, params, sets, feasibility=CERTIFY, **still)
    np.testing.assert_array_equal(plain.history.losses["forget"], alone.history.losses["forget"])


# A loss that is linear in the parameters, of examples that cancel in pairs: no update changes the
# mean loss of the population, so that every certificate is at the boundary of harm.
HALF = np.random.default_rng(0).normal(size=(1000, 60)).astype(np.float32)
NOISE = np.concatenate([HALF, -HALF])


def linear(w, example):
    return w @ example


def test_certificates_of_pure_noise_are_uniform_although_the_choice_was_lucky(binomial):
    steps = 600
    result = fj.unlearn(
        linear, np.zeros(60, np.float32), forget=NOISE, retain=NOISE, method=fine_tuning(),
        optimizer=optax.sgd(0.1), steps=steps, batch_size=64, certify_batch_size=128,
        feasibility=optax.chain(MASK, certify_updates("retain", test="student", backtrack=0)),
        patience=None, chunk_size=200, progress=False,
    )  # fmt: skip
    certificates = result.history.certificates
    assert certificates is not None
    p_values = certificates.p_value["retain"]
    assert len(p_values) == steps
    assert 0.3 < result.history.kept.mean() < 0.9, "lucky coordinates were chosen"
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 1e-3
    binomial(certificates.accepted, 0.05)
    np.testing.assert_array_equal(certificates.accepted, p_values <= certificates.level)


def test_certificates_on_the_batch_that_chose_would_be_far_too_good():
    """The same choice, shown to the same test: what drawing apart is there to prevent."""
    tx = optax.chain(optax.sgd(0.1), MASK, certify_updates("retain", test="student", backtrack=0))

    @jax.jit
    @jax.vmap
    def p_value(key, other):
        params = jnp.zeros(60)
        chosen = draw_batch(key, jnp.asarray(NOISE), 64)
        tested = draw_batch(other, jnp.asarray(NOISE), 64)
        evidence = {"retain": chosen, "retain_change": fj.loss_change(linear, tested)}
        _, state = tx.update(chosen.mean(0), tx.init(params), params, **evidence)
        return state[-1].p_value["retain"]

    keys, others = jax.random.split(jax.random.key(0), (2, 300))
    assert np.mean(p_value(keys, keys) < 1e-3) > 0.99
    assert scipy.stats.kstest(p_value(keys, others), "uniform").pvalue > 1e-3


def test_the_history_without_a_certificate_has_none(loss, params, sets):
    history = run(loss, params, sets, feasibility=MASK).history
    assert history.certificates is None
    assert history.stop is None


def test_certificates_of_every_constraint_and_of_a_third_group(loss, params, sets):
    feasibility = certify_updates(("group", "retain"), "forget", test="normal")
    data = {"group": sets["forget"]}
    history = run(loss, params, sets, feasibility=feasibility, constraint_data=data).history
    assert set(history.certificates.p_value) == {"group", "retain", "forget"}
    assert all(p.shape == (6,) for p in history.certificates.p_value.values())
    with pytest.raises(ValueError, match="'group' has no data"):
        run(loss, params, sets, feasibility=feasibility)


def convolution(params, example):
    inputs, target = example
    out = jax.lax.conv(inputs[None, None], params["w"][None, None], (1,), "SAME")
    return 0.5 * (jnp.sum(jnp.tanh(out)) + params["b"] - target) ** 2


@pytest.mark.parametrize("patience", [1, 5, 9])
@pytest.mark.parametrize("convolve", [False, True])
def test_patience_ends_a_run_without_hope(patience, convolve, loss, params, sets):
    """By a scan and, where convolutions run on a CPU, by single dispatches."""
    one = convolution if convolve else loss
    result = run(one, params, sets, feasibility=NEVER, patience=patience, steps=20)
    assert result.stop is not None
    assert result.stop.step == patience
    assert result.history.kept.shape == (patience,)
    assert result.history.abstained.all()
    assert result.history.stop == result.stop.reason
    assert f"in {patience} steps in a row: retain constraint, whose cert" in result.stop.reason
    jax.tree.map(np.testing.assert_array_equal, result.params, params)


def test_the_reason_names_the_constraint_and_the_leaf(loss, params, sets):
    strict = feasible_updates(("group", "retain"), confidence=lambda step: 1 - 1e-7)
    result = run(loss, params, sets, feasibility=strict, patience=2,
                 constraint_data={"group": sets["retain"]})  # fmt: skip
    assert result.stop is not None
    assert result.stop.reason.startswith("no feasible direction in 2 steps in a row: ")
    assert any(f"{name} constraint, leaf" in result.stop.reason for name in ("group", "retain"))


def test_endless_patience_and_a_run_that_ends_first(loss, params, sets):
    assert run(loss, params, sets, feasibility=NEVER, patience=None).stop is None
    assert run(loss, params, sets, feasibility=NEVER, patience=6).stop is None, "it was over"
    stopped = run(loss, params, sets, feasibility=NEVER, patience=5)
    assert stopped.stop is not None
    assert stopped.stop.step == 5


def test_a_method_without_constraints_may_stand_still(loss, params, sets):
    result = run(loss, params, sets, optimizer=optax.sgd(0.0), feasibility=None, patience=2)
    assert result.stop is None
    assert result.history.abstained.all()


def test_one_step_that_moves_renews_the_patience(loss, params, sets):
    """A rule that lets every third update pass: two in a row are zero, never three."""

    def select(proposal, state):
        keep = tuple(proposal.step % 3 == 2 for _ in proposal.updates)
        return Selection(keep, {c.name: keep for c in proposal.constraints}), state

    third = Rule("every third", "nothing", lambda params: (), select)
    feasibility = feasible_updates("retain", rule=third)
    result = run(loss, params, sets, feasibility=feasibility, steps=12, patience=3)
    assert result.stop is None
    assert result.history.abstained.tolist() == [True, True, False] * 4
    assert run(loss, params, sets, feasibility=feasibility, steps=12, patience=2).stop.step == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"certify_batch_size": 1}, "certify_batch_size=1"),
        ({"certify_batch_size": 2.5}, r"certify_batch_size=2\.5"),
        ({"patience": 0}, "patience=0"),
        ({"patience": 1.5}, r"patience=1\.5"),
        ({"batch_size": 1, "feasibility": BOTH}, "batch_size=1.*at least 2"),
    ],
)
def test_mistakes_are_found_before_any_work(wrong, message, loss, params, sets):
    with pytest.raises(ValueError, match=message):
        run(loss, params, sets, **wrong)


def test_without_replacement_is_not_how_a_set_is_drawn_from(loss, params, sets):
    def never(params, example):
        raise AssertionError("long work has begun")

    for size in (11, {"retain": 11}):
        tx = certify_updates("retain", test="normal", population_size=size)
        with pytest.raises(ValueError, match=r"population_size for 'retain'.*with replacement"):
            run(never, params, sets, feasibility=optax.chain(MASK, tx))
    tx = certify_updates(("retain", "group"), test="normal", population_size={"group": 90})

    def batches():
        while True:
            yield sets["retain"]

    group = {"constraint_data": {"group": batches()}}
    run(loss, params, sets, feasibility=tx, steps=2, certify_batch_size=2, **group)


def test_a_certificate_needs_no_variance_of_the_choosing_batch(loss, params, sets):
    assert run(loss, params, sets, feasibility=CERTIFY, batch_size=1).stop is None


@pytest.mark.filterwarnings("ignore:30 of 30 forget examples are also in the retain set")
def test_ascent_on_the_retain_set_itself_is_refused_by_a_certificate(loss, params, sets):
    both = {"forget": sets["retain"], "retain": sets["retain"]}
    history = run(
        loss, params, both, method=gradient_ascent(), feasibility=CERTIFY, certify_batch_size=64
    ).history
    assert not history.certificates.accepted.any()
    assert (history.certificates.p_value["retain"] > 0.5).all()
