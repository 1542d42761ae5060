"""A mask against its reference: overlap, surfaces, ranking, calibration, significance."""
