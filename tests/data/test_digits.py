import numpy as np

from feasible_jax.data.digits import load_digits


def test_types_ranges_and_shapes():
    dataset = load_digits()
    assert dataset.name == "digits"
    assert dataset.classes == tuple("0123456789")
    for examples, size in ((dataset.train, 1348), (dataset.test, 449)):
        assert examples.inputs.shape == (size, 8, 8, 1)
        assert examples.inputs.dtype == np.float32
        assert examples.labels.shape == (size,)
        assert examples.labels.dtype == np.int32
        assert examples.inputs.min() == 0
        assert examples.inputs.max() == 1


def test_the_split_is_stratified_and_the_same_every_time():
    dataset, again = load_digits(), load_digits()
    np.testing.assert_array_equal(dataset.test.inputs, again.test.inputs)
    of_train = np.bincount(dataset.train.labels)
    of_test = np.bincount(dataset.test.labels)
    np.testing.assert_allclose(of_test, 0.25 * (of_train + of_test), atol=1)


def test_images_keep_their_labels_and_none_is_in_both_sets():
    dataset = load_digits()
    from sklearn.datasets import load_digits as original

    by_image = {tuple(x): y for x, y in zip(*original(return_X_y=True), strict=True)}
    flat = [
        (tuple(image.reshape(-1) * 16), label)
        for examples in (dataset.train, dataset.test)
        for image, label in zip(*examples, strict=True)
    ]
    assert all(by_image[image] == label for image, label in flat)
    assert len({image for image, _ in flat}) == len(by_image)
