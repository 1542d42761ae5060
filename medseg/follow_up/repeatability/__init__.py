"""How much a measure differs between two images of a patient in whom nothing has changed.

`scan`, `photograph` and `ultrasound` take one real image again, as another day's settings would show it;
`coefficients` makes limits of such pairs; `limits` reads the shipped ones. They are measured by
tests/benchmarks/repeatability.py.
"""
