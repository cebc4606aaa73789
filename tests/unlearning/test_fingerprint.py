import jax
import jax.numpy as jnp
import numpy as np

from feasible_jax.unlearning.fingerprint import fingerprint


def test_fingerprints_differ_by_name_shape_dtype_and_content():
    trees = [
        {"w": np.zeros(4, np.float32)},
        {"v": np.zeros(4, np.float32)},
        {"w": np.zeros((2, 2), np.float32)},
        {"w": np.zeros(4, np.int32)},
        {"w": np.array([0, 0, 0, 1], np.float32)},
        {"w": jnp.zeros(4, jnp.bfloat16)},
        jax.random.key(0),
        jax.random.key(1),
        jax.random.key(0, impl="rbg"),
    ]
    assert len({fingerprint(tree) for tree in trees}) == len(trees)
    assert fingerprint(trees[0]) == fingerprint({"w": jnp.zeros(4)})


def test_more_contents_than_one_block_holds(monkeypatch):
    leaf = np.arange(100, dtype=np.float32)
    whole = fingerprint(leaf)
    monkeypatch.setattr("feasible_jax.unlearning.fingerprint._BLOCK", 7)
    assert fingerprint(leaf) == whole
    assert fingerprint(leaf[::-1]) != whole, "places count"
    wide = leaf.astype(np.complex128)
    assert fingerprint(wide) != fingerprint(wide * 1j)


class Spread:
    """An array of which this process holds some shards, as with several processes."""

    def __init__(self, whole, indices):
        self.shape, self.dtype, self.ndim = whole.shape, whole.dtype, whole.ndim
        self.is_fully_addressable = False
        self.addressable_shards = [Shard(whole[index], index) for index in indices]


class Shard:
    def __init__(self, data, index, replica_id=0):
        self.data, self.index, self.replica_id = data, index, replica_id


def test_it_is_the_same_however_an_array_is_spread():
    whole = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    want = fingerprint(whole)
    for cuts in (
        [np.s_[0:2, :], np.s_[2:6, :]],
        [np.s_[:, 2:4], np.s_[0:3, 0:2], np.s_[3:6, 0:2]],
    ):
        here = Spread(whole, cuts)
        here.addressable_shards.append(Shard(whole, np.s_[:, :], replica_id=1))
        assert fingerprint(here) == want
        less = Spread(whole, cuts[:-1])
        assert fingerprint(less) != want
