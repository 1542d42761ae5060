"""Bundles: find one by its task, read its metadata and methods, parse and run it, load its weights."""

from medseg.bundle.config import (
    changed_configuration,
    check_key,
    configuration,
    given_path,
    inference_keys,
    inference_overrides,
    is_monai_command,
    parse,
    require_data,
    trained_values,
)
from medseg.bundle.files import Bundle, configs_sha256, find, open_bundle, shipped_root, tasks
from medseg.bundle.lineage import Lineage, lineage_of, lineage_of_items, write_lineage
from medseg.bundle.methods import (
    Method,
    changed_settings,
    inference_files,
    method_names,
    read_method,
    require_trained,
    training_files,
    weights_overrides,
)
from medseg.bundle.steps import describe_steps
from medseg.bundle.weights import load_network, load_weights, sha256, weights_files
from medseg.bundle.workflow import built_from, check_arguments, run_workflow, typed_errors

__all__ = [
    "Bundle",
    "Lineage",
    "Method",
    "built_from",
    "changed_configuration",
    "changed_settings",
    "check_arguments",
    "check_key",
    "configs_sha256",
    "configuration",
    "describe_steps",
    "find",
    "given_path",
    "inference_files",
    "inference_keys",
    "inference_overrides",
    "is_monai_command",
    "lineage_of",
    "lineage_of_items",
    "load_network",
    "load_weights",
    "method_names",
    "open_bundle",
    "parse",
    "read_method",
    "require_data",
    "require_trained",
    "run_workflow",
    "sha256",
    "shipped_root",
    "tasks",
    "trained_values",
    "training_files",
    "typed_errors",
    "weights_files",
    "weights_overrides",
    "write_lineage",
]
