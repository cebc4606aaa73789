import gzip
import tracemalloc

import numpy as np
import pytest

from feasible_jax.data.idx import read_idx


def idx_bytes(array, type_code=8, shape=None):
    shape = array.shape if shape is None else shape
    sizes = b"".join(int(size).to_bytes(4, "big") for size in shape)
    return bytes([0, 0, type_code, len(shape)]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def images():
    return np.random.default_rng().integers(0, 256, (5, 4, 3)).astype(np.uint8)


@pytest.fixture(params=["plain", "gzipped"])
def write(request, tmp_path):
    def write(content):
        path = tmp_path / "some-file"
        path.write_bytes(content if request.param == "plain" else gzip.compress(content))
        return path

    return write


def test_reads_back_what_was_written(write, images):
    read = read_idx(write(idx_bytes(images)), ndim=3)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, images)


def test_reads_labels_and_an_empty_file_of_none(write):
    assert read_idx(write(idx_bytes(np.array([3, 1]))), ndim=1).tolist() == [3, 1]
    assert read_idx(write(idx_bytes(np.zeros(0))), ndim=1).shape == (0,)


def test_sizes_are_big_endian_and_may_exceed_a_byte(write):
    labels = np.arange(70_000) % 251
    np.testing.assert_array_equal(read_idx(write(idx_bytes(labels)), ndim=1), labels)


@pytest.mark.parametrize("cut", [1, 3])
def test_cut_content(write, images, cut):
    with pytest.raises(ValueError, match=r"some-file declares 60 bytes.*holds only \d+"):
        read_idx(write(idx_bytes(images)[:-cut]), ndim=3)


def test_content_after_the_end(write, images):
    with pytest.raises(ValueError, match=r"some-file declares 60 bytes.*holds more"):
        read_idx(write(idx_bytes(images) + b"!"), ndim=3)


@pytest.mark.parametrize("length", range(16))
def test_cut_header(write, images, length):
    with pytest.raises(ValueError, match="some-file"):
        read_idx(write(idx_bytes(images)[:length]), ndim=3)


def test_wrong_magic(write, images):
    with pytest.raises(ValueError, match="some-file starts with 01 00 08 03"):
        read_idx(write(b"\1" + idx_bytes(images)[1:]), ndim=3)


def test_wrong_type(write, images):
    with pytest.raises(ValueError, match="some-file holds IDX type 0x0d"):
        read_idx(write(idx_bytes(images, type_code=0x0D)), ndim=3)


def test_wrong_number_of_dimensions(write, images):
    with pytest.raises(ValueError, match="some-file has 3 dimensions, not 1"):
        read_idx(write(idx_bytes(images)), ndim=1)


def test_a_pickle_is_not_opened(write):
    with pytest.raises(ValueError, match="not an IDX file"):
        read_idx(write(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR."), ndim=1)


@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (2**16, 2**16, 2**32 - 1), (2**31, 2, 1)])
def test_a_declared_size_beyond_the_limit(write, images, shape):
    with pytest.raises(ValueError, match=r"some-file declares .*more than 2 GiB"):
        read_idx(write(idx_bytes(images, shape=shape)), ndim=3)


def test_a_declared_size_within_the_limit_is_not_allocated(write, images):
    path = write(idx_bytes(images, shape=(2**20, 40, 50)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="holds only 60"):
        read_idx(path, ndim=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_damaged_gzip(tmp_path, images):
    path = tmp_path / "some-file.gz"
    zipped = gzip.compress(idx_bytes(images))
    damaged = bytes([zipped[-8] ^ 255])
    for content in (zipped[:20], zipped[:-4], zipped[:-8] + damaged + zipped[-7:], b"\x1f\x8bxyz"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"some-file.gz is not an intact gzip"):
            read_idx(path, ndim=3)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_idx(tmp_path / "nothing", ndim=1)
