"""A node that stays up: images come in by DICOM or REST, are segmented, and the results go back."""
