"""Similar images: descriptors of cases, an index of them, the nearest cases, and two images compared."""

from medseg.similarity.build import Built, build_index
from medseg.similarity.comparison import Similarity, compare_images
from medseg.similarity.search import Finder, Neighbour, SimilarCases, find_similar

__all__ = [
    "Built",
    "Finder",
    "Neighbour",
    "SimilarCases",
    "Similarity",
    "build_index",
    "compare_images",
    "find_similar",
]
