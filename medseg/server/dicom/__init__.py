"""Images that come by DICOM: received, gathered into series, and admitted as jobs."""
