"""The stamp of a result in a DICOM file: an item of the Contributing Equipment Sequence (PS3.3, C.12.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from medseg import __version__
from medseg.stamp import Stamp, read_stamp_text

MAKER = "medseg"
_LONGEST_NAME = 64  # characters of a long string (LO)


def stamp_dataset(dataset: Any, stamp: Stamp | None) -> None:
    """Write a stamp into a data set, in the place of an earlier one; without a stamp nothing changes."""
    if stamp is not None:
        dataset.ContributingEquipmentSequence = contributing_equipment(stamp)


def contributing_equipment(stamp: Stamp) -> list[Any]:
    """The items that tell what made a file, for its ContributingEquipmentSequence.

    The sequence may stand in each kind of DICOM file. The stamp is its ContributionDescription.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    versions = {"medseg": __version__, **stamp.versions}
    return [
        hd.ContributingEquipment(
            MAKER,
            codes.DCM.ProcessingEquipment,
            manufacturer_model_name=" ".join(filter(None, [MAKER, stamp.task, stamp.method]))[:_LONGEST_NAME],
            software_versions=[f"{name} {version}"[:_LONGEST_NAME] for name, version in versions.items()],
            contribution_datetime=datetime.fromisoformat(stamp.written).strftime("%Y%m%d%H%M%S%z"),
            contribution_description=stamp.text(),
        )
    ]


def stamp_in(dataset: Any) -> Stamp | None:
    """The stamp in a data set; None if it has none."""
    for item in dataset.get("ContributingEquipmentSequence") or []:
        stamp = read_stamp_text(item.get("ContributionDescription"))
        if stamp is not None:
            return stamp
    return None
