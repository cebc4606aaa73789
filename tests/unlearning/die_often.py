"""Kills a run again and again, at random moments, and starts it again: a program of its own.

``python die_often.py WHAT KILLS SEED`` runs in the working directory and prints, as JSON, how many
runs were killed, how far they stood then, and a digest of every outcome. JAX is imported once and
every run is a fork of this process, which therefore must not use JAX itself.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from orbax.checkpoint import v1 as _  # noqa: F401

import feasible_jax as fj
from feasible_jax import cli
from feasible_jax.unlearning import load_params
from feasible_jax.unlearning.saved_run import read_saved


def small(folder):
    """A run that compiles fast."""
    mask = fj.feasible_updates(
        decrease=("retain",), confidence=0.7, rule=fj.coordinatewise(evidence_decay=0.9)
    )
    return unlearn(folder, fj.methods.gradient_ascent(), optax.sgd(0.05, momentum=0.9), mask, 24)


def large(folder):
    """A run with everything in its state."""
    mask = fj.feasible_updates(
        decrease=("retain",), confidence=0.7, rule=fj.coordinatewise(soft=True, evidence_decay=0.9)
    )
    certify = fj.certify_updates(
        decrease=("retain",), confidence=0.5, tolerance=0.01, spending=fj.alpha_spending()
    )
    both = optax.chain(mask, certify)
    return unlearn(folder, fj.methods.neg_grad_plus(0.5), optax.adam(0.05), both, 90)


def rewinding(folder):
    """A run of two classes that goes back to one of its looks."""

    def predict(params, inputs):
        return jnp.stack([inputs @ params["w"], inputs @ params["v"]], axis=-1)

    def loss(params, example):
        logits = predict(params, example.inputs[None])[0]
        return jax.nn.logsumexp(logits) - logits[example.labels]

    rng = np.random.default_rng(0)
    forget, retain, held_out = (
        fj.Examples(rng.normal(size=(n, 3)).astype("f"), rng.integers(0, 2, n)) for n in (40, 60, 9)
    )
    result = fj.unlearn(
        loss, {"w": np.array([1, -2, 0.25], "f"), "v": np.zeros(3, "f")}, forget=forget,
        retain=retain, method=fj.methods.scrub_r(min_steps=1),
        optimizer=optax.sgd(0.5, momentum=0.9), steps=60, batch_size=6, chunk_size=3,
        predict_fn=predict, rewind_to=held_out, checkpoint=folder / "state", checkpoint_every=0,
        resume=True, progress=False,
    )  # fmt: skip
    looks = read_saved(folder / "state").looks
    assert [step for step, error in looks] == [result.rewound_to]
    assert result.rewound_to < 60
    return result


def unlearn(folder, method, optimizer, feasibility, steps):
    """Linear regression, with a checkpoint after every chunk."""

    def loss(params, example):
        inputs, target = example
        return 0.5 * (inputs @ params["w"] + params["b"] - target) ** 2

    rng = np.random.default_rng(0)
    forget, retain = (
        (rng.normal(size=(n, 3)).astype("f"), rng.normal(size=n).astype("f")) for n in (7, 30)
    )
    return fj.unlearn(
        loss, {"w": np.array([1, -2, 0.25], "f"), "b": np.float32(0.5)}, forget=forget,
        retain=retain, method=method, optimizer=optimizer, feasibility=feasibility, steps=steps,
        batch_size=6, certify_batch_size=8, chunk_size=3, checkpoint=folder / "state",
        checkpoint_every=0, resume=True, progress=False,
    )  # fmt: skip


def command(folder):
    """The command line, on the task of one's own in the working directory."""
    sys.argv = [
        "feasible-jax", "unlearn", "--out", str(folder), "--task", "task_of_my_own:make",
        "--arm", "certified", "--momentum", "0.5", "--steps", "100", "--batch-size", "8",
        "--checkpoint-every", "0", "--resume",
    ]  # fmt: skip
    assert cli.run() == 0
    timed = ("seconds", "rte_minutes", "rte_ratio")
    rows = json.loads((folder / "results.json").read_text())
    params = load_params(folder / "checkpoint", jax.ShapeDtypeStruct((4, 3), jnp.float32))
    return params, [{k: v for k, v in row.items() if k not in timed} for row in rows]


LONG = 3600
WHATS = {"small": small, "large": large, "rewinding": rewinding, "command": command}


def digest(outcome):
    """Of every bit of every array, and of all else as text."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(outcome):
        value = np.asarray(leaf).tobytes() if hasattr(leaf, "dtype") else repr(leaf).encode()
        total.update(jax.tree_util.keystr(path).encode() + value)
    return total.hexdigest()


def start(what, folder):
    """Begin, or go on with, a run in another process; its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        jax.config.update("jax_disable_most_optimizations", True)
        folder.mkdir(exist_ok=True)
        (folder / "digest").write_text(digest(WHATS[what](folder)))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child, seconds, until=lambda: False):
    """Whether a process is done, within that time or before something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"a run ended with status {status}")
            return True
        time.sleep(0.005)
    return False


def let_live(child, folder, rng, whole, early):
    """Whether a process is done before a random moment, at any time or after it got further."""
    if early:
        return wait(child, rng.uniform(0, whole))
    before = max(stands_at(folder), 0)

    def further():
        try:
            return stands_at(folder) > before
        except ValueError:  # read between two renames
            return False

    done = wait(child, LONG, further)
    return done or wait(child, rng.uniform(0, whole / 8))


def stands_at(folder):
    """The number of steps that are on disk, -1 where there is no run yet."""
    saved = read_saved(folder / "state")
    return -1 if saved is None else saved.step


def main(what, kills, seed):
    rng, here = random.Random(seed), Path.cwd()
    begun = time.monotonic()
    if not wait(start(what, here / "undisturbed"), LONG):
        raise SystemExit("the undisturbed run does not end")
    whole = time.monotonic() - begun
    outcomes, killed, lives = [], [], 0
    while len(killed) < kills:
        folder, lives, before, finished = here / f"life{lives}", lives + 1, -1, False
        while not finished:
            child = start(what, folder)
            if len(killed) == kills:
                finished = wait(child, LONG)
                continue
            finished = let_live(child, folder, rng, whole, early=len(killed) % 3 == 2)
            if not finished:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                killed.append(stands_at(folder))
                if killed[-1] < before:
                    raise SystemExit(f"steps were lost: {killed}")
                before = killed[-1]
        outcomes.append((folder / "digest").read_text())
        leftover = [p.name for p in folder.iterdir() if p.name.startswith(".state")]
        if leftover:
            raise SystemExit(f"left behind: {leftover}")
    undisturbed = (here / "undisturbed" / "digest").read_text()
    print(json.dumps({"undisturbed": undisturbed, "outcomes": outcomes, "killed": killed}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
