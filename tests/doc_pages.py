"""What stands on a page of the documentation: its blocks of code and its tables."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(page, *languages):
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [(language, code) for language, code in found if not languages or language in languages]


def rows(page, heading):
    """A table's rows by the names in their first column."""
    table = page.read_text().partition(f"| {heading} |")[2].partition("\n\n")[0]
    cells = [line.strip("|").split(" | ") for line in table.splitlines()[2:]]
    return {name: line for line in cells for name in re.findall(r"`([^`]+)`", line[0])}
