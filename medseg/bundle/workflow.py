"""Run a bundle's configurations as `python -m monai.bundle run` does."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from medseg.bundle.config import check_key, is_monai_command, monai_overrides, parse, running
from medseg.bundle.files import Bundle, open_bundle
from medseg.errors import MedsegError, UsageError, file_error_text

Kind = TypeVar("Kind", bound=BaseException)


def run_workflow(bundle: Bundle, *files: str, overrides: Mapping[str, Any]) -> None:
    """Run configuration files as `python -m monai.bundle run` does, after a check of the overrides.

    Raises:
        UsageError: see check_key.
        MedsegError: whatever the bundle's own steps raise.
    """
    from monai.bundle import ConfigWorkflow

    parse(bundle, *files, overrides=overrides)
    token = running.set(overrides)
    with typed_errors(), ExitStack() as stack:
        stack.callback(running.reset, token)
        workflow = ConfigWorkflow(
            config_file=[str(bundle.config(name)) for name in files],
            workflow_type="infer" if "inference.yaml" in files else "train",
            **{"bundle_root": str(bundle.root), **overrides},
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()


def check_arguments(bundle_root: str | Path, files: Sequence[str]) -> None:
    """Refuse misspelt options of `python -m monai.bundle run`, which MONAI would add and ignore.

    A bundle calls it from its `initialize`; under another program it does nothing. It ends that
    program rather than raise, because MONAI would bury the message under its own. From then on an error of
    medseg's ends the program with its message alone.

    Raises:
        SystemExit: an option that is neither a key of the configuration nor one of MONAI's own.
    """
    parser = parse(open_bundle(str(bundle_root)), *files)
    for key in monai_overrides():
        try:
            check_key(parser, key)
        except UsageError as error:
            raise SystemExit(f"medseg: {error}") from error
    if is_monai_command():
        sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the message of a MedsegError or a file's, wherever in an error's chain; else the traceback."""
    if found := _first(MedsegError, error):
        sys.stderr.write(f"medseg: {found}\n")
    elif failed := _first(OSError, error):
        sys.stderr.write(f"medseg: {file_error_text(failed)}\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _first(kind: type[Kind], error: BaseException | None) -> Kind | None:
    """The first error of a kind in the chain of causes."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def typed_errors() -> Iterator[None]:
    """Let a MedsegError out of the RuntimeErrors that MONAI wraps around it."""
    try:
        yield
    except MedsegError:
        raise
    except Exception as error:
        if found := _first(MedsegError, error):
            raise found from error
        raise
