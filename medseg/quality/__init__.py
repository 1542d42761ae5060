"""Checks of an input (gates and warnings), and of whether a result is plausible."""
