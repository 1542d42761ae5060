"""A SEG read back onto the grid of its source image, for round trips."""

import numpy as np
import pydicom

from medseg.io.dicom.planes import LPS_TO_RAS, functional_group, planes_of, slice_corners
from medseg.volume import Mask


def read_seg(path, labels, image):
    """The mask of a binary SEG; it leaves out empty frames, so that the image says how many slices there are.

    Args:
        path: the SEG.
        labels: value to name; each segment's label is one of the names.
        image: the source image, (C, i, j, k), or a mask on its grid.
    """
    seg = pydicom.dcmread(path)
    assert seg.SegmentationType == "BINARY"
    pixels = seg.pixel_array.reshape(int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns))
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    values = {name: value for value, name in labels.items()}
    array = np.zeros(image.array.shape[-3:], dtype=np.uint8)
    affine = np.asarray(image.affine)
    corners = slice_corners(LPS_TO_RAS @ affine, array.shape)
    frames = zip(planes_of(seg), seg.PerFrameFunctionalGroupsSequence, pixels, strict=True)
    for plane, frame, of_frame in frames:
        apart_mm = np.abs(corners - plane.corners_mm).max(axis=(1, 2))
        k = int(apart_mm.argmin())
        assert apart_mm[k] < np.linalg.norm(affine[:3, :3], axis=0).min() / 2
        group = functional_group(seg, frame, "SegmentIdentificationSequence")
        voxels = of_frame.T.astype(bool)
        assert not array[..., k][voxels].any()
        array[..., k][voxels] = values[names[int(group.ReferencedSegmentNumber)]]
    return Mask(array, labels, affine=image.affine, source=image.source, headers=image.headers)
