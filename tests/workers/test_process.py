"""A worker whose parent has ended while it started."""

import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing
from medseg.workers import process

process._watch = lambda *_: None  # the thread that mostly sees it first
ours, theirs = multiprocessing.Pipe()
theirs.close()
process.serve(ours, 1)
"""


@pytest.mark.seconds
def test_it_ends_without_a_word():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (1, "")
