"""How Sphinx builds these pages.

python -m sphinx -W --keep-going -b html docs docs/_build/html
"""

from sphinx.domains.python import PyObject

from feasible_jax import __version__

project = "feasible_jax"
copyright = "the feasible_jax authors"
author = "the feasible_jax authors"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = [
    "_build",
    "jupyter_execute",
    "moments_benchmark.md",  # a part of moments.md
    "calibration_summary.md",  # a part of guarantee.md
]

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

# Every page with code is run afresh, and an error in a cell fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False
maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"feasible_jax {version}"
html_copy_source = False
html_show_sphinx = False


def _no_docstring_of_the_type(app, what, name, obj, options, lines):
    """A constant is described where it is listed; Python would lend it the text of its type."""
    if what == "data":
        lines.clear()


def setup(app):
    """Register the hook with Sphinx, and call attributes what they are."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("autodoc-process-docstring", _no_docstring_of_the_type)
