"""Patient and study of the source images, for the files that are filed beside them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from medseg.io.dicom.text import in_utf_8

# Attributes of type 2: the standard requires them, and they may be empty. highdicom refuses invalid values.
TYPE_2 = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_LONGEST = 64  # characters of SeriesDescription (LO)


def nameless(header: Any) -> Any:
    """A copy of a header with empty TYPE_2 attributes, because highdicom prints invalid names and dates."""
    copy = in_utf_8(header)
    for name in TYPE_2:
        if name in copy:
            del copy[name]  # its element may be the header's own, whose value must stay
        setattr(copy, name, None)
    return copy


def copy_patient(made: Any, header: Any) -> None:
    """Give a new data set the patient and the study of a source image, as they stand there, in UTF-8."""
    patient = in_utf_8(header)
    for name in TYPE_2:
        if name in patient:
            made[name] = patient[name]


def date_series(made: Any, description: str) -> None:
    """Give a new data set's series a date, a time and a description, which is cut at 64 characters."""
    now = datetime.now()
    made.SeriesDate, made.SeriesTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.SeriesDescription = description[:_LONGEST]
