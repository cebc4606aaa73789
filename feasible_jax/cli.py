"""The command line: ``feasible-jax demo``, ``unlearn``, ``evaluate`` and ``benchmark``."""

import sys

from rich.console import Console
from rich.markup import escape
from tyro.extras import SubcommandApp

from feasible_jax.commands.benchmark import benchmark
from feasible_jax.commands.demo import demo
from feasible_jax.commands.evaluate import evaluate
from feasible_jax.commands.run_command import go_on
from feasible_jax.commands.unlearn import unlearn


def main() -> None:
    """Run the command line; errors of the user's are one paragraph, not a traceback."""
    app = SubcommandApp()
    for command in (demo, unlearn, evaluate, benchmark):
        app.command(command)
    try:
        app.cli(
            prog="feasible-jax",
            description="Machine unlearning in JAX: updates probably aligned with what must hold.",
        )
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        Console(stderr=True).print(f"[red]feasible-jax:[/red] {escape(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        # A line to be copied: neither wrapped nor marked up.
        Console(stderr=True).print(go_on(), markup=False, highlight=False, soft_wrap=True)
        sys.exit(130)
