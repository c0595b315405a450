"""Adapts docstrings to the site: roles of Sphinx, such as :func:, have no meaning in Markdown."""

import re
from typing import Any

_ROLE = re.compile(r":(?:func|class|meth|attr|data|mod|exc):(?=<code>)")


def on_page_content(html: str, **_context: Any) -> str:
    """Remove the roles, and leave the names as code."""
    return _ROLE.sub("", html)
