"""Segmentation by rules, without weights: the baseline that every network has to beat."""

from medseg.methods.chest.lungs import ClassicalLungs

__all__ = ["ClassicalLungs"]
