"""The code in the documentation runs, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("bundles/*/docs/*.md")])


def blocks(page):
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_tutorial(tmp_path):
    """Python blocks share one session; bash blocks run where they stand."""
    script = ["import subprocess"]
    for language, code in blocks(ROOT / "docs" / "tutorial.md"):
        if language == "python":
            script.append(code)
        elif language == "bash":
            script.append(f"subprocess.run(['bash', '-euo', 'pipefail', '-c', {code!r}], check=True)")
    assert len(script) > 10
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "scores" / "scores.csv").is_file()
    assert (tmp_path / "out_mine" / "photo" / "report.html").is_file()


def test_readme_names_real_things():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"^make (\w+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), target
    for config in re.findall(r"bundles/\S+?\.yaml", text):
        assert (ROOT / config).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    from medseg.cli import _parser

    known = _parser().format_help()
    for command in re.findall(r"^medseg (\S+)", page.read_text(), flags=re.MULTILINE):
        assert command in known
