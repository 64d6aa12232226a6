"""Links from the documentation to files of the repository, for the site.

Pages link to source files and folders, which a reader of the repository can open but the site does not
contain. Such a link becomes plain text. A link to a path that does not exist is not changed, so that a strict
build fails.
"""

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Replace links to existing paths without a page by their text."""
    folder = Path(config["docs_dir"], page.file.src_uri).parent
    pages = {Path(config["docs_dir"], file.src_uri).resolve() for file in files}

    def replaced(link: "re.Match[str]") -> str:
        target = (folder / link[2]).resolve()
        return link[1] if target.exists() and target not in pages else link[0]

    return _LINK.sub(replaced, markdown)
