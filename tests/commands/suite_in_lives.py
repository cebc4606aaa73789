"""Runs a tiny suite that dies again and again, workers and all: a program of its own.

``python suite_in_lives.py SIZE JOBS SIGNAL DEATHS SEED`` runs the suite twice in the working
directory: to its end, by one job, in ``undisturbed``; and in ``lives`` by so many jobs, where the
signal goes to all of its processes at random moments, or as in ``SIGKILL-alone`` to the first of
them, and it is started again. It prints as JSON how much was finished at each death, and who wrote
which cell.

JAX is imported once and every life is a fork of this process, which therefore must not use JAX
itself. Workers are spawned and import this file, so that what it does to ``Ledger`` holds in them.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from orbax.checkpoint import v1 as _  # noqa: F401

from feasible_jax import cli
from feasible_jax.experiments.ledger import Ledger

TINY = (
    "--smoke", "--steps", "4", "--epochs", "2", "--train-size", "100", "--methods",
    "gradient_ascent", "--learning-rates", "0.03", "0.3",
)  # fmt: skip
SIZES = {
    "small": ("--seeds", "1", "--arms", "plain", "--scenarios", "class"),
    "large": ("--seeds", "2", "--arms", "plain", "feasible", "--scenarios", "random", "class"),
}
LONG = 600
INTERRUPTED = 130


init, write = Ledger.__init__, Ledger.write


def init_and_meet(self, folder, config):
    init(self, folder, config)
    if "MEET" in os.environ and multiprocessing.parent_process() is not None:
        meet(Path(os.environ["MEET"]))


def write_and_note(self, name, outcome):
    write(self, name, outcome)
    with notes_of(self.folder.parent).open("a") as notes:
        notes.write(f"{os.getpid()} {name}\n")


Ledger.__init__, Ledger.write = init_and_meet, write_and_note


def notes_of(out):
    """Where it stands who wrote which cell of a suite."""
    return out.with_name(f"{out.name}.written")


def told_of(out):
    """Where the lives of a suite write what they tell on standard error."""
    return out.with_name(f"{out.name}.told")


def told_by(out):
    return told_of(out).read_text()


def meet(place):
    """Wait until a second worker is here: with one at work alone, the suite fails."""
    (place / str(os.getpid())).touch()
    end = time.monotonic() + LONG / 5
    while len(list(place.iterdir())) < 2:
        if time.monotonic() > end:
            raise RuntimeError("no second worker came")
        time.sleep(0.02)


def start(out, size, jobs):
    """Begin, or go on with, a suite in a process group of its own; its number."""
    child = os.fork()
    if child:
        os.setpgid(child, child)  # here too: whichever is first, no signal comes before it
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        # Whoever runs tests in the background ignores it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(told_of(out), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        sys.argv = ["feasible-jax", "benchmark", "--out", str(out), "--jobs", str(jobs)]
        sys.argv += [*TINY, *SIZES[size]]
        cli.main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child, seconds, until=lambda: False):
    """The exit status of a process that ends within that time, or before something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def early(child, out, rng, whole):
    """The status of a life that ends before a random moment, be it before anything is done."""
    return wait(child, rng.uniform(0, whole / 4))


def further(child, out, rng, whole):
    """The status of a life that ends before it has a new cell, or a random moment after that."""
    before = len(finished(out))
    status = wait(child, LONG, lambda: len(finished(out)) > before)
    return wait(child, rng.uniform(0, whole / 30)) if status is None else status


def at_the_page(child, out, rng, whole):
    """The status of a life that ends before a random moment at which it writes pages."""
    status = wait(child, LONG, lambda: any(out.glob("*/*.png")))
    return wait(child, rng.uniform(0, whole / 30)) if status is None else status


def to_the_end(child, out, rng, whole):
    """The status of a life that is left alone."""
    return wait(child, LONG)


def die(child, number, alone):
    """Signal a suite, or the first of its processes alone; its status, once none is left."""
    (os.kill if alone else os.killpg)(child, number)
    status = wait(child, LONG)
    end = time.monotonic() + 60
    while living := members(child):
        if time.monotonic() > end:
            raise SystemExit(f"still alive: {living}")
        time.sleep(0.01)
    return status


def members(group):
    """The command lines of the processes of a group, but for those that are dead already."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, number = (place / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(number) == group and state != "Z":
                found.append((place / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it ended just now
            continue
    return found


def finished(out):
    """Every file of a finished cell or model, and the marks that change when it is written anew."""
    cells = list(out.glob("*/cells/*.json"))
    models = [
        cell.parents[1] / "models" / cell.stem.removesuffix("-model") / "manifest.json"
        for cell in cells
        if cell.stem.endswith("-model")
    ]
    files = {str(file): file.stat() for file in (*cells, *models)}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in files.items()}


def check_untouched(before, after):
    """Nothing that was finished has been written again, or is gone."""
    changed = [name for name, marks in before.items() if after.get(name) != marks]
    if changed:
        raise SystemExit(f"written again, or lost: {changed}")


def run_in_lives(out, size, jobs, number, alone, deaths, rng, whole):
    """Run a suite to its end, through so many deaths and, of kills, one more at the page.

    ``whole`` is the number of seconds that an undisturbed run takes.

    Returns:
      How many cells and models were finished at each death.
    """
    kill, dead = number == signal.SIGKILL, INTERRUPTED if number == signal.SIGINT else -number
    moments = [early if kill and life % 3 == 2 else further for life in range(deaths)]
    moments += [at_the_page] if kill and deaths else []
    there, stood = {}, []
    for moment in (*moments, to_the_end):
        child = start(out, size, jobs)
        status = moment(child, out, rng, whole)
        if status is None:
            status = die(child, number, alone)
            stood.append(len(finished(out)))
        may_end = moment in (at_the_page, to_the_end)  # it may do so just before it is killed
        if status != dead and not (may_end and status == 0):
            raise SystemExit(f"a life ended with status {status}: {told_by(out)}")
        check_untouched(there, finished(out))
        there = finished(out)
    return stood


def main(size, jobs, name, deaths, seed):
    here, begun = Path.cwd(), time.monotonic()
    if wait(start(here / "undisturbed", size, 1), LONG) != 0:
        raise SystemExit(f"the undisturbed run failed: {told_by(here / 'undisturbed')}")
    whole = time.monotonic() - begun
    if not deaths:
        os.environ["MEET"] = str(here / "meet")
        (here / "meet").mkdir()
    number, rng = signal.Signals[name.removesuffix("-alone")], random.Random(seed)
    alone = name.endswith("-alone")
    stood = run_in_lives(here / "lives", size, jobs, number, alone, deaths, rng, whole)
    written = [line.split() for line in notes_of(here / "lives").read_text().splitlines()]
    print(json.dumps({"stood": stood, "written": written}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
