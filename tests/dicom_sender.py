"""A sender of DICOM objects over real sockets, polite or not."""

from contextlib import contextmanager

from pynetdicom import AE, build_context
from pynetdicom.sop_class import CTImageStorage, Verification

SYNTAX = "1.2.840.10008.1.2.1"


@contextmanager
def association(port, title="ORTHANC", called="MEDSEG", classes=(CTImageStorage,), syntaxes=(SYNTAX,)):
    """An established association; it is released with the block."""
    ae = AE(ae_title=title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    contexts = [build_context(Verification), *(build_context(found, list(syntaxes)) for found in classes)]
    made = ae.associate("127.0.0.1", port, contexts=contexts, ae_title=called)
    assert made.is_established, "the association was rejected or aborted"
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
    """The status of each data set; None where there was no answer."""
    found = []
    with association(port, **settings) as made:
        for data_set in data_sets:
            status = made.send_c_store(data_set) if made.is_established else {}
            found.append(status.Status if status else None)
    return found
