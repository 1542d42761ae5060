"""The code in the documentation runs or at least parses; its links, files and messages are real."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from doc_pages import ROOT, blocks, rows

HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
# Their code runs in test_guides.py; that of new-organ makes the bundle that its commands are about.
GUIDES = [*sorted((ROOT / "docs" / "guides").glob("*.md")), ROOT / "docs" / "how-to" / "new-organ.md"]
FOUND = {ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")}
PAGES = sorted({*FOUND, *ROOT.glob("bundles/*/docs/*.md")} - {*GUIDES})
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
TASK = "retinal_vessel"
CONFIGS = {
    "segment": ["inference.yaml"],  # and the method's
    "train": ["train.yaml"],
    "evaluate": ["train.yaml", "evaluate.yaml"],
}
SHELL_WORDS = {"&&", "||", "|", ";", "do", "done", "then", "&"}


def prose(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline_code(page):
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def commands(page, program):
    """The arguments of each call of a program in the page's shell blocks and inline code."""
    lines = [
        line
        for _, code in blocks(page, "sh", "bash")
        for line in code.replace("\\\n", " ").splitlines()
        if program in line
    ]
    lines += [code for code in inline_code(page) if code.startswith(f"{program} ") and "..." not in code]
    for line in lines:
        words = list(split(line))
        for start in starts(words, program.split()):
            end = next((n for n, word in enumerate(words) if n > start and word in SHELL_WORDS), None)
            yield words[start:end]


def split(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    return lexer


def starts(words, program):
    """Where the arguments of a program begin: it stands at the start, or after a word of the shell."""
    for n in range(len(words)):
        if words[n : n + len(program)] == program and (n == 0 or words[n - 1] in SHELL_WORDS):
            yield n + len(program)


def require_keys(keys, files, task=TASK):
    from medseg.bundle import check_key, open_bundle, parse

    parser = parse(open_bundle(task), *files)
    for key in keys:
        check_key(parser, key)


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


@pytest.mark.slow
def test_the_page_on_monai_gives_the_mask_of_medseg(tmp_path):
    found = [code for _, code in blocks(ROOT / "docs" / "how-to" / "monai.md", "python")]
    code = "\n".join(code for code in found if "copytree" not in code)
    code += """
import numpy as np
import medseg
expected = medseg.segment(workflow.dataset_dir, task="retinal_vessel", device="cpu").mask.array
assert expected.any() and np.array_equal(np.asarray(mask), expected)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_make_targets():
    makefile = (ROOT / "Makefile").read_text()
    found = {target for page in PAGES for target in re.findall(r"(?:^|`)make (\w+)", page.read_text(), re.M)}
    assert {"demo", "test", "check", "docs", "pictures", "ui"} <= found
    for target in found:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("page", [*PAGES, *GUIDES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text())


def anchors(text):
    """What a link can point to: headings, and words with an id."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@EACH_PAGE
def test_files(page):
    """What looks like a path of the repository is one."""
    text = page.read_text()
    for path in re.findall(r"(?<![\w/.-])((?:bundles|data_manifests|docs|medseg|tests)/[\w/.*-]*\w)", text):
        assert list(ROOT.glob(path)), path


def test_every_how_to_page_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert HOW_TO
    for page in HOW_TO:
        assert f"](docs/how-to/{page.name})" in readme


@pytest.mark.seconds
@EACH_PAGE
def test_commands_parse(page, capsys):
    """As medseg parses them, with keys that the bundle's configuration has, and methods that it has."""
    from medseg.bundle import inference_files, open_bundle
    from medseg.cli import parser
    from medseg.cli.options import overrides_of

    for words in commands(page, "medseg"):
        if len(words) == 1:  # named, not called
            assert words[0] in parser().format_help()
            continue
        words = [TASK if word == "TASK" else word for word in words]
        try:
            options = parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"medseg {shlex.join(words)}: {capsys.readouterr().err}")
        if words[0] in CONFIGS:
            method = inference_files(open_bundle(options.task), options.method)  # which exists
            files = method if words[0] == "segment" else CONFIGS[words[0]]
            require_keys(overrides_of(options.set), files, options.task)


