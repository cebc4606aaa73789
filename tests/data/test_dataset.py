import numpy as np

from feasible_jax.data import Dataset
from feasible_jax.unlearning.task import Examples


def test_fields_come_in_the_order_users_unpack_them():
    train = Examples(np.zeros((1, 2, 2, 1), np.float32), np.zeros(1, np.int32))
    test = Examples(np.ones((1, 2, 2, 1), np.float32), np.zeros(1, np.int32))
    name, classes, first, second = Dataset("blank", ("only",), train, test)
    assert (name, classes) == ("blank", ("only",))
    assert first is train
    assert second is test
