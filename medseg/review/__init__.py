"""Review: a page on which a person accepts, mends or rejects masks, and what becomes of the decisions.

`cases` finds the cases of a result folder, `order` says which one is opened first, `pieces` and `page` write
the offline page, whose scripts lie in assets/.
"""
