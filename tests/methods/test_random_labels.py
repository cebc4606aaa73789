from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

import feasible_jax as fj
from feasible_jax.methods import Problem, random_labels
from feasible_jax.methods.random_labels import relabel_pair


def draw(num_classes, label, count, dtype=jnp.int32):
    """The labels that the method teaches an example, over many keys."""
    objective = random_labels(num_classes).objectives[0]
    assert objective.loss is not None
    problem = Problem(lambda params, example: example[1], None, None)
    example = (jnp.zeros(2), jnp.asarray(label, dtype))
    keys = jax.random.split(jax.random.key(label), count)
    return np.asarray(jax.vmap(lambda key: objective.loss(problem, (), example, key))(keys))


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_every_wrong_class_is_drawn_and_the_true_one_never(num_classes):
    for label in range(num_classes):
        drawn = set(draw(num_classes, label, 400).tolist())
        assert drawn == set(range(num_classes)) - {label}


def test_wrong_classes_are_drawn_uniformly():
    counts = Counter(draw(10, 7, 20_000).tolist())
    assert chisquare([counts[c] for c in range(10) if c != 7]).pvalue > 1e-3


@pytest.mark.parametrize(("dtype", "num_classes"), [("int8", 127), ("uint8", 256), ("int16", 200)])
def test_labels_of_few_bits_do_not_wrap_around(dtype, num_classes):
    """A high label plus a shift leaves the range of the dtype: the draw must stay uniform."""
    label = num_classes - 1
    drawn = draw(num_classes, label, 40_000, dtype)
    assert drawn.dtype == dtype
    counts = np.bincount(drawn, minlength=num_classes)
    assert len(counts) == num_classes
    assert counts[label] == 0
    assert chisquare(counts[:-1]).pvalue > 1e-3


def test_one_step_with_two_classes_teaches_the_other_one(one_step, params, by_hand, lone_examples):
    """With two classes there is one wrong label, so the step is known by hand."""
    two = {"w": params["w"][:, :2], "b": params["b"][:2]}
    retain = fj.Examples(lone_examples["retain"].inputs, np.array([0]))
    gradient, result = one_step(random_labels(2), two, retain=retain)
    wrong = by_hand(two, (lone_examples["forget"].inputs[0], 0))  # the true label is 1
    right = by_hand(two, (retain.inputs[0], 0))
    for name in two:
        np.testing.assert_allclose(gradient[name], wrong[name] + right[name], atol=2e-6)
    assert set(result.history.losses) == {"forget, wrong labels", "retain"}


@pytest.mark.filterwarnings("ignore:1 of 1 forget examples are also in the retain set")
def test_examples_of_a_batch_get_labels_of_their_own(one_step, params, lone_examples):
    """The mean over a batch of wrong labels 0 and 2 is neither one's gradient."""
    forget = lone_examples["forget"]
    gradient, _ = one_step(random_labels(3), params, batch_size=64, retain=forget)
    residual = gradient["b"]  # 2 softmax - onehot(1) - (share of 0, 0, share of 2)
    logits = forget.inputs[0] @ params["w"] + params["b"]
    shares = 2 * np.asarray(jax.nn.softmax(logits)) - residual - np.eye(3)[1]
    assert 0.2 < shares[0] < 0.8
    np.testing.assert_allclose(shares.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(shares[1], 0, atol=1e-5)


def test_the_pair_keeps_its_type():
    assert relabel_pair(fj.Examples(1, 2), 3) == fj.Examples(1, 3)
    assert isinstance(relabel_pair(fj.Examples(1, 2), 3), fj.Examples)
    assert relabel_pair((1, 2), 3) == (1, 3)


def test_other_examples_bring_their_own_reader_and_writer(one_step, params, lone_examples):
    def as_dict(examples):
        return {"image": examples.inputs, "label": examples.labels}

    def loss(params, example):
        logits = example["image"] @ params["w"] + params["b"]
        return jax.nn.logsumexp(logits) - logits[example["label"]]

    method = random_labels(
        3, label_of=lambda e: e["label"], relabel=lambda e, label: {**e, "label": label}
    )
    dicts = {name: as_dict(examples) for name, examples in lone_examples.items()}
    ours, _ = one_step(method, params, loss_fn=loss, **dicts)
    theirs, _ = one_step(random_labels(3), params)
    np.testing.assert_allclose(ours["w"], theirs["w"], atol=1e-6)


def test_one_class_has_no_wrong_label():
    with pytest.raises(ValueError, match="at least 2"):
        random_labels(1)
