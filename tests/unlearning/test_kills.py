"""Runs that are killed outright, at random moments, lose nothing that was on disk."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import feasible_jax
from feasible_jax.unlearning import load_params

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
@pytest.mark.parametrize("what", ["large", "rewinding", "command"])
def test_a_run_killed_twenty_times_does_so_too(what, own_task, tmp_path):
    found = die_often(what, 20, 20, tmp_path)
    check(found, 20)
    assert len({step for step in found["killed"] if step > 0}) > 3, "hardly anything was at stake"
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_ctrl_c_at_any_moment_leaves_a_run_that_goes_on(own_task, tmp_path):
    def start(folder, *more):
        arguments = (
            "unlearn", "--out", str(folder), "--task", f"{own_task}:make", "--arm", "certified",
            "--steps", "2000", "--batch-size", "8", "--checkpoint-every", "1", *more,
        )  # fmt: skip
        program = "from feasible_jax.cli import main; main()"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments], env=environment, cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finish(run):
        told = run.communicate()[1]
        assert run.returncode == 0, told

    begun = time.monotonic()
    finish(start(tmp_path / "whole"))
    whole, rng, folder = time.monotonic() - begun, random.Random(0), tmp_path / "run"
    for _ in range(8):
        run = start(folder, "--resume")
        while not (folder / "state").exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, whole / 2))
        run.send_signal(signal.SIGINT)
        _, told = run.communicate()
        # Before the program has begun, and after it has ended, Python itself answers.
        assert run.returncode in (130, 0, -signal.SIGINT), told
        if run.returncode == 130:
            assert told.count("\n") == 1, told
            assert told.startswith("Interrupted. To go on where it stopped: "), told
    finish(start(folder, "--resume"))
    like = jax.ShapeDtypeStruct((4, 3), np.float32)
    one, other = (load_params(tmp_path / name / "checkpoint", like) for name in ("run", "whole"))
    assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
