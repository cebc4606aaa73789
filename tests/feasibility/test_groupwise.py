import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings

from feasible_jax.feasibility import feasible_updates, groupwise
from feasible_jax.moments import moments_from_per_example

SHAPES = {"a": {"w": (6, 5), "b": (5,)}, "c": (2, 3, 4), "s": ()}
fresh = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def halves(path, leaf):
    """Two groups a leaf, by the last axis; scalars one."""
    return np.arange(leaf.shape[-1]) % 2 if leaf.ndim else np.array(0)


def scattered(path, leaf):
    return np.arange(leaf.size).reshape(leaf.shape) * 7 % 5


GROUPS = {
    "leaf": "leaf",
    "row": "row",
    "module": lambda path, leaf: path.split("/")[0],
    "everything": lambda path, leaf: "all",
    "halves": halves,
    "scattered": scattered,
    "mixed": lambda path, leaf: "matrices" if leaf.ndim > 1 else np.zeros((), int),
}


def names_of(groups, path, shape):
    """The group of each coordinate, as a name that is unique over the tree."""
    leaf = np.zeros(shape)
    if groups == "leaf":
        return np.full(shape, path, object)
    if groups == "row":
        rows = np.arange(shape[0]) if shape else 0
        label = np.broadcast_to(
            np.reshape(rows, (-1,) + (1,) * (len(shape) - 1)) if shape else 0, shape
        )
    else:
        label = GROUPS[groups](path, leaf)
        if isinstance(label, str):
            return np.full(shape, f"shared {label}", object)
        label = np.broadcast_to(label, shape)
    return np.vectorize(lambda i: f"{path} {i}", otypes=[object])(label)


def brute_force(groups, updates, stacks, sign, confidence):
    """Group by group, in float64; NaN near ties."""
    labels = {path: names_of(groups, path, u.shape) for path, u in updates.items()}
    verdicts = {}
    for name in {n for label in labels.values() for n in np.ravel(label)}:
        size = len(next(iter(stacks.values())))
        q = np.zeros(size)
        for path, update in updates.items():
            mine = labels[path] == name
            q += stacks[path].astype(np.float64)[:, mine] @ update.astype(np.float64)[mine]
        critical = scipy.stats.t.ppf(confidence, size - 1)
        if not np.any(q):
            verdicts[name] = 1.0
            continue
        statistic = -sign * q.mean() / (q.std(ddof=1) / np.sqrt(size))
        tie = abs(statistic - critical) < 2e-3 * (1 + abs(critical))
        verdicts[name] = np.nan if tie else float(statistic >= critical)
    lookup = np.vectorize(verdicts.get, otypes=[float])
    return {path: lookup(label) for path, label in labels.items()}


def as_tree(flat):
    return {"a": {"w": flat["a/w"], "b": flat["a/b"]}, "c": flat["c"], "s": flat["s"]}


FLAT = {"a/w": (6, 5), "a/b": (5,), "c": (2, 3, 4), "s": ()}
CONFIDENCE = 0.7
UPDATE = {}
for _name, _groups in GROUPS.items():
    _tx = feasible_updates(increase="forget", confidence=CONFIDENCE, rule=groupwise(_groups))
    UPDATE[_name] = jax.jit(lambda u, e, tx=_tx: tx.update(u, tx.init(u), forget=e))


@pytest.mark.parametrize("groups", list(GROUPS))
@fresh
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2, 9]), exponent=st.integers(-12, 12))
def test_equals_brute_force(groups, seed, size, exponent):
    rng = np.random.default_rng(seed)
    updates = {p: np.asarray(rng.normal(size=s), np.float32) for p, s in FLAT.items()}
    common = rng.normal(size=size)  # noise that coordinates share: their correlations matter
    stacks = {}
    for path, shape in FLAT.items():
        noise = rng.normal(size=(size, *shape)) + common.reshape((-1,) + (1,) * len(shape))
        stacks[path] = np.asarray(
            10.0**exponent * (noise + 0.3 * rng.normal(size=shape)), np.float32
        )
    stacks["a/w"][:, 2] = 0
    want = brute_force(groups, updates, stacks, -1, CONFIDENCE)
    kept, _ = UPDATE[groups](as_tree(updates), as_tree(stacks))
    got = {"a/w": kept["a"]["w"], "a/b": kept["a"]["b"], "c": kept["c"], "s": kept["s"]}
    for path in FLAT:
        decided = ~np.isnan(want[path])
        np.testing.assert_array_equal(
            (np.asarray(got[path]) != 0)[decided], want[path][decided] == 1, err_msg=path
        )


