"""Segmentation by rules, without weights: the baseline that every network has to beat."""

from medseg.classical.lungs import ClassicalLungs

__all__ = ["ClassicalLungs"]
