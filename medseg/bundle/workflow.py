"""Run a bundle's configurations the way `python -m monai.bundle run` does."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from medseg.bundle.config import check_key, is_monai_command, monai_overrides, parse, running
from medseg.bundle.files import Bundle, open_bundle
from medseg.errors import BundleError, MedsegError, UsageError, file_error_text

Kind = TypeVar("Kind", bound=BaseException)


def run_workflow(bundle: Bundle, *files: str, overrides: Mapping[str, Any]) -> None:
    """Check the overrides, then run configuration files the way `python -m monai.bundle run` does.

    Raises:
        UsageError: an override has an unknown key; see check_key.
        MedsegError: a step of the bundle failed.
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

    A bundle calls this in its `initialize`; under any other program it does nothing. It exits instead of
    raising a MedsegError, because MONAI would bury the message under its own. Afterwards an uncaught
    MedsegError is printed as its message alone.

    Raises:
        SystemExit: an option is neither a key of the configuration nor one of MONAI's own options.
    """
    parser = parse(open_bundle(str(bundle_root)), *files)
    for key in monai_overrides():
        try:
            check_key(parser, key)
        except UsageError as error:
            raise SystemExit(f"medseg: {error}") from error
    if is_monai_command():
        sys.excepthook = _print_error


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the message of the first MedsegError or OSError in an error's chain, else the traceback."""
    if found := _first(MedsegError, error):
        sys.stderr.write(f"medseg: {found}\n")
    elif failed := _first(OSError, error):
        sys.stderr.write(f"medseg: {file_error_text(failed)}\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _first(kind: type[Kind], error: BaseException | None) -> Kind | None:
    """The first error of a kind in a chain of causes."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def typed_errors() -> Iterator[None]:
    """Re-raise the MedsegError that MONAI wraps in RuntimeErrors."""
    try:
        yield
    except MedsegError:
        raise
    except Exception as error:
        if found := _first(MedsegError, error):
            raise found from error
        raise


@contextmanager
def built_from(bundle: Bundle) -> Iterator[None]:
    """Turn what a faulty configuration raises while it is built or used into a BundleError."""
    try:
        with typed_errors():
            yield
    except (MedsegError, OSError, MemoryError):  # the machine's faults are none of the configuration's
        raise
    except Exception as error:
        while error.__cause__ is not None:  # MONAI wraps what a component raises
            error = error.__cause__  # type: ignore[assignment]
        raise BundleError(
            f"a configuration of {bundle.task} whose parts can be built and used",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            advice=f"Correct the files in {bundle.root / 'configs'}, or the keys that were set.",
        ) from error
