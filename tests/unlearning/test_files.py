import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from feasible_jax.unlearning.files import check_writable, write_atomically, writing


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


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        pass
    left, at_work, other = (
        tmp_path / f".{name}.{process}.part"
        for name, process in (("[a].txt", killed.pid), ("[a].txt", 1), ("b.txt", killed.pid))
    )
    for aside in (left, at_work, other):
        aside.write_text("ha")
    write_atomically(tmp_path / "[a].txt", b"new")
    assert set(tmp_path.iterdir()) == {tmp_path / "[a].txt", at_work, other}


def test_content_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done, replace = [], Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("synced"))
    monkeypatch.setattr(Path, "replace", lambda *args: (done.append("renamed"), replace(*args)))
    write_atomically(tmp_path / "a.txt", b"new")
    assert done == ["synced", "renamed"]


FULL = "cannot be written (No space left on device): free some space and run the same again"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(errno.ENOSPC, "anything"), OSError, FULL),
        (ValueError("TensorStore fails [os_error_code='28']"), OSError, FULL),
        (OSError(errno.EDQUOT, ""), OSError, "free some space"),
        (OSError(errno.EROFS, ""), OSError, "(Read-only file system): choose another folder"),
        (OSError(errno.EACCES, ""), PermissionError, "(Permission denied): choose another folder"),
        (OSError(errno.ENOTDIR, ""), NotADirectoryError, "a file stands where a folder has to be"),
        (OSError(errno.EIO, ""), OSError, "see that the folder is there"),
    ],
)
def test_errors_name_the_file_and_say_what_to_do(error, kind, message):
    with pytest.raises(kind) as caught, writing(Path("some/file")):
        raise error
    assert "some/file cannot be written" in str(caught.value)
    assert message in str(caught.value)
    assert str(caught.value).endswith("What was there before is untouched.")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("of another kind"), FileExistsError("in words")])
def test_errors_of_others_are_left_alone(error):
    with pytest.raises(type(error)) as caught, writing(Path("some/file")):
        raise error
    assert caught.value is error


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("text")
    check_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    for place in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(NotADirectoryError, match="a file stands where"):
            check_writable(place)


def test_a_folder_that_may_not_be_written_to(read_only):
    folder = read_only(lambda folder: (folder / "inside").mkdir())
    for place in (folder, folder / "inside", folder / "new" / "folder"):
        with pytest.raises(PermissionError, match="choose another folder"):
            check_writable(place)
