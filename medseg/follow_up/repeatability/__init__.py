"""How much a measure differs between two images of a patient in whom nothing has changed.

`scan`, `photograph` and `ultrasound` take one real image again, as another day's settings would show it;
`coefficients` makes limits of such pairs. tests/benchmarks/repeatability.py measures the limits that
medseg/follow_up/repeatability.json ships.
"""
