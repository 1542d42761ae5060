"""Panoptic quality by panoptica, for tests/metrics/test_panoptic.py. In an environment of its own:

    python -m venv venv && venv/bin/pip install panoptica==2.1.7
    PYTHONPATH=tests venv/bin/python tests/benchmarks/panoptica_figures.py > tests/metrics/panoptica.json

panoptica needs an older NumPy than medseg. The maps are those of tests/instance_maps.py; `sum` tells whether
another version of NumPy still makes the same ones.
"""

import json
from importlib.metadata import version

from instance_maps import SEEDS, instance_maps
from panoptica import (
    InputType,
    Metric,
    NaiveThresholdMatching,
    Panoptica_Evaluator,
    disable_citation_reminder,
)


def figures(evaluator, seed):
    prediction, reference = instance_maps(seed)
    result = evaluator.evaluate(prediction, reference, verbose=False)["ungrouped"]
    counts = {name: int(getattr(result, name)) for name in ("tp", "fp", "fn")}
    quality = {name: float(getattr(result, name)) for name in ("pq", "sq", "rq")}
    return {"seed": seed, "sum": int(prediction.sum()) + 7 * int(reference.sum()), **counts, **quality}


if __name__ == "__main__":
    disable_citation_reminder()
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.UNMATCHED_INSTANCE,
        instance_matcher=NaiveThresholdMatching(Metric.IOU, matching_threshold=0.5, strict_threshold=True),
        instance_metrics=[Metric.IOU],
        global_metrics=[],
    )
    versions = {name: version(name) for name in ("panoptica", "numpy")}
    print(json.dumps({**versions, "maps": [figures(evaluator, seed) for seed in SEEDS]}, indent=1))