def test_size_is_alpha_with_correlated_coordinates():
    rows, size = 5_000, 16
    rng = np.random.default_rng(0)
    updates = jnp.asarray(rng.normal(size=(rows, 5)), jnp.float32)
    noise = rng.normal(size=(size, rows, 1)) + 0.1 * rng.normal(size=(size, rows, 5))
    tx = feasible_updates("retain", rule=groupwise("row"))
    _, state = tx.update(updates, tx.init(updates), retain=jnp.asarray(noise, jnp.float32))
    assert abs(float(state.kept) - 0.05) < 4.5 * np.sqrt(0.05 * 0.95 / rows)


def test_labels_may_be_made_with_jax_inside_jit():
    def numbered(path, leaf):
        return jnp.arange(leaf.size).reshape(leaf.shape)

    tx = feasible_updates("retain", rule=groupwise(numbered))
    updates = {"w": -jnp.ones((2, 2))}
    retain = {"w": jnp.ones((4, 2, 2)).at[:, 0, 1].set(-1)}
    kept, _ = jax.jit(tx.update)(updates, tx.init(updates), retain=retain)
    assert kept["w"].tolist() == [[-1, 0], [-1, -1]]


def test_the_function_sees_path_and_leaf():
    seen = {}

    def look(path, leaf):
        seen[path] = leaf.shape
        return "all"

    tx = feasible_updates("retain", rule=groupwise(look))
    updates = {"a": {"w": jnp.ones((6, 5)), "b": None}, "s": jnp.ones(())}
    retain = {"a": {"w": jnp.zeros((3, 6, 5)), "b": None}, "s": jnp.zeros(3)}
    tx.update(updates, tx.init(updates), retain=retain)
    assert seen == {"a/w": (6, 5), "s": ()}


def test_products_that_underflow_are_not_neutral():
    """A group of tiny steps beside a group of huge ones: 1e-25 of the size, and harmful."""
    tx = feasible_updates("retain", rule=groupwise("row"))
    updates = jnp.array([1e-25, 1e10])
    retain = jnp.stack([jnp.full(4, 1e-10), jnp.zeros(4)], axis=1)
    kept, _ = tx.update(updates, tx.init(updates), retain=retain)
    assert kept[0] == 0
    assert kept[1] > 0


def test_gradients_that_cancel_within_a_group_are_neutral():
    tx = feasible_updates("retain", rule=groupwise("leaf"))
    updates = jnp.array([1.0, 1.0])
    retain = jnp.array([[1.0, -1.0], [3.0, -3.0]])
    kept, _ = tx.update(updates, tx.init(updates), retain=retain)
    assert kept.tolist() == [1, 1]


def test_bad_evidence_takes_its_group_along_and_no_other():
    tx = feasible_updates("retain", rule=groupwise("row"))
    updates = -jnp.ones((2, 3))
    kept, _ = tx.update(
        updates, tx.init(updates), retain=jnp.ones((4, 2, 3)).at[1, 0, 2].set(jnp.nan)
    )
    assert kept.tolist() == [[0, 0, 0], [-1, -1, -1]]


def test_leaves_and_rows_need_no_scatter():
    updates, retain = jnp.ones((6, 5)), jnp.ones((4, 6, 5))
    for groups in ("leaf", "row"):
        tx = feasible_updates("retain", rule=groupwise(groups))
        program = str(jax.make_jaxpr(tx.update)(updates, tx.init(updates), retain=retain))
        assert "scatter" not in program
        assert "gather" not in program


def test_moments_are_refused():
    tx = feasible_updates("retain", rule=groupwise())
    moments = moments_from_per_example(jnp.ones((4, 2)))
    with pytest.raises(TypeError, match=r"'retain' is a GradientMoments.*per-example"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), retain=moments)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"'column'.*'leaf', 'row'"):
        groupwise("column")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (np.zeros((4, 3), int), [r"(4, 3)", "(3, 4)"]),
        (np.zeros((1, 3, 4), int), ["(1, 3, 4)", "(3, 4)"]),
        (np.zeros(3, int), ["(3,)", "(3, 4)"]),
        (np.zeros((3, 4)), ["float64", "integers >= 0"]),
        (np.full((3, 4), -1), ["integers >= 0"]),
    ],
)
def test_labels_that_do_not_fit_are_named(label, words):
    tx = feasible_updates("retain", rule=groupwise(lambda path, leaf: label))
    updates = {"w": jnp.ones((3, 4))}
    with pytest.raises(ValueError, match="'w'") as error:
        tx.update(updates, tx.init(updates), retain={"w": jnp.ones((2, 3, 4))})
    for word in words:
        assert word in str(error.value)