@EACH_PAGE
def test_set_keys_in_prose(page):
    """A --set KEY=VALUE that stands alone is of train.yaml, or of inference.yaml and evaluate.yaml too."""
    keys = [code.split("=")[0].split()[1] for code in inline_code(page) if code.startswith("--set ")]
    for key in set(keys) - {"KEY"}:
        require_keys([key], CONFIGS["train"])


@EACH_PAGE
def test_commands_of_monai_parse(page):
    """The configuration files exist and have the keys that are set."""
    from medseg.bundle.config import _MONAI_OPTIONS

    calls = [*commands(page, "python -m monai.bundle"), *of_torchrun(page)]
    for action, *words in (call for call in calls if len(call) > 1):  # else named, not called
        options = dict(zip(words[::2], words[1::2], strict=True))
        assert all(name.startswith("--") for name in options), words
        files = yaml.safe_load(options["--config_file"])
        files = [files] if isinstance(files, str) else files
        names = [name.rpartition("/")[2] for name in files]
        for name in files:
            assert list(ROOT.glob(name.replace("<configs>", "bundles/*/configs"))), name
        if action == "run":
            own = {name.removeprefix("--") for name in options} - {*_MONAI_OPTIONS}
            named = files[0].rpartition("/configs/")[0].rpartition("/")[2]
            task = named if (ROOT / "bundles" / named / "configs").is_dir() else TASK
            require_keys(own, names, task)


def of_torchrun(page):
    for words in commands(page, "torchrun"):
        begin = words.index("monai.bundle")
        assert words[begin - 1] == "-m"
        assert all(word.startswith("--") for word in words[: begin - 1])
        yield words[begin + 1 :]


@EACH_PAGE
def test_python_parses(page):
    for _, code in blocks(page, "python"):
        ast.parse(code)


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_messages(page):
    """What a how-to page quotes from an error or a warning stands in medseg's source."""
    source = "".join(file.read_text() for file in (ROOT / "medseg").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    _, _, troubles = page.read_text().partition("## What can go wrong")
    quoted = re.findall(r"^\| `([^`]+)`", troubles, flags=re.MULTILINE)
    assert quoted
    for message in quoted:
        for part in re.split(r"\.\.\.|\bN\b|\brun [AB]\b|^expected ", message):
            assert part.strip(" :") in source, message


PACKAGES = sorted(file.parent.name for file in (ROOT / "medseg").glob("*/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_architecture_page_has_every_module(package):
    folder = ROOT / "medseg" / package
    files = {str(file.relative_to(folder)) for file in folder.rglob("*.py") if file.name[:2] != "__"}
    found = set(rows(ROOT / "docs" / "architecture.md", f"module of `{package}/`"))
    assert {name for name in found if name.endswith(".py")} == files


def test_pictures_are_small_and_shown():
    texts = "".join(page.read_text() for page in PAGES)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < 300_000, picture.name
        assert f"pictures/{picture.name}" in texts, picture.name


def test_exit_codes():
    from medseg.cli import exits

    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    text = " ".join((ROOT / "README.md").read_text().partition("Exit codes:")[2].split())
    assert {int(code) for code in re.findall(r"\b(\d) [a-z]", text.partition(". ")[0])} == codes


def test_pages_name_the_torch_that_was_tested():
    pinned = re.search(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)[1]
    texts = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
    named = {name: set(re.findall(r"torch==([\d.]+\d)", text)) for name, text in texts.items()}
    found = {name: each for name, each in named.items() if each}
    assert {"README.md", "docs/how-to/offline.md"} <= set(found)
    assert set().union(*found.values()) == {pinned}


def test_decisions_are_numbered():
    numbers = re.findall(r"^(\d+)\. \*\*", (ROOT / "docs" / "decisions.md").read_text(), flags=re.MULTILINE)
    assert numbers == [str(n + 1) for n in range(len(numbers))]
