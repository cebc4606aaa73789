"""What every method has to do, whichever it is, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax import methods
from feasible_jax.feasibility import Selection
from feasible_jax.methods import Method, Objective
from feasible_jax.methods.method import check_method

METHODS = {
    "amnesiac": methods.amnesiac(3),
    "bad_teacher": methods.bad_teacher(),
    "boundary_expand": methods.boundary_expand(),
    "boundary_shrink": methods.boundary_shrink(),
    "cf_k": methods.cf_k(1),
    "eu_k": methods.eu_k(1),
    "fine_tuning": methods.fine_tuning(),
    "fisher_forgetting": methods.fisher_forgetting(scale=0.5, max_std=2.0),
    "gdr_gma": methods.gdr_gma(),
    "gradient_ascent": methods.gradient_ascent(),
    "hamu": methods.hamu(),
    "influence_unlearning": methods.influence_unlearning(damping=0.1),
    "l1_sparse": methods.l1_sparse(0.01),
    "munba": methods.munba(),
    "neg_grad_plus": methods.neg_grad_plus(0.7),
    "npo": methods.npo(),
    "random_labels": methods.random_labels(3),
    "salun": methods.salun(3, density=1.0),  # every leaf moves; masks have tests of their own
    "scrub": methods.scrub(min_steps=1, max_until=0.9),
    "scrub_r": methods.scrub_r(min_steps=1, max_until=0.9),
    "sfron": methods.sfron(repair_steps=1),
    "sim_npo": methods.sim_npo(),
    "ssd": methods.ssd(0.01, 0.01),
    "unsir": methods.unsir(noise_size=64, noise_steps=3),
}
SGD = optax.sgd(0.1)  # one object for all runs, most of which find their program compiled
# Made of the whole sets alone: nothing that a key could decide.
DRAW_NOTHING = ("influence_unlearning", "ssd")
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


@pytest.fixture
def run(loss, predict, sets):
    def unlearn(method, params, **kwargs):
        settings = {"optimizer": SGD, "steps": 4, "batch_size": 8, "chunk_size": 3, **kwargs}
        if method.rewinds:
            settings["rewind_to"] = sets["retain"]
        return fj.unlearn(
            loss, params, **sets, method=method, predict_fn=predict, progress=False, **settings
        )

    return unlearn


def test_no_method_is_left_out():
    assert set(METHODS) == {name for name in methods.__all__ if name.islower()}


@every_method
def test_a_method_is_sound_and_a_key_of_a_cache(method):
    check_method(method)
    assert hash(method) == hash(method._replace())
    assert method.name


@every_method
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_survive(method, dtype, run, params):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    result = run(method, params)
    assert jax.tree.map(lambda leaf: leaf.dtype, result.params) == {"w": dtype, "b": dtype}
    assert jax.tree.map(jnp.shape, result.params) == {"w": (4, 3), "b": (3,)}
    for name, losses in result.history.losses.items():
        assert losses.dtype == np.float32, name
        acted = ~np.isnan(losses)  # in its phase, if there are several
        assert np.isfinite(losses[acted]).all(), name
        assert acted.any(), name
        assert acted.all() or method.phases, name
    assert all(bool(jnp.any(result.params[name] != params[name])) for name in params)


@every_method
def test_the_same_key_gives_the_same_run_and_another_one_other_batches(method, run, params):
    one, same, other = (run(method, params, key=key) for key in (0, 0, 1))
    assert all((one.params[name] == same.params[name]).all() for name in params)
    differ = any((one.params[name] != other.params[name]).any() for name in params)
    assert differ == all(method is not METHODS[name] for name in DRAW_NOTHING)
    for name, losses in one.history.losses.items():
        np.testing.assert_array_equal(losses, same.history.losses[name])
        acted = ~np.isnan(losses)
        assert (losses != other.history.losses[name])[acted].any()
        assert len(set(losses[acted])) == acted.sum(), "steps draw batches of their own"


@every_method
def test_a_second_run_compiles_nothing(method, run, traces_of_loss, params, sets):
    run(method, params)
    first = len(traces_of_loss)
    moved = jax.tree.map(lambda leaf: leaf + 1, params)
    run(method, moved, key=jax.random.key(5), steps=11)
    # A run checks the shapes of its sets, one abstract evaluation each, and traces nothing else.
    assert len(traces_of_loss) - first <= len(sets)


def frozen(leaf_path):
    """A rule that passes everything but one leaf."""

    def select(proposal, state):
        keep = tuple(jnp.full((), path != leaf_path) for path in proposal.paths)
        return Selection(keep, {c.name: keep for c in proposal.constraints}), state

    return fj.Rule("frozen", "nothing", lambda params: (), select)


def noting_where_it_begins(method, params):
    """The method, and a list that gets the parameters that its ``prepare`` gives a run."""
    begun = [params]
    if method.prepare is None:
        return method, begun

    def prepare(*args):
        made = method.prepare(*args)
        if made.params is not None:
            jax.debug.callback(begun.append, made.params)
        return made

    return method._replace(prepare=prepare), begun


@every_method
def test_neither_momentum_nor_weight_decay_slips_past_the_mask(method, run, params):
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9))
    feasibility = fj.feasible_updates(decrease=("retain",), rule=frozen("b"))
    method, begun = noting_where_it_begins(method, params)
    held = run(method, params, optimizer=optimizer, feasibility=feasibility)
    jax.effects_barrier()
    begin = begun[-1]
    assert (held.params["b"] == begin["b"]).all()
    assert (held.params["w"] != begin["w"]).all()
    np.testing.assert_array_equal(held.history.kept_per_leaf["b"], np.zeros(4))
    np.testing.assert_array_equal(held.history.kept_per_leaf["w"], np.ones(4))


FORGET, RETAIN = Objective("forget", "forget"), Objective("retain", "retain")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method("m", (), ()), "neither an objective nor a penalty"),
        (Method("m", (FORGET,), (1.0,), combine=lambda g, x, p: g), "weights and combine"),
        (Method("m", (FORGET,), (1.0,), schedule=lambda s, p: 0), "no phases to choose from"),
        (Method("m", (FORGET, FORGET), (1.0, 1.0)), "different names"),
        (Method("m", (FORGET, RETAIN), (1.0,)), "2 objectives but 1 weights"),
        (Method("m", (Objective("x", "test"),), (1.0,)), "'test'"),
        (Method("m", (FORGET,), (1.0,), None, (("retain",),)), r"names \['retain'\]"),
        (Method("m", (FORGET,), (1.0,), None, ((),)), "nothing"),
        (Method("m", (FORGET,), [1.0]), "unhashable"),  # type: ignore[arg-type]
        (Method("m", (FORGET,), (jnp.float32(1),)), "unhashable"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_with_a_method_is_said(method, message):
    with pytest.raises(ValueError, match=message) as error:
        check_method(method)
    assert "'m'" in str(error.value)


def test_a_method_that_was_not_called_is_refused():
    with pytest.raises(TypeError, match=r"call it, as in gradient_ascent\(\)"):
        check_method(methods.gradient_ascent)  # type: ignore[arg-type]
