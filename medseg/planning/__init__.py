"""A data set is measured, a network is proposed for it by rules, and both become a bundle.

The rules are those of nnU-Net (Isensee, F. et al. nnU-Net: a self-configuring method for deep learning-based
biomedical image segmentation. Nature Methods 18, 203-211, 2021, doi:10.1038/s41592-020-01008-z, with its
supplement), with a plain processor in the place of a graphics card.
"""
