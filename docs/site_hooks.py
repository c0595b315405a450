"""Adapts the documentation to the site.

Roles of Sphinx in docstrings, such as :func:, have no meaning in Markdown. ``results.md`` and ``results/README.md``
would be one page.
"""

import re
from typing import Any

_ROLE = re.compile(r":(?:func|class|meth|attr|data|mod|exc):(?=<code>)")


def on_files(files: Any, **_context: Any) -> None:
    """Move ``results/README.md`` to a page of its own."""
    claims = files.get_file_from_path("results/README.md")
    claims.dest_uri, claims.url = "results/claims/index.html", "results/claims/"


def on_page_content(html: str, **_context: Any) -> str:
    """Remove the roles, and leave the names as code."""
    return _ROLE.sub("", html)
