"""Every test runs under strict promotion, on eight host devices."""

import math
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

# Most programs here are compiled once and run once. Kernels of a program in one piece, and written
# by the emitters that compile at once, take a third of the time; newer JAX knows no such emitters.
COMPILE_AT_ONCE = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):
    COMPILE_AT_ONCE += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join([*COMPILE_AT_ONCE, os.environ.get("XLA_FLAGS", "")])

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Some tests send Ctrl-C, which a shell makes those ignore that it runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Forget compiled programs before the system's limit on mapped pieces of memory is reached.

    A program takes a dozen pieces, Linux allows 65,530, and XLA crashes when it gets no more.
    """
    yield
    pieces = Path("/proc/self/maps")
    if pieces.exists() and pieces.read_bytes().count(b"\n") > 16_000:
        jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compilation():
    """XLA without most of its optimizations, for the rooms that compile more than they compute."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def assert_binomial(passes, probability):
    """Fail if the pass rate is 4.5 standard errors away: once in 150,000 fresh seeds."""
    passes = np.asarray(passes)
    error = np.sqrt(probability * (1 - probability) / passes.size)
    assert abs(passes.mean() - probability) < 4.5 * error, (passes.mean(), probability, error)


@pytest.fixture(scope="session")
def binomial():
    """Statistics are tested as statistics: a pass rate against its binomial law."""
    return assert_binomial


_COLLECTIVE = re.compile(
    r" = (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
_CALLED = re.compile(r"(\w+)=\{?((?:%[\w.\-]+(?:, )?)+)")
_TIMES = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


def count_what_crosses(program):
    """``(kind, numbers, times)`` of every collective of a compiled program.

    ``numbers`` is the size of its result on one device, ``times`` how often loops repeat it.
    """
    bodies, body, entry = {}, [], ""
    for line in program.as_text().splitlines():
        start = re.match(r"(ENTRY )?%([\w.\-]+) .*\{$", line)
        if start:
            body = bodies[start[2]] = []
            entry = start[2] if start[1] else entry
        else:
            body.append(line)
    found = []

    def walk(name, times):
        for line in bodies.get(name, ()):
            collective = _COLLECTIVE.search(line)
            if collective:
                shapes = re.findall(r"\w\[([\d,]*)\]", collective[1])
                numbers = sum(math.prod(int(n) for n in dims.split(",") if n) for dims in shapes)
                found.append((collective[2], numbers, times))
            loop = _TIMES.search(line)
            for role, names in _CALLED.findall(line):
                more = int(loop[1]) if loop and role == "body" else 1
                for called in re.findall(r"%([\w.\-]+)", names):
                    walk(called, times * more)

    walk(entry, 1)
    return found


@pytest.fixture(scope="session")
def what_crosses():
    """How much a compiled program sends over the mesh."""
    return count_what_crosses


OWN_TASK = """
import numpy as np
import jax.numpy as jnp
import feasible_jax as fj

def predict(w, inputs):
    return inputs @ w

def loss(w, example):
    logits = predict(w, example.inputs)
    return jnp.log(jnp.exp(logits).sum()) - logits[example.labels]

def make():
    rng = np.random.default_rng(0)
    def some(n):
        return fj.Examples(rng.normal(size=(n, 4)).astype("float32"), rng.integers(0, 3, n))
    return fj.Task("mine", loss, predict, np.zeros((4, 3), "float32"), some(8), some(20), some(9),
                   some(9), num_classes=3)

def wrong():
    return 3
"""


@pytest.fixture
def own_task(tmp_path, monkeypatch):
    """A module of a user's own in the working directory, without a retrained model; its name."""
    (tmp_path / "task_of_my_own.py").write_text(OWN_TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    yield "task_of_my_own"
    sys.modules.pop("task_of_my_own", None)


@pytest.fixture
def read_only():
    """Makes a folder that this process may look into, but not write to, not even as root."""
    folder, root = Path(tempfile.mkdtemp()), os.geteuid() == 0

    def make(fill=lambda folder: None):
        fill(folder)
        for place in (folder, *folder.rglob("*")):
            place.chmod(0o555 if place.is_dir() else 0o444)
        if root:
            os.seteuid(65534)  # for root, permissions are no obstacle
        return folder

    yield make
    if root:
        os.seteuid(0)
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o700)
    shutil.rmtree(folder)
