"""A copy of a bundle with small methods of its own, for comparisons."""

import shutil

from medseg.bundle import shipped_root

FIELD_PX = 128  # of the phantoms' field of view, so that a photograph takes a moment

# Vessels are dark in the green channel of levelled photographs.
GREEN = "$lambda x: -x[:, 1:2] - {}"
HUNGRY = "$lambda x: x.new_ones(100_000_000).sum() * 0 - x[:, 1:2] - 1"  # takes 400 MB
REFUSING = "$lambda x: x.undefined"
SLEEPING = "$lambda x: __import__('time').sleep(600)"
DYING = "$lambda x: __import__('os')._exit(3)"

METHOD = """\
declaration:
  summary: the green channel
  kind: rule
  dimensions: 2
  weights: {weights}
  algorithm_family: morphological_operations
method: {name}
weights: null
weights_sha256: null
network_def: "{network}"
network: "@network_def"
inferer: {{_target_: SimpleInferer}}
"""


def copy_bundle(folder, task="retinal_vessel", **methods):
    """bundles/<task> in a folder, with further methods: name to network, as an expression.

    A name that begins with "learned" is declared with weights that are missing.
    """
    root = folder / "bundles" / task
    shutil.copytree(shipped_root() / task / "configs", root / "configs")
    for name, network in methods.items():
        weights = "models/missing.pt" if name.startswith("learned") else "null"
        text = METHOD.format(name=name, network=network, weights=weights)
        (root / "configs" / "methods" / f"{name}.yaml").write_text(text)
    return root
