"""Archives: fetch studies from them, and send results to them, by DICOMweb or DIMSE.

    archive = archive_at("dicom://ORTHANC@pacs.example:4242")
    study = fetch("1.2.3.4", archive, Path("studies"))
    send([Path("out/study/segmentation.dcm")], archive)

`address` says which archive is meant. `dicomweb` speaks QIDO-RS, WADO-RS and STOW-RS; `dimse`, `retrieval`
and `association` speak C-FIND, C-STORE, C-GET and C-MOVE. `received` keeps what comes until it is complete.
"""

from medseg.archive.address import Archive, archive_at, archives_from
from medseg.archive.fetch import Fetched, fetch
from medseg.archive.send import Sent, send

__all__ = ["Archive", "Fetched", "Sent", "archive_at", "archives_from", "fetch", "send"]
