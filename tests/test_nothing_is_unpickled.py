"""No line of the package loads what could run code, or unpacks an archive."""

import ast
from pathlib import Path

import pytest

import feasible_jax

FILES = sorted(Path(feasible_jax.__file__).parent.rglob("*.py"))
# Each of these unpickles, executes, or unpacks files to wherever their names say.
MODULES = {
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch",
    "pandas", "yaml", "zipfile", "tarfile",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}
NUMPY = ("np", "jnp", "numpy")
ATTRIBUTES = {"unpack_archive", "read_pickle", "extractall"}


def offences(tree):
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").split(".")[0], *(alias.name for alias in node.names)]
            if names[0] in ("numpy", "jax") and "load" in names:
                yield "imports load"
        for name in MODULES & set(names):
            yield f"imports {name}"
        if isinstance(node, ast.Call):
            yield from _call(node)


def _call(node):
    if isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield f"calls {node.func.id}"
    if getattr(node.func, "attr", getattr(node.func, "id", None)) == "import_module":
        named = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        yield from (f"imports {name}" for name in MODULES & set(named))
    if isinstance(node.func, ast.Attribute):
        if node.func.attr in ATTRIBUTES:
            yield f"calls {node.func.attr}"
        owner = node.func.value
        if node.func.attr == "load" and isinstance(owner, ast.Name) and owner.id in NUMPY:
            strict = any(
                k.arg == "allow_pickle" and isinstance(k.value, ast.Constant) and not k.value.value
                for k in node.keywords
            )
            if not strict:
                yield "calls np.load without allow_pickle=False"
    for keyword in node.keywords:
        constant = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg == "allow_pickle" and not constant:
            yield "passes allow_pickle"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_package_is_free_of_it(path):
    assert list(offences(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import torch.nn", "import pickle as p",
        "from shutil import x; x.unpack_archive('a')", "np.load('a')", "eval('1')",
        "numpy.load('a')", "from numpy import load", "importlib.import_module('pickle')",
        "import_module('torch')", "np.load('a', allow_pickle=True)",
        "f(allow_pickle=flag)", "from concurrent import zipfile",
    ],
)  # fmt: skip
def test_it_would_be_found(line):
    assert list(offences(ast.parse(line)))


def test_a_strict_load_is_allowed():
    assert not list(offences(ast.parse("np.load('a', allow_pickle=False); ocp.load('b')")))
    assert len(FILES) > 100
