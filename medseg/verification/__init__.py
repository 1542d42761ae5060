"""Whether saved results are as they were written, and whether their files belong together.

Hashes in measurements.json and a stamp in each file tell it. Neither is a signature: whoever writes the files
and all hashes anew leaves no trace.
"""
