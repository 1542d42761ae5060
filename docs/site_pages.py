"""Pages of the site that docs/ lacks: made at build time from bundles/, medseg/ and CONTRIBUTING.md."""

from __future__ import annotations

import ast
import json
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from medseg.bundle import Bundle, Method, describe_steps, method_names, open_bundle, read_method, tasks
from medseg.cli import COMMANDS, parser

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "medseg"

# The page of each file that lies outside docs/, by the file's path in the repository.
INCLUDED = {
    "CONTRIBUTING.md": "contributing.md",
    **{f"bundles/{task}/docs/README.md": f"models/{task}.md" for task in tasks()},
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and put those of a folder in the place of its entry in the navigation."""
    pages = {page: (ROOT / path).read_text(encoding="utf-8") for path, page in INCLUDED.items()}
    pages |= {"models/index.md": _cards_page(), "commands.md": _commands_page()}
    pages |= dict(_method_pages()) | dict(_reference_pages())
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    for entry in config.nav or []:
        for title, value in entry.items():
            if isinstance(value, str) and value.endswith("/"):
                entry[title] = [page for page in pages if page.startswith(value)]
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to included files lead to their pages, and links to modules into the API reference.

    Of a link to another file the text alone is left.
    """
    here = {uri: path for path, uri in INCLUDED.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def replaced(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        if "://" in target or not (ROOT / path).exists():
            return match[0]
        uri = INCLUDED.get(path)
        if path.startswith("medseg/") and path.endswith(".py"):
            return _reference_link(text, path, page)
        if uri is None and not path.startswith("docs/"):
            return text
        uri = uri or path.removeprefix("docs/")
        return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri))}{anchor or ''})"

    return re.sub(r"(?<!!)\[([^\]\n]*)\]\(([^)#\s]+)(#[^)\s]*)?\)", replaced, markdown)


def _reference_link(text: str, path: str, page: Page) -> str:
    """A link to what its text names in a module, such as `medseg.grid.plan`; else to the module."""
    module = _dotted(ROOT / path)
    named = text.strip("`")
    name = named if named.startswith(f"{module}.") else module
    if name.count(".") > 1:
        return f"[{text}][{name}]"
    # A module or package at the top is a page, whose heading is no object of the reference.
    uri = f"reference/{path.split('/')[1].removesuffix('.py')}.md"
    return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri))})"


def _cards_page() -> str:
    rows = [
        f"| [{bundle.task}]({bundle.task}.md) | {bundle.metadata['task']} | {bundle.metadata['version']} |"
        for bundle in map(open_bundle, tasks())
    ]
    about = "A card says which data a bundle's weights were trained on, how they score, and where they fail."
    return "\n".join(
        ["# Model cards", "", about, "", "| task | what | version |", "|---|---|---|", *rows, ""]
    )


def _commands_page() -> str:
    """What each command says with --help."""
    parts = ["# Commands", "", "What `medseg COMMAND --help` prints."]
    with patch.dict(os.environ, COLUMNS="100", NO_COLOR="1"):
        for name in COMMANDS:
            with redirect_stdout(StringIO()) as text, suppress(SystemExit):
                parser([name]).parse_args([name, "--help"])
            parts += ["", f"## medseg {name}", "", "```text", text.getvalue().rstrip(), "```"]
    return "\n".join([*parts, ""])


def _method_pages() -> Iterator[tuple[str, str]]:
    """A page that lists the methods of all tasks, and a page for each method."""
    found = [
        (bundle, read_method(bundle, name))
        for bundle in map(open_bundle, tasks())
        for name in method_names(bundle)
    ]
    lines = [
        "# Methods",
        "",
        "What `medseg methods` lists. `--method NAME` chooses one; the same name works in",
    ]
    lines += ["`medseg segment`, `medseg evaluate` and `medseg train`.", ""]
    lines += ["| task | method | kind | dimensions | weights | what it is |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {bundle.task} | [{method.name}]({bundle.task}/{method.name}.md){_default(method)} "
        f"| {method.kind} | {method.dimensions}D | {_weights(method)} | {method.summary} |"
        for bundle, method in found
    ]
    yield "methods/index.md", "\n".join([*lines, ""])
    for bundle, method in found:
        yield f"methods/{bundle.task}/{method.name}.md", _method_page(bundle, method)


