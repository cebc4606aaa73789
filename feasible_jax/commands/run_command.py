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


def go_on() -> str:
    """What to tell who pressed Ctrl-C, in one line: the command that goes on with what is there.

    >>> go_on().startswith("Interrupted.")
    True
    """
    command = sys.argv[1:2]
    if command not in (["benchmark"], ["demo"], ["unlearn"]):
        return "Interrupted."
    resume = " --resume" if command == ["unlearn"] and "--resume" not in sys.argv else ""
    return f"Interrupted. To go on where it stopped: {run_command()}{resume}"
