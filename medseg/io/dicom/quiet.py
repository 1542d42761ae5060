"""pydicom without a word: what it logs and warns of quotes headers, which may name a patient."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Within the block, pydicom neither logs nor warns, because its messages may name a patient."""
    import pydicom

    logger = logging.getLogger("pydicom")
    before = pydicom.config.settings.reading_validation_mode, logger.propagate
    pydicom.config.settings.reading_validation_mode, logger.propagate = pydicom.config.IGNORE, False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            yield
    finally:
        pydicom.config.settings.reading_validation_mode, logger.propagate = before
