"""The documentation site. ``python3 dev.py docs`` builds it; nothing is fetched and no notebook is executed."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from wattle_jupyter import __version__  # noqa: E402

project = "wattle-jupyter"
author = "The wattle-jupyter founders"
copyright = author
version = release = __version__

extensions = ["myst_nb", "sphinx_design", "sphinx.ext.autodoc", "lexer", "routes", "sources"]
exclude_patterns = ["_build", "_ext", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"  # notebooks are shown as they were saved; the tests execute them
nb_render_error_lexer = nb_render_text_lexer = "output"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
highlight_language = "wattle"  # of a block that does not say: a cell, or a line for a terminal

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
nitpick_ignore_regex = [("py:.*", ".*")]  # names of other packages: their documentation is not fetched

html_theme = "furo"
html_title = "wattle-jupyter"
html_static_path = ["_static", "images"]
html_css_files = ["site.css"]
html_favicon = "_static/wattle.svg"
html_logo = "_static/wattle.svg"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
_BRAND = ("color-brand-primary", "color-brand-content", "color-brand-visited")
_QUIET = {"color-sidebar-link-text--top-level": "var(--color-foreground-secondary)"}
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {**dict.fromkeys(_BRAND, "#7a5c00"), **_QUIET},
    "dark_css_variables": {**dict.fromkeys(_BRAND, "#f0c94a"), **_QUIET},
}
