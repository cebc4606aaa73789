"""Two processes with two devices each, as on two hosts, over loopback."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import feasible_jax as fj
from feasible_jax.unlearning.processes import first_says, on_first_process, summed
from feasible_jax.unlearning.saved_run import read_saved

STEPS, KILLED_AT = 12, 6


def test_one_process_is_the_first():
    done = []
    on_first_process(lambda: done.append(1))
    assert done == [1]
    assert first_says(True)
    assert not first_says(False)
    np.testing.assert_array_equal(summed(np.array([3, 4], np.uint8)), [3, 4])
    with pytest.raises(KeyError):
        on_first_process(lambda: {}["nothing"])


def loss(params, example):
    inputs, target = example
    return 0.5 * (inputs @ params["w"] + params["b"] - target) ** 2


def examples(rng, size, begin, end):
    """The part of some examples that a process reads: from one share of them to another."""
    inputs = rng.normal(size=(size, 8)).astype(np.float32)
    targets = rng.normal(size=size).astype(np.float32)
    part = slice(int(begin * size), int(end * size))
    return inputs[part], targets[part]


def stream(*part):
    rng = np.random.default_rng(1)
    while True:
        yield examples(rng, 8, *part)


def run(mesh, *part, **kwargs):
    """A whole run on a mesh, to which a process feeds its part of a set and of a stream."""
    rows, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    retain = jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(rows, leaf),
        examples(np.random.default_rng(0), 32, *part),
    )
    params = {"w": np.ones(8, np.float32), "b": np.float32(0)}
    result = fj.unlearn(
        loss, jax.device_put(params, {"w": rows, "b": whole}), forget=stream(*part),
        retain=retain, method=fj.methods.neg_grad_plus(0.6),
        optimizer=optax.sgd(0.05, momentum=0.9),
        feasibility=optax.chain(
            fj.feasible_updates(
                decrease="retain", confidence=0.6, rule=fj.coordinatewise(evidence_decay=0.5)
            ),
            fj.certify_updates(decrease="retain", tolerance=0.1, test="student", backtrack=0),
        ),
        steps=STEPS, batch_size=16, certify_batch_size=16, chunk_size=3, checkpoint_every=0,
        progress=False, **kwargs,
    )  # fmt: skip
    gathered = jax.jit(lambda tree: tree, out_shardings=whole)(result.params)
    return {"kept": result.history.kept, **jax.tree.map(np.asarray, gathered)}


def four_devices():
    return jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])


def check_parts(rank):
    """On a mesh whose data axis lies within the processes, both hold copies of every batch."""
    rows = NamedSharding(four_devices(), P("data"))
    assert fj.unlearning.part_of_process(rows) == (rank, 2)
    devices = np.array(jax.devices()[:4]).reshape(2, 2)
    turned = jax.sharding.Mesh(devices, ("model", "data"), axis_types=(AxisType.Auto,) * 2)
    shared = NamedSharding(turned, P("data"))
    assert fj.unlearning.part_of_process(shared) == (0, 1)

    def begin(*part):
        return fj.unlearn(
            loss, {"w": np.ones(8, np.float32), "b": np.float32(0)}, forget=stream(*part),
            retain=stream(*part), method=fj.methods.neg_grad_plus(0.6), optimizer=optax.sgd(0.05),
            batch_sharding=shared, steps=2, progress=False,
        )  # fmt: skip

    assert begin(0, 1).stop is None
    with pytest.raises(ValueError, match=r"different examples of the \w+ stream.*part_of_process"):
        begin(rank / 2, (rank + 1) / 2)


def go_back(checkpoint, on_chunk=None):
    """A run whose parameters, which no process holds whole, fall by 1/2 a step, and then go back.

    After 2, 4, 6 and 8 steps 1, 2, 3 and 4 of 5 forget inputs lie below, and 1 of 2 held out do at
    the end: as near to 2/5 as to 3/5, of which the latest counts.
    """
    spread = NamedSharding(four_devices(), P("data"))
    forget, held_out = (
        fj.Examples(np.float32(inputs), np.zeros(len(inputs), int))
        for inputs in ([0.75, 1.75, 2.75, 3.75, 9], [1, 9])
    )
    return fj.unlearn(
        lambda w, example: jnp.sum(w) + 0 * example.inputs,
        jax.device_put(jnp.zeros(8), spread), forget=forget, retain=forget,
        method=fj.methods.fine_tuning(), optimizer=optax.sgd(0.5, momentum=0.0), steps=8,
        batch_size=4, chunk_size=2, rewind_to=held_out, progress=False, on_chunk=on_chunk,
        predict_fn=lambda w, x: jnp.stack([x + jnp.mean(w), jnp.zeros_like(x)], axis=-1),
        checkpoint=checkpoint, checkpoint_every=0, resume=True,
    )  # fmt: skip


def check_going_back(checkpoint):
    """A run that both processes leave after its last chunk, and go on with."""

    def leave(taken, params):
        if taken == 8:
            raise KeyError(taken)

    with pytest.raises(KeyError):
        go_back(checkpoint, on_chunk=leave)
    assert [tuple(look) for look in read_saved(checkpoint).looks] == [
        (2, "1/5"), (4, "2/5"), (6, "3/5"),
    ]  # fmt: skip
    for _ in range(2):
        result = go_back(checkpoint)
        assert result.rewound_to == 6
        assert not result.params.is_fully_addressable
        for leaf in (result.params, result.opt_state[0].trace):
            assert leaf.sharding.spec == P("data")
        mine = [shard.data for shard in result.params.addressable_shards]
        np.testing.assert_array_equal(np.concatenate(mine), np.full(4, -3))
    assert [tuple(look) for look in read_saved(checkpoint).looks] == [(6, "3/5")]


WORKER = """
import importlib.util, os, signal, sys
import jax
import numpy as np

