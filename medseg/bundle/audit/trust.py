"""Which bundles may run: those that pass an audit, and those that the user names.

What a user names is the identity of a bundle, not its name: anybody can call a folder kidney_ct. An identity
is `name@digest`, with the digest over the content of all its files, so that trust ends where a file is
changed; or the folder in which the user keeps it, for a bundle that is still in the making.
"""

from __future__ import annotations

import os
from pathlib import Path

from medseg.bundle.audit.findings import Finding
from medseg.bundle.audit.run import audit_files
from medseg.bundle.audit.source import digest, open_source
from medseg.errors import BundleError

TRUSTED = "MEDSEG_TRUSTED_BUNDLES"
# Folder to its state when it was audited, and what was found.
_audited: dict[Path, tuple[tuple[tuple[str, int, int], ...], tuple[Finding, ...]]] = {}


def require_trusted(root: Path) -> None:
    """Audit a bundle before its configuration is parsed, once for each state of its files in a process.

    Args:
        root: the bundle's folder.

    Raises:
        BundleError: it would run what it should not, and the user does not name it in MEDSEG_TRUSTED_BUNDLES.
    """
    root = root.resolve()
    state = _state(root)
    if root not in _audited or _audited[root][0] != state:
        _audited[root] = (state, audit_files(root))
    found = _audited[root][1]
    if found and not _is_named(root):
        raise _refusal(root, found)


def _state(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the files below a folder."""
    found = []
    waiting = [str(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    # of what a link leads to, if it leads anywhere
                    info = entry.stat(follow_symlinks=os.path.exists(entry.path))
                    found.append((entry.path, info.st_size, info.st_mtime_ns))
    return tuple(sorted(found))


def _is_named(root: Path) -> bool:
    named = [entry.strip() for entry in os.environ.get(TRUSTED, "").split(",") if entry.strip()]
    if any(Path(entry).is_absolute() and Path(entry).resolve() == root for entry in named):
        return True
    return any(entry.startswith(f"{root.name}@") for entry in named) and _identity(root) in named


def _identity(root: Path) -> str:
    with open_source(root) as source:
        return f"{root.name}@{digest(source.files)}"


def _refusal(root: Path, found: tuple[Finding, ...]) -> BundleError:
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    line = f" ({first.text})" if first.text else ""
    return BundleError(
        f"a bundle that runs nothing but what medseg and MONAI bring; {root.name} is not one",
        got=f"{first.place}: {first.reason}{line}{more}",
        advice=f"Read `medseg audit {root}`. If you trust whoever made it, name it in the environment: "
        f"{TRUSTED}={_identity(root)}",
    )
