"""A sender of DICOM objects over real sockets, polite or not."""

import socket
import time
from contextlib import contextmanager

from pydicom.dataset import Dataset, FileMetaDataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from medseg.archive.checkpoint import keep_apart

SYNTAX = "1.2.840.10008.1.2.1"


@contextmanager
def association(port, title="ORTHANC", called="MEDSEG", classes=(CTImageStorage,), syntaxes=(SYNTAX,)):
    """An established association; it is released with the block."""
    ae = AE(ae_title=title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    contexts = [build_context(Verification), *(build_context(found, list(syntaxes)) for found in classes)]
    made = ae.associate("127.0.0.1", port, contexts=contexts, ae_title=called)
    assert made.is_established, "the association was rejected or aborted"
    keep_apart(made)  # on a busy machine 2 of 10,000 answers were lost without it
    try:
        yield made
    finally:
        if made.is_established:
            made.release()


def echo(port, **settings):
    """The status of a C-ECHO."""
    with association(port, **settings) as made:
        return made.send_c_echo().Status


def send(port, data_sets, **settings):
    """The status of each data set, up to the first one without an answer: None."""
    found = []
    with association(port, **settings) as made:
        for data_set in data_sets:
            status = made.send_c_store(data_set)
            found.append(status.Status if status else None)
            if not status:
                break
    return found


def recorded(port, data_sets):
    """The PDUs, as bytes, that a polite sender sends: request, data, release."""
    found = []
    ae = AE(ae_title="ORTHANC")
    contexts = [build_context(CTImageStorage, SYNTAX), build_context(Verification)]
    handlers = [(evt.EVT_DATA_SENT, lambda event: found.append(event.data))]
    made = ae.associate("127.0.0.1", port, contexts=contexts, ae_title="MEDSEG", evt_handlers=handlers)
    keep_apart(made)
    for data_set in data_sets:
        made.send_c_store(data_set)
    made.release()
    return found


def is_request(part):
    return part[:2] == b"\1\0" and len(part) > 200


def talk(port, parts, seconds=10, pause_s=0.0):
    """Send bytes as they are; what came back until the other side closed, None if it did not in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
                if is_request(part):  # data before the answer would end the association
                    answer += connection.recv(65536)
            while data := connection.recv(65536):
                answer += data
        except TimeoutError:
            return None
        except OSError:  # closed while it was written to
            pass
        return answer


def slices(count=3, series="1", pixels=0, study="1.2.3", **more):
    """Tiny CT images of one series; `pixels` is their value, `more` further attributes."""
    return [_slice(f"{study}.{series}", number, pixels, study, more) for number in range(1, count + 1)]


def _slice(series, number, pixels, study, more):
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = SYNTAX
    found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, f"{series}.{number}"
    found.StudyInstanceUID, found.SeriesInstanceUID = study, series
    found.Modality, found.InstanceNumber = "CT", number
    found.Rows = found.Columns = 8
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 16, 15, 0
    found.PixelData = bytes([pixels]) * 128
    for name, value in more.items():
        setattr(found, name, value)
    return found
