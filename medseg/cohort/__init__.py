"""Many cases by workers that stay, and a ledger that loses none of them.

`sources` finds the cases, `ledger` holds what is known of each, `runner` gives them to an engine: workers of
this machine (medseg.workers) or of a Ray cluster. A table and a page are made of the ledger at the end.
"""
