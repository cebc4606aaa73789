"""The command line: ``feasible-jax demo``, ``unlearn``, ``evaluate`` and ``benchmark``."""

import os
import sys

from rich.console import Console
from rich.markup import escape
from tyro.extras import SubcommandApp

from feasible_jax.commands.benchmark import benchmark
from feasible_jax.commands.demo import demo
from feasible_jax.commands.evaluate import evaluate
from feasible_jax.commands.run_command import go_on
from feasible_jax.commands.unlearn import unlearn
from feasible_jax.unlearning.interrupts import delivered_again

INTERRUPTED = 130


def main() -> None:
    """Run the command line, and leave with its exit status."""
    status = run()
    if status == INTERRUPTED:
        # At once: a compilation that was interrupted goes on in a thread of its own, and would
        # crash on what JAX takes down when Python exits. All that is to be kept is on disk.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run() -> int:
    """Run the command line; errors of the user's are one paragraph, not a traceback.

    Returns:
      The exit status: 0, 2 after an error, 130 after Ctrl-C.
    """
    app = SubcommandApp()
    for command in (demo, unlearn, evaluate, benchmark):
        app.command(command)
    try:
        with delivered_again():
            app.cli(
                prog="feasible-jax",
                description="Machine unlearning in JAX: updates probably aligned with what must "
                "hold.",
            )
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        Console(stderr=True).print(f"[red]feasible-jax:[/red] {escape(str(error))}")
        return 2
    except KeyboardInterrupt:
        # A line to be copied: neither wrapped nor marked up.
        Console(stderr=True).print(go_on(), markup=False, highlight=False, soft_wrap=True)
        return INTERRUPTED
    return 0
