"""The command line that is running, as a user would type it again."""

import shlex
import sys
from pathlib import Path


def run_command() -> str:
    """The program's own name and its arguments, quoted for a shell.

    >>> isinstance(run_command(), str)
    True
    """
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
