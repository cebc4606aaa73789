import subprocess
import sys

import pytest

from feasible_jax.report import load_run, page, write_report


def test_a_run_directory_is_complete_and_reads_back(run, tmp_path):
    path = write_report(run, tmp_path / "run")
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "command.txt",
        "config.json",
        "curves.json",
        "index.html",
        "kept.png",
        "losses.png",
        "results.json",
        "tradeoff.png",
    ]
    first = path.read_bytes()
    assert write_report(load_run(path.parent), path.parent).read_bytes() == first


def test_results_are_safe_when_a_picture_fails(one_seed, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no font")

    monkeypatch.setattr(page, "draw_pictures", fail)
    with pytest.raises(RuntimeError, match="no font"):
        write_report(one_seed, tmp_path)
    assert load_run(tmp_path).rows == one_seed.rows


def test_the_library_loads_without_plotting():
    code = "import sys, feasible_jax; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_never_loads_pyplot():
    code = "import sys, feasible_jax.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
