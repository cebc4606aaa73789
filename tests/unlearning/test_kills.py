"""Runs that are killed outright, at random moments, lose nothing that was on disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import feasible_jax

PROGRAM = Path(__file__).parent / "die_often.py"
ROOT = Path(feasible_jax.__file__).parents[1]


def die_often(what, kills, seed, folder):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, what, str(kills), str(seed)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(found, kills):
    assert len(found["killed"]) == kills
    assert len(found["undisturbed"]) == 64
    assert found["outcomes"] == [found["undisturbed"]] * len(found["outcomes"])


def test_a_run_killed_twice_ends_bit_for_bit_like_an_undisturbed_one(tmp_path):
    found = die_often("small", 2, 1, tmp_path)
    check(found, 2)
    assert max(found["killed"]) > 0, "each was killed before there was anything to lose"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["large", "command"])
def test_a_run_killed_twenty_times_does_so_too(what, own_task, tmp_path):
    found = die_often(what, 20, 20, tmp_path)
    check(found, 20)
    assert len({step for step in found["killed"] if step > 0}) > 3, "hardly anything was at stake"
    shutil.rmtree(tmp_path)
