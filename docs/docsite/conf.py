# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Sphinx; `make docs` runs it on README.md as index.md, docs, and what antsibull-docs makes in collections."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(os.environ["DOCSITE_REPOSITORY"])
HOME = "https://github.com/inferops/ascend"
# Labels of Ansible's documents to which antsibull-docs refers. An inventory of them would have to be downloaded.
ANSIBLE = "https://docs.ansible.com/projects/ansible/latest"
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!#)([^)#\s]+)(#[^)\s]+)?\)")

project = "inferops.ascend"
html_title = html_short_title = project
extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "index"
html_theme = "sphinx_ansible_theme"
html_theme_options = {
    "show_extranav": False,
    "show_rtd_ethical_ads": False,
    "topbar_links": {"Repository": HOME, "Issues": f"{HOME}/issues"},
}
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
highlight_language = "text"
nitpicky = True
# Headings have the anchors that GitHub gives them.
myst_heading_anchors = 3


def target(page: str, link: str) -> str:
    """Where a link of a Markdown page leads on the site: to another page of it, or to the file on GitHub."""
    inside = re.fullmatch(rf"{HOME}/(?:blob|tree)/main/(.+)", link)
    if not inside and ":" in link:
        return link
    path = (
        inside[1] if inside else posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    )
    role = re.fullmatch(r"roles/(\w+)/README\.md", path)
    if path == "README.md":
        return "/index.md"
    if role:
        return f"/collections/{role[1]}_role.rst"
    if path.startswith("docs/") and path.endswith(".md"):
        return f"/{path}"
    return f"{HOME}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"


def link(page: str, text: str, where: str, anchor: str) -> str:
    """A link for the site. One that has the name of a file as its text gets the title of the page instead."""
    where = target(page, where)
    return f"[{'' if text.endswith('.md') and where.startswith('/') else text}]({where}{anchor})"


def contents(index: str) -> str:
    """Tables of contents: a part for each part of the table in docs/index.md, then Chinese pages and the reference."""
    parts = {"Guides": ["docs/index.md"]}
    pages = parts["Guides"]
    for line in index.splitlines():
        title = re.match(r"\| \*\*(.+)\*\* \|", line)
        if title:
            pages = parts.setdefault(title[1].capitalize(), [])
        else:
            named = dict.fromkeys(f"docs/{page}" for page in re.findall(r"\]\(([\w-]+\.md)", line))
            pages += [page for page in named if not any(page in part for part in parts.values())]
    parts["中文"] = [f"docs/zh/{path.name}" for path in sorted((ROOT / "docs" / "zh").iterdir())]
    parts["Plugins and roles"] = ["collections/index"]
    trees = (
        "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", *pages, "```"])
        for title, pages in parts.items()
    )
    return "\n\n".join(trees)


def read(_app: Sphinx, name: str, source: list[str]) -> None:
    """Turn a page as GitHub shows it into one of the site."""
    page = "README.md" if name == "index" else f"{name}.md"
    if name.startswith("collections"):
        return
    # Sphinx has no diagrams of this kind; their source is readable.
    source[0] = source[0].replace("```mermaid", "```text")
    source[0] = LINK.sub(lambda found: link(page, *found.groups("")), source[0])
    if name == "index":
        source[0] += contents((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))


def refer(
    _app: Sphinx, _environment: object, node: pending_xref, text: nodes.Element
) -> nodes.reference | None:
    """A link to a label of Ansible's documents."""
    page = LABELS.get(node["reftarget"])
    return nodes.reference("", "", text, refuri=f"{ANSIBLE}/{page}") if page else None


def setup(app: Sphinx) -> None:
    """Have pages changed as they are read, and labels found that are elsewhere."""
    app.connect("source-read", read)
    app.connect("missing-reference", refer)
