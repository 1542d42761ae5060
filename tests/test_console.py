"""Tables as text, and the bar of a program whose streams are terminals or files."""

import os
import pty
import re
import subprocess
import sys
from itertools import product

import pytest

from medseg.console import table, terminal_width

pytestmark = pytest.mark.seconds

PROGRAM = """
import logging, sys
from medseg import console
from medseg.cli.terminal import survive_any_encoding

console._REFRESH_S = 0
survive_any_encoding()
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
with console.progress_bar("segmenting", "cases", 3) as advance:
    for number in range(3):
        print("out/" + "long_" * 40 + str(number))
        logging.getLogger("medseg").info("logged %d", number)
        print(f"\\u773c [bold]warned[/bold] {number}", file=sys.stderr)
        advance()
print("rich" in sys.modules)
"""
RESULTS = ["out/" + "long_" * 40 + str(number) for number in range(3)]


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def run(tmp_path, terminals, **environment):
    """What the program says on standard output and on standard error, each a terminal or a file."""
    streams, ends, texts = {}, {}, {}
    for name in ("stdout", "stderr"):
        if name in terminals:
            ends[name], streams[name] = pty.openpty()
        else:
            streams[name] = os.open(tmp_path / name, os.O_CREAT | os.O_RDWR)
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=variables, **streams) as process:
        for stream in streams.values():
            os.close(stream)
        for name, end in ends.items():
            texts[name] = read(end)
        assert process.wait() == 0, texts
    for name in set(streams) - set(ends):
        texts[name] = (tmp_path / name).read_text()
    return texts["stdout"], texts["stderr"]


def read(end):
    found = b""
    try:
        while part := os.read(end, 4096):
            found += part
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(end)
    return found.decode()


@pytest.mark.parametrize(
    ("terminals", "encoding"),
    list(product([(), ("stderr",), ("stdout",), ("stdout", "stderr")], ["utf-8", "ascii"])),
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else value,
)
def test_results_are_whole_wherever_they_go(tmp_path, terminals, encoding):
    out, err = run(tmp_path, terminals, PYTHONIOENCODING=encoding)
    if "stdout" not in terminals:
        assert out.splitlines() == [*RESULTS, str("stderr" in terminals)]
    said = plain(out + err).replace("\r", "\n").splitlines()
    eye = "\u773c" if encoding == "utf-8" else "\\u773c"
    assert [line for line in said if line in RESULTS] == RESULTS
    for number in range(3):
        assert f"logged {number}" in said
        assert f"{eye} [bold]warned[/bold] {number}" in said
    assert ("3/3 cases" in plain(err)) is ("stderr" in terminals)
    if "stderr" not in terminals:
        assert "\x1b" not in out + err


def test_a_table_is_plain_and_whole():
    text = table([("dice", "0.5"), ("a" * 300, "[red]12")], ("score", "mean"), right=("mean",))
    assert text.splitlines() == [
        f"{'score':<300}  {'mean':>7}",
        f"{'dice':<300}  {'0.5':>7}",
        f"{'a' * 300}  [red]12",
    ]


def test_a_table_counts_what_a_terminal_shows():
    """An ideograph takes two places; a character that is no text, as in a file's name, stays as it is."""
    lines = table([("眼底", "x"), ("ab", "y"), ("M\udcfcller", "z")]).splitlines()
    assert lines == ["眼底    x", "ab      y", "M\udcfcller  z"]


def test_the_last_column_is_wrapped_to_a_width():
    lines = table([("lung_ct", "thresholds, region growing and morphology")], width=30).splitlines()
    assert lines == ["lung_ct  thresholds, region", "         growing and", "         morphology"]


def test_tables_without_rows_or_header():
    assert table([], ("score", "mean")) == "score  mean"
    assert table([]) == ""


def test_a_file_has_no_width(capsys):
    assert terminal_width() is None