tests, port, rank, checkpoint, out, die_at = sys.argv[1:]
rank, die_at = int(rank), int(die_at)
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", True)
jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank, initialization_timeout=60)
spec = importlib.util.spec_from_file_location("test_processes", tests)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def on_chunk(step, params):
    if step == die_at and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)

if not die_at:
    module.check_parts(rank)
    module.check_going_back(checkpoint + "-back")
result = module.run(module.four_devices(), rank / 2, (rank + 1) / 2, checkpoint=checkpoint,
                    resume=True, on_chunk=on_chunk)
np.savez(f"{out}.{rank}.npz", **result)
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def two_processes(folder, checkpoint, die_at=0):
    """The exit codes of two processes that run together."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fj.__file__).parents[1])}
    port = str(free_port())
    workers = []
    for rank in range(2):
        args = [__file__, port, str(rank), str(checkpoint), str(folder / "out"), str(die_at)]
        with (folder / f"log.{rank}").open("w") as log:
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, *args], env=environment, stdout=log, stderr=log
                )
            )
    try:
        until = time.monotonic() + 240
        while any(worker.poll() is None for worker in workers) and time.monotonic() < until:
            if workers[1].poll() == -signal.SIGKILL:
                break  # the other waits for it in vain: as a cluster would, end it too
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
    return [worker.wait() for worker in workers]


def has_gloo():
    from jaxlib import _jax

    return hasattr(_jax, "make_gloo_tcp_collectives")


@pytest.mark.skipif(not has_gloo(), reason="this jaxlib has no collectives between CPU processes")
def test_two_processes_do_as_one_and_go_on_after_one_was_killed(tmp_path, quick_compilation):
    undisturbed = run(four_devices(), 0, 1)
    assert 0 < undisturbed["kept"].mean() < 1, "the test would show nothing otherwise"
    checkpoint = tmp_path / "run"

    def logs():
        return "\n".join((tmp_path / f"log.{rank}").read_text()[-2000:] for rank in range(2))

    def assert_undisturbed(result):
        for name, want in undisturbed.items():
            np.testing.assert_allclose(result[name], want, rtol=1e-5, atol=1e-6)

    codes = two_processes(tmp_path, checkpoint, die_at=KILLED_AT)
    assert codes[1] == -signal.SIGKILL, logs()
    saved = read_saved(checkpoint)
    assert saved.step == KILLED_AT - 3, "the chunk that it died after is lost, and no more"
    shutil.copytree(checkpoint, tmp_path / "copy")

    assert two_processes(tmp_path, checkpoint) == [0, 0], logs()
    for rank in range(2):
        assert_undisturbed(np.load(tmp_path / f"out.{rank}.npz"))
    assert read_saved(checkpoint).finished
    assert_undisturbed(run(four_devices(), 0, 1, checkpoint=tmp_path / "copy", resume=True))
