"""What may be handed over by mistake, and what one is told; more in the tests of each part."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feasible_jax as fj
from feasible_jax.unlearning.batches import draw_batch


def some(n, features=4, classes=3, seed=0):
    rng = np.random.default_rng((seed, n))
    return fj.Examples(rng.normal(size=(n, features)).astype("f"), rng.integers(0, classes, n))


def cross_entropy(params, example):
    logits = example.inputs @ params["w"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, example.labels)


class Normalised(nn.Module):
    """A model that normalises by the statistics of a batch."""

    train: bool = True

    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=not self.train)(inputs))


VARIABLES = jax.eval_shape(Normalised().init, jax.random.key(0), jnp.zeros((2, 4)))


def normalised(params, example):
    statistics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), VARIABLES["batch_stats"])
    variables = {"params": params, "batch_stats": statistics}
    logits, _ = Normalised().apply(variables, example.inputs[None], mutable=["batch_stats"])
    return optax.softmax_cross_entropy_with_integer_labels(logits[0], example.labels)


def nan_at(row):
    examples = some(6)
    examples.inputs[row, 1] = np.nan
    return examples


FORGET, RETAIN = some(5), some(20)
PARAMS = {"w": np.zeros((4, 3), np.float32)}
SGD = optax.sgd(0.1)
FEASIBLE = fj.feasible_updates(decrease=("retain",))


def run(**changes):
    given = {
        "loss_fn": cross_entropy, "params": PARAMS, "forget": FORGET, "retain": RETAIN,
        "method": fj.methods.neg_grad_plus(), "optimizer": SGD, "steps": 2, "batch_size": 8,
        "progress": False,
    }  # fmt: skip
    return fj.unlearn(**{**given, **changes})


MISTAKES = {
    "inputs of another shape": (
        {"forget": some(5, features=7)},
        TypeError,
        r"examples of the forget set, each \{'\.inputs': 'float32\[7\]'.*\(4,\) and \(7,\)|"
        r"examples of the forget set, each \{'\.inputs': 'float32\[7\]'.*\(7,\) and \(4,\)",
    ),
    "labels of another shape": (
        {"retain": RETAIN._replace(labels=np.zeros((20, 2), int))},
        ValueError,
        r"examples of the retain set, each .*'\.labels': 'int32\[2\]'",
    ),
    "labels of another dtype": (
        {"forget": FORGET._replace(labels=np.float32(FORGET.labels))},
        TypeError,
        r"examples of the forget set, each .*'\.labels': 'float32\[\]'.*got float32",
    ),
    "inputs that are no numbers": (
        {"retain": RETAIN._replace(inputs=np.array(["a"] * 20))},
        TypeError,
        r"retain set: retain\.inputs has dtype <U1: give arrays of numbers",
    ),
    "inputs that are objects": (
        {"forget": FORGET._replace(inputs=np.array([None, 1, "a", [], {}], object))},
        TypeError,
        r"forget set: forget\.inputs has dtype object: give arrays of numbers",
    ),
    "something else than examples": (
        {"retain": RETAIN.inputs},
        AttributeError,
        r"(?s)no attribute .?inputs.*examples of the retain set, each \{'': 'float32\[4\]'\}",
    ),
    "more inputs than labels": (
        {"forget": FORGET._replace(labels=FORGET.labels[:3])},
        ValueError,
        r"forget set: batch must have one leading axis.*\(5, 4\).*\(3,\)",
    ),
    "an empty forget set": ({"forget": some(0)}, ValueError, r"forget set: batch is empty.*\(0, 4"),
    "an image with NaN": (
        {"forget": nan_at(2)},
        ValueError,
        r"forget set: forget\.inputs\[2\] holds NaN: clean or drop that example",
    ),
    "a group with NaN": (
        {"constraint_data": {"group": nan_at(0)}},
        ValueError,
        r"group set: group\.inputs\[0\] holds NaN",
    ),
    "a loss of the whole batch": (
        {"loss_fn": lambda params, example: example.inputs @ params["w"]},
        ValueError,
        r"must return a real floating scalar for ONE example.*float32\[3\]",
    ),
    "a loss of whole numbers": (
        {"loss_fn": lambda params, example: example.labels},
        ValueError,
        r"must return a real floating scalar.*int32\[\]",
    ),
    "parameters that are whole numbers": (
        {"params": {"w": np.zeros((4, 3), int)}},
        TypeError,
        r"params\['w'\] has dtype int32.*close over the others",
    ),
    "no parameters": ({"params": {}}, ValueError, "params has no leaves"),
    "one example where a variance is needed": (
        {"batch_size": 1, "feasibility": FEASIBLE},
        ValueError,
        "batch_size=1: a variance needs at least 2",
    ),
    "BatchNorm in training mode": (
        {
            "loss_fn": normalised,
            "params": jax.tree.map(lambda x: np.ones(x.shape, x.dtype), VARIABLES["params"]),
        },
        ValueError,
        r"statistics of the batch \(BatchNorm in training mode\).*use_running_average=True",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")
def test_a_mistake_is_named_before_any_work(mistake):
    changes, error, message = MISTAKES[mistake]

    def untouched(steps, params):
        raise AssertionError("work was done")

    with pytest.raises(error, match=message):
        run(**changes, on_chunk=untouched)


class TestExamplesInBothSets:
    BOTH = fj.Examples(*(np.concatenate([a, b[:2]]) for a, b in zip(RETAIN, FORGET, strict=True)))

    def test_are_counted(self):
        with pytest.warns(UserWarning, match="2 of 5 forget examples are also in the ret") as found:
            run(retain=self.BOTH)
        assert found[0].filename == __file__

    def test_with_another_label_are_others(self):
        run(forget=FORGET._replace(labels=(FORGET.labels + 1) % 3), retain=self.BOTH)

    def test_do_not_matter_where_one_set_is_not_used(self):
        run(retain=self.BOTH, method=fj.methods.gradient_ascent())


class TestABatchLargerThanTheData:
    def test_is_fine(self):
        history = run(forget=some(1), batch_size=200, feasibility=FEASIBLE, steps=3).history
        assert np.isfinite(history.losses["forget"]).all()
        assert (history.kept > 0).any()

    def test_has_the_standard_error_of_a_mean_of_the_set(self, binomial):
        """Draws with replacement from three values: the mean is within 1.96 errors 95% of times."""
        values, size = jnp.array([0.0, 1.0, 5.0]), 200
        keys = jax.random.split(jax.random.key(0), 2000)
        batches = jax.vmap(lambda key: draw_batch(key, values, size))(keys)
        moments = jax.vmap(fj.moments_from_per_example)(batches)
        errors = np.abs(np.asarray(moments.mean) - 2.0)
        binomial(errors < 1.96 * np.asarray(fj.standard_error(moments)), 0.95)


def test_labels_out_of_range_and_infinite_images_are_found_by_a_task():
    good = {
        "name": "toy", "loss_fn": cross_entropy, "predict_fn": jnp.dot, "params": PARAMS,
        "forget": FORGET, "retain": RETAIN, "validation": RETAIN, "test": RETAIN, "num_classes": 3,
    }  # fmt: skip
    fj.Task(**good)
    with pytest.raises(ValueError, match=r"retain\.labels run from 0 to 2, outside \[0, 2\)"):
        fj.Task(**{**good, "num_classes": 2, "forget": some(5, classes=2)})
    with pytest.raises(ValueError, match=r"test\.inputs\[2\] holds NaN or infinity: clean"):
        fj.Task(**{**good, "test": nan_at(2)})
