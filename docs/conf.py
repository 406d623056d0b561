"""Sphinx's configuration; `nox -s docs` builds with warnings as errors."""

from importlib.metadata import version as _installed_version

project = "beamline_trio"
copyright = "the beamline_trio authors"
release = _installed_version("beamline-trio")
version = release

# Pages are Markdown (MyST) or reStructuredText; docstrings have Google sections.
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nitpicky = False
# A single backtick in a docstring is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
maximum_signature_line_length = 100
# Attributes sections are fields of their class: as members they would be described twice.
napoleon_use_ivar = True

html_theme = "alabaster"
html_theme_options = {
    "description": "A NATS client and message router for trio",
    "page_width": "70em",
}


def _examples_are_code(app, what, name, obj, options, lines):
    """An Example section of a docstring is a code block."""
    lines[:] = "\n".join(lines).replace("Example:\n", "Example::\n\n").split("\n")


def setup(app):
    """Sphinx calls it."""
    app.connect("autodoc-process-docstring", _examples_are_code, priority=400)  # before napoleon's 500
