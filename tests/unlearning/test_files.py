from pathlib import Path

import pytest

from feasible_jax.unlearning.files import write_atomically


def test_replaces_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_a_failure_midway_leaves_the_old_file(tmp_path, monkeypatch, method):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(self, *_):
        self.touch()
        raise OSError("disk full")

    monkeypatch.setattr(Path, method, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
