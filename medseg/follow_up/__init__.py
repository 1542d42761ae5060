"""One patient through time: what changed between images, and whether it is more than noise.

`times` reads the visits and refuses what can't be compared. `chest` (volumes) and `photographs` (pictures)
compare two visits: they register one with the other, match the objects, and return a Comparison.
`comparison` goes through all visits, `results` writes the record, the page and the maps.
"""
