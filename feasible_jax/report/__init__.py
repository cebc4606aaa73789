"""The report: tables, pictures, and a page that holds them all."""

from feasible_jax.report.markdown import markdown_table
from feasible_jax.report.run import Run
from feasible_jax.report.storage import load_run
from feasible_jax.report.terminal import print_tables
from feasible_jax.report.write_report import write_report

__all__ = ["Run", "load_run", "markdown_table", "print_tables", "write_report"]
