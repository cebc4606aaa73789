"""Every public name stands in docs/api, and has a docstring with an example."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import feasible_jax
from feasible_jax.data import SCENARIOS
from feasible_jax.experiments import ARMS, METHODS

_DOCS = Path(__file__).parents[2] / "docs"
_DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|data|module):: (\S+)$", re.MULTILINE)


def _modules_with_names():
    packages = [m.name for m in pkgutil.iter_modules(feasible_jax.__path__) if m.ispkg]
    names = ["feasible_jax", *(f"feasible_jax.{name}" for name in packages)]
    modules = [importlib.import_module(name) for name in names]
    return [module for module in modules if hasattr(module, "__all__")]


_PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in _modules_with_names()
    for name in module.__all__
}


@pytest.fixture(scope="module")
def documented():
    pages = [path.read_text(encoding="utf-8") for path in sorted((_DOCS / "api").glob("*.md"))]
    return [name for page in pages for name in _DIRECTIVE.findall(page)]


@pytest.mark.parametrize("name", _PUBLIC)
def test_is_in_the_api_pages(name, documented):
    # A name that the root re-exports has its entry there, and one entry is enough.
    short = f"feasible_jax.{name.rpartition('.')[2]}"
    assert name in documented or (short in documented and _PUBLIC.get(short) is _PUBLIC[name]), (
        f"{name} is public, but docs/api has no auto directive for it"
    )


def test_the_api_pages_list_public_names_alone(documented):
    assert sorted(set(documented) - set(_PUBLIC)) == []
    assert len(set(documented)) == len(documented)


def test_the_front_page_of_the_api_lists_every_name_of_the_root():
    page = (_DOCS / "api" / "index.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\.\. autosummary::\n\n((?:   \w+\n)+)", page)
    assert sorted(table.split()) == sorted(feasible_jax.__all__)


@pytest.mark.parametrize(
    "name",
    [name for name, obj in _PUBLIC.items() if callable(obj) and not inspect.ismodule(obj)],
)
def test_has_a_docstring_with_an_example(name):
    # Not inspect.getdoc, which would lend a class the text of its base.
    doc = _PUBLIC[name].__doc__ or ""
    assert ">>> " in doc, f"{name} has no example in its docstring"


@pytest.mark.parametrize("name", [*ARMS, *METHODS, *SCENARIOS])
def test_the_command_line_page_and_its_choices_are_those_of_the_code(name):
    source = (_DOCS.parent / "feasible_jax" / "experiments" / "choices.py").read_text()
    assert f'"{name}"' in source
    if name not in METHODS:
        assert f"`{name}`" in (_DOCS / "command_line.md").read_text(encoding="utf-8")
