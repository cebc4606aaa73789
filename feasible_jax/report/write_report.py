"""A finished run becomes a directory one can read."""

from pathlib import Path

from feasible_jax.report.page import write_page
from feasible_jax.report.run import Run
from feasible_jax.report.storage import save_run


def write_report(run: Run, folder: str | Path) -> Path:
    """Writes the results, the pictures and the page of a run.

    Args:
      run: what to report.
      folder: the run directory, made where it does not exist. It gets ``results.json``,
        ``config.json``, ``curves.json``, ``command.txt``, ``tradeoff.png``, ``kept.png``,
        ``losses.png`` and ``index.html``, each written aside and renamed. Results come first, so
        that they are safe should a picture fail.

    Returns:
      The path of ``index.html``.

    Raises:
      TypeError: if something in the run is not fit for JSON.
      ValueError: if the rows are not as ``Run`` says.
      OSError: if a file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(Run([], {"seeds": [0]}, {}, "feasible-jax demo"), folder)
    ...     sorted(path.name for path in page.parent.iterdir())
    ['command.txt', 'config.json', 'curves.json', 'index.html', 'results.json']
    """
    save_run(run, folder)
    return write_page(run, folder)