def _method_page(bundle: Bundle, method: Method) -> str:
    overlay = bundle.config(f"methods/{method.name}.yaml")
    _, _, steps = describe_steps(bundle, method.name).partition("\n\n")
    rows = [re.split(r" {2,}", line, maxsplit=2) for line in steps.splitlines()]
    return "\n".join(
        [
            f'---\ntitle: "{bundle.task}: {method.name}"\n---\n# {method.name}',
            "",
            f"{method.summary[0].upper()}{method.summary[1:]}.",
            "",
            f"| task | [{bundle.task}](../../models/{bundle.task}.md) |",
            "|---|---|",
            f"| kind | {method.kind} |",
            f"| dimensions | {method.dimensions} |",
            f"| weights | {_weights(method)} |",
            f"| default of the task | {'yes' if method.is_default else 'no'} |",
            f"| algorithm family in DICOM SEG | {method.algorithm_family} |",
            "",
            "```sh",
            f"medseg segment {bundle.task} INPUT -o out --method {method.name}",
            "```",
            "",
            "## Steps",
            "",
            f"What an image goes through, as `medseg info {bundle.task} --method {method.name}` prints it.",
            "",
            "| step | function | what it does |",
            "|---|---|---|",
            *(f"| {_code(row[0])} | {_code(row[1])} | {row[2] if len(row) > 2 else ''} |" for row in rows),
            "",
            "## Configuration",
            "",
            f"`{overlay.relative_to(bundle.root.parents[1])}`, which is laid over `inference.yaml`:",
            "",
            "```yaml",
            overlay.read_text(encoding="utf-8").rstrip(),
            "```",
            "",
        ]
    )


def _code(name: str) -> str:
    """A dotted name that a narrow table may break after its dots and colons."""
    return "<code>" + re.sub("(::|[.])", r"\1<wbr>", name) + "</code>"


def _default(method: Method) -> str:
    return " (default)" if method.is_default else ""


def _weights(method: Method) -> str:
    if method.weights is None:
        return "none"
    return f"{method.weights.name}{'' if method.is_trained else ', not trained yet'}"


def _reference_pages() -> Iterator[tuple[str, str]]:
    """A page of what medseg exports, then one for each package and each module at the top."""
    tops = sorted(
        path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    )
    tops = [path for path in tops if path.name != "__init__.py"]
    yield "reference/index.md", _exports_page(tops)
    for path in tops:
        files = (
            [path]
            if path.suffix == ".py"
            else sorted(path.rglob("*.py"), key=lambda file: (file.parent, file.name))
        )
        blocks = [_block(file) for file in files if file.name != "__main__.py"]
        text = "\n".join([f"---\ntitle: {path.stem}\n---\n# medseg.{path.stem}\n", *blocks])
        yield f"reference/{path.stem}.md", text


def _block(file: Path) -> str:
    """A module's documentation; of a package that of what it defines itself, not of what it passes on."""
    has_heading = len(_dotted(file).split(".")) > 2  # else the page has it
    options: dict[str, Any] = {"show_root_heading": has_heading, "show_root_toc_entry": has_heading}
    if file.name == "__init__.py":
        tree = ast.parse(file.read_text(encoding="utf-8"))
        own = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        options["members"] = [name for name in own if not name.startswith("_")] or False
    lines = [f"    {name}: {json.dumps(value)}" for name, value in options.items()]
    return "\n".join([f"::: {_dotted(file)}", "    options:", *(f"  {line}" for line in lines), ""])


def _exports_page(tops: list[Path]) -> str:
    import medseg

    lines = ["# API", "", "What `import medseg` offers:", "", "| name | what it is |", "|---|---|"]
    for name in medseg.__all__:
        exported: Any = getattr(medseg, name)
        lines.append(f"| [`{name}`][{exported.__module__}.{name}] | {_first_line(exported.__doc__)} |")
    lines += ["", "The packages behind it:", "", "| package | what it holds |", "|---|---|"]
    for path in tops:
        source = path if path.suffix == ".py" else path / "__init__.py"
        about = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
        lines.append(f"| [`medseg.{path.stem}`]({path.stem}.md) | {_first_line(about)} |")
    return "\n".join([*lines, ""])


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]


def _dotted(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
