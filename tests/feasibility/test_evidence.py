import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from feasible_jax.feasibility.evidence import is_hole, leaf_paths, read_evidence
from feasible_jax.moments import GradientMoments, moments_from_per_example

UPDATES = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(())}
STACKS = {"dense": {"kernel": jnp.ones((5, 2, 3)), "bias": jnp.ones((5, 3))}, "scale": jnp.ones(5)}


def test_paths_are_readable_and_holes_are_kept():
    named, treedef = leaf_paths({"a": [jnp.ones(1), None], "b": optax.MaskedNode()})
    assert [path for path, _ in named] == ["a/0", "a/1", "b"]
    assert [is_hole(leaf) for _, leaf in named] == [False, True, True]
    assert treedef.num_leaves == 3


def test_both_kinds_of_evidence_are_laid_out_alike():
    of_stacks = read_evidence("retain", STACKS, UPDATES, "moments")
    of_moments = read_evidence("retain", moments_from_per_example(STACKS), UPDATES, "moments")
    chex.assert_trees_all_equal(of_stacks, of_moments)
    chex.assert_trees_all_equal_shapes(
        list(of_stacks.mean), [UPDATES["dense"]["bias"], *of_stacks.mean[1:]]
    )
    stacks = read_evidence("retain", STACKS, UPDATES, "per_example")
    assert [s.shape for s in stacks.per_example] == [(5, 3), (5, 2, 3), (5,)]
    assert stacks.count == 5


def test_evidence_may_cover_more_than_the_updates():
    updates = {"dense": optax.MaskedNode(), "scale": jnp.ones(())}
    assert len(read_evidence("retain", STACKS, updates, "moments").mean) == 1
    updates = {"dense": {"kernel": None, "bias": jnp.ones(3)}, "scale": None}
    assert read_evidence("retain", STACKS, updates, "moments").mean[0].shape == (3,)


def test_paths_that_read_alike_are_still_two_leaves():
    updates = {"a/b": jnp.ones(2), "a": {"b": jnp.ones(3)}}
    evidence = {"a/b": jnp.ones((4, 2)), "a": {"b": jnp.ones((4, 3))}}
    assert [m.shape for m in read_evidence("retain", evidence, updates, "moments").mean] == [
        (3,),
        (2,),
    ]


def changed(value, *, at=("dense", "kernel")):
    tree = {"dense": dict(STACKS["dense"]), "scale": STACKS["scale"]}
    (tree["dense"] if len(at) == 2 else tree)[at[-1]] = value
    return tree


@pytest.mark.parametrize("needs", ["moments", "mean", "per_example"])
@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (changed(jnp.ones((2, 3))), ["'dense/kernel'", "(2, 3)", "(B, 2, 3)"]),
        (changed(jnp.ones((5, 3, 2))), ["'dense/kernel'", "(5, 3, 2)", "the update shape (2, 3)"]),
        (changed(jnp.ones(())), ["'dense/kernel'", "shape ()", "(B, 2, 3)"]),
        (changed(jnp.ones((5, 1)), at=("scale",)), ["'scale'", "(5, 1)", "the update shape ()"]),
        (changed(jnp.ones(()), at=("scale",)), ["'scale'", "shape ()", "(B, )"]),
        (changed(None), ["'dense/kernel'", "None", "(B, 2, 3)"]),
        (changed(optax.MaskedNode()), ["'dense/kernel'", "MaskedNode", "(B, 2, 3)"]),
        (changed({"deeper": jnp.ones((5, 2, 3))}), ["'dense/kernel'", "deeper", "(B, 2, 3)"]),
        (changed(jnp.ones((4, 2, 3))), ["different numbers of examples", "5", "4"]),
        (changed(jnp.ones((1, 2, 3))), ["different numbers of examples", "5", "1"]),
        ({"other": jnp.ones(5)}, ["structure", "other", "one array a parameter"]),
        ([jnp.ones(5)], ["structure", "one array a parameter"]),
        (jnp.ones((5, 3)), ["structure", "one array a parameter"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(evidence, words, needs):
    with pytest.raises(ValueError, match="'retain'") as error:
        read_evidence("retain", evidence, UPDATES, needs)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("part", ["mean", "variance"])
def test_moments_that_do_not_fit_are_named(part):
    moments = moments_from_per_example(STACKS)
    bad = {**getattr(moments, part), "scale": jnp.ones(5)}
    with pytest.raises(ValueError, match=rf"'retain'.*{part}.*'scale'.*\(5,\).*shape \(\)"):
        read_evidence("retain", moments._replace(**{part: bad}), UPDATES, "moments")


def test_moments_are_refused_where_correlations_matter():
    with pytest.raises(TypeError, match=r"'retain' is a GradientMoments.*per-example"):
        read_evidence("retain", moments_from_per_example(STACKS), UPDATES, "per_example")


@pytest.mark.parametrize("needs", ["moments", "per_example"])
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.complex64, jnp.bool_])
def test_evidence_must_be_real_and_floating(dtype, needs):
    evidence = changed(jnp.ones((5, 2, 3), dtype))
    with pytest.raises(TypeError, match=r"'retain'.*'dense/kernel' has dtype"):
        read_evidence("retain", evidence, UPDATES, needs)


def test_moments_may_come_from_numpy():
    moments = GradientMoments(np.ones(2, np.float32), np.ones(2, np.float32), 8)
    assert read_evidence("retain", moments, jnp.ones(2), "moments").count == 8
