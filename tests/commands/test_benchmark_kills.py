"""Suites that are killed outright, workers and all, lose nothing and do nothing twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import feasible_jax

PROGRAM = Path(__file__).parent / "suite_in_lives.py"
ROOT = Path(feasible_jax.__file__).parents[1]
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "MPLBACKEND": "agg",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "PYTHONFAULTHANDLER": "1",  # a worker that crashes tells where
}
pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")


def in_lives(folder, size, jobs, signal, deaths, seed=0):
    arguments = (size, jobs, signal, deaths, seed)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, *map(str, arguments)],
        cwd=folder,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lasting(value):
    """What was read from JSON, without what a clock measured and the command with its folder."""
    if isinstance(value, dict):
        passing = ("seconds", "rte_", "step_seconds", "run_seconds", "command")
        return {k: lasting(v) for k, v in value.items() if not k.startswith(passing)}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def results(out):
    """All that a suite keeps as JSON, by file."""
    files = [*out.glob("*.json"), *out.glob("*/*.json"), *out.glob("*/cells/*.json")]
    return {str(f.relative_to(out)): lasting(json.loads(f.read_text())) for f in files}


def files(out):
    """All that a suite writes but for what Orbax keeps in the folder of a model."""
    places = [
        place for depth in ("*", "*/*", "*/cells/*", "*/models/*") for place in out.glob(depth)
    ]
    return {str(place.relative_to(out)) for place in places}


def check(folder, found):
    """The suite ended like the undisturbed one; no cell was written twice, nothing is left over."""
    lives, undisturbed = folder / "lives", folder / "undisturbed"
    assert results(lives) == results(undisturbed)
    assert files(lives) == files(undisturbed)
    assert not list(lives.rglob(".*"))
    written = [name for _, name in found["written"]]
    assert len(written) == len(set(written))
    for page in (lives / "index.html", lives / "digits-mlp" / "index.html"):
        assert page.read_text().rstrip().endswith("</html>")


def test_a_suite_killed_at_a_cell_and_at_the_page_goes_on_where_it_stopped(tmp_path):
    found = in_lives(tmp_path, "small", 1, "SIGKILL", 1)
    check(tmp_path, found)
    assert 0 < found["stood"][0] < len(found["written"])


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_suite_killed_seven_times_does_so_too(jobs, tmp_path):
    found = in_lives(tmp_path, "large", jobs, "SIGKILL", 7, seed=jobs)
    check(tmp_path, found)
    assert len(set(found["stood"])) > 4, "hardly anything was at stake"


@pytest.mark.slow
def test_two_jobs_at_work_at_once_come_to_the_same_as_one(tmp_path):
    found = in_lives(tmp_path, "large", 2, "SIGKILL", 0)
    check(tmp_path, found)
    by_worker = {}
    for worker, name in found["written"]:
        by_worker.setdefault(worker, set()).add(name.split("-")[0])
    assert sorted(by_worker.values(), key=sorted) == [{"class"}, {"random"}]


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGINT", "SIGINT-alone"])
def test_ctrl_c_ends_every_worker_and_the_suite_goes_on(signal, tmp_path):
    found = in_lives(tmp_path, "large", 2, signal, 3)
    check(tmp_path, found)
    told = (tmp_path / "lives.told").read_text()
    assert told.count("Interrupted. To go on where it stopped: feasible-jax benchmark") == 3, told


@pytest.mark.slow
def test_no_worker_outlives_the_process_that_began_it(tmp_path):
    check(tmp_path, in_lives(tmp_path, "large", 2, "SIGKILL-alone", 3))
