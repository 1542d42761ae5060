"""Lungs and airway of a chest CT by rules, without weights: the baseline of every network."""

from medseg.methods.chest.lungs import ClassicalLungs

__all__ = ["ClassicalLungs"]
