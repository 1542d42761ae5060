"""The guided tour: its pages' code runs, makes their pictures, and becomes a notebook.

python docs/tour_pages.py pictures              into docs/pictures
python docs/tour_pages.py notebook FILE.ipynb   the whole tour, for Jupyter
"""

from __future__ import annotations

import ast
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

DOCS = Path(__file__).parent
PICTURES = DOCS / "pictures"
SHOWN = r"!\[[^\]]*\]\(\.\./pictures/([\w.]+)\)(?:\{[^}]*\})?\n"
BLOCK = re.compile(rf"^```python\n(.*?)^```\n(?:\n{SHOWN})?", re.M | re.S)
PICTURE = re.compile(rf"^{SHOWN}\n?", re.M)
LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\((?!http)[^)]*\)")
JPEG_QUALITY = 78


def pages() -> list[Path]:
    """The pages in the order of the site's navigation."""
    navigation = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    (names,) = [entry["Tour"] for entry in navigation if "Tour" in entry]
    return [DOCS / (name if isinstance(name, str) else next(iter(name.values()))) for name in names]


def blocks(page: Path) -> list[tuple[str, str | None]]:
    """The code of each block of Python, and the name of the picture that stands after it."""
    return [(code, name or None) for code, name in BLOCK.findall(page.read_text(encoding="utf-8"))]


def run(page: Path) -> Iterator[tuple[str | None, Image.Image | None]]:
    """Run a page's blocks, one after the other, in one namespace and in the working directory.

    Yields for each block the name of its picture and the picture that it makes; None where there is none.
    """
    import matplotlib

    matplotlib.use("agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, (code, name) in enumerate(blocks(page), 1):
        value = _last_value(code, f"{page.name}, block {number}", namespace)
        yield name, value if isinstance(value, Image.Image) else _plotted()


def _last_value(code: str, title: str, namespace: dict[str, Any]) -> Any:
    """Run code; the value of its last expression, as a notebook shows it."""
    tree = ast.parse(code, title)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, title, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), title, "eval"), namespace) if last else None


def _plotted() -> Image.Image | None:
    """What matplotlib has drawn since the last call."""
    from matplotlib import pyplot

    if not pyplot.get_fignums():
        return None
    file = io.BytesIO()
    pyplot.savefig(file, dpi=90, bbox_inches="tight")
    pyplot.close("all")
    return Image.open(file).convert("RGB")


def make_pictures(folder: Path = PICTURES) -> None:
    """Write the picture of each block that makes one."""
    for page in pages():
        for name, picture in run(page):
            if (name is None) != (picture is None):
                raise SystemExit(f"expected a picture after each block that makes one; got {page}: {name}")
            if name and picture:
                picture.save(folder / name, quality=JPEG_QUALITY, optimize=True)


def notebook() -> str:
    """The tour as a notebook: pages one after the other, without outputs, as JSON."""
    import jupytext

    text = "\n".join(_for_notebook(page.read_text(encoding="utf-8")) for page in pages())
    made = jupytext.reads(text, fmt="md")
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return str(jupytext.writes(made, fmt="ipynb"))


def _for_notebook(text: str) -> str:
    """Without what a notebook can't use.

    The head of a page goes, and so do its pictures, which cells make. Commands of a shell are shown, but no
    cells: jupytext would run them. Links within the site become text.
    """
    text = re.sub(r"\A---\n.*?^---\n", "", text, flags=re.M | re.S)
    text = re.sub(r"^```sh$", "```text", text, flags=re.M)
    return LINK.sub(r"\1", PICTURE.sub("", text))


def main(words: list[str]) -> None:
    if words == ["pictures"]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            make_pictures()
    elif len(words) == 2 and words[0] == "notebook":
        file = Path(words[1])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(notebook(), encoding="utf-8")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
