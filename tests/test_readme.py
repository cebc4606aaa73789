import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_quickstart_runs_and_something_passes():
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert float(names["state"][-1].kept) == pytest.approx(0.5)


def test_both_commands_are_there_and_complete():
    text = README.read_text()
    for mark in ("demo", "tests"):
        (block,) = re.findall(rf"<!-- {mark} -->\n```bash\n(.*?)```", text, re.S)
        assert block.startswith("python3 -m venv .venv && .venv/bin/pip install")
