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
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "alabaster"
html_theme_options = {
    "description": "A NATS client and message router for trio",
    "page_width": "70em",
}
