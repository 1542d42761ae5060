"""Bundles that would do harm: each has a payload that creates a canary file if any of it is executed."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import yaml

METADATA = {
    "version": "1.0.0",
    "task": "nothing",
    "description": "a bundle for tests",
    "authors": "nobody",
    "copyright": "none",
    "monai_version": "1.6.1",
    "pytorch_version": "2.13.0",
    "numpy_version": "2.4.6",
    "network_data_format": {"inputs": {}, "outputs": {}},
}
INFERENCE = """\
imports:
  - $from pathlib import Path
  - $import torch
bundle_root: .
a: {}
network_def:
  _target_: UNet
  spatial_dims: 2
  in_channels: 1
  out_channels: 2
  channels: [4, 8]
  strides: [2]
network: $@network_def.to('cpu')
"""
FULLWIDTH_IMPORT = "".join(chr(ord(letter) + 0xFEE0) for letter in "import")  # Python reads it as import
LOGGING = """\
[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=plain
[logger_root]
level=INFO
handlers=console
[handler_console]
class=StreamHandler
args=(sys.stdout,)
[formatter_plain]
format=%(message)s
"""


def write_bundle(folder, more="", files=None):
    """A sound bundle, with lines that are added to its inference.yaml, and further or other files."""
    files = {"configs/inference.yaml": INFERENCE + more, **(files or {})}
    files = {"configs/metadata.json": json.dumps(METADATA, indent=1), "LICENSE": "Apache-2.0\n", **files}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


class Payload:
    """An object whose pickle creates the canary."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (Path(self.canary),)


def pickled(canary, protocol=2):
    return pickle.dumps({"weights": Payload(canary)}, protocol=protocol)


def torch_archive(canary):
    """A file as torch.save writes it, with a pickle of ours."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/data.pkl", pickled(canary))
        archive.writestr("model/version", "3\n")
    return stream.getvalue()


def object_array(canary):
    stream = io.BytesIO()
    np.savez(stream, values=np.array([Payload(canary)], dtype=object))
    return stream.getvalue()


def slipping_zip(path):
    """An archive of a sound bundle, and of a file that would land beside it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("name/configs/metadata.json", json.dumps(METADATA))
        archive.writestr("name/configs/inference.yaml", INFERENCE)
        archive.writestr("name/LICENSE", "Apache-2.0\n")
        archive.writestr("name/../../canary", "written")
    return path


# Lines that are added to inference.yaml, in which CANARY is a path; name to the lines, the rule, what the
# named line holds, and the key that MONAI would have to parse for the payload to run (None where it fails).
READ_BY_NUMPY = (
    "read: {_target_: ImageDataset, image_files: [docs/notes.txt], image_only: true,\n"
    "  reader: {_target_: NumpyReader"
)
LINES = {
    # GHSA-873f-pvrv-4x83: an expression or a _target_ of a configuration is executed when it is parsed.
    "import": ("evil: $__import__('pathlib').Path('CANARY').touch()", "expression", "__import__", "evil"),
    "target": ("evil: {_target_: os.system, command: touch CANARY}", "target", "os.system", "evil"),
    "bare_target": ("evil: {_target_: run_cmd, cmd_list: [touch, CANARY]}", "target", "run_cmd", "evil"),
    "open": ("evil: $open('CANARY', 'w').close()", "expression", "open", "evil"),
    "path": ("evil: $Path('CANARY').touch()", "expression", "touch", "evil"),
    "exec": ("evil: $exec('open(\"CANARY\", \"w\").close()')", "expression", "exec", "evil"),
    "getattr": ("evil: $getattr(Path('CANARY'), 'to' + 'uch')()", "expression", "getattr", "evil"),
    "requires": (
        "evil: {_target_: Identity, _requires_: [\"$Path('CANARY').touch()\"]}",
        "expression", "touch", "evil",
    ),
    "argument": (
        "evil: {_target_: Identity, x: [{y: \"$Path('CANARY').touch()\"}]}", "expression", "touch", "evil",
    ),
    "target_by_reference": (
        "name: os.system\nevil: {_target_: '@name', command: touch CANARY}", "target", "'@name'", "evil",
    ),
    "target_by_macro": (
        "name: os.system\nevil: {_target_: '%name', command: touch CANARY}", "target", "'%name'", "evil",
    ),
    "target_by_expression": (
        "evil: {_target_: \"$'os.sys' + 'tem'\", command: touch CANARY}", "target", "'os.sys'", "evil",
    ),
    "target_by_override": (
        "evil: {command: touch CANARY}\nevil#_target_: os.system", "target", "evil#_target_", "evil",
    ),
    "reader_by_name": (
        "evil: {_target_: LoadImage, reader: os.system, command: touch CANARY}",
        "target", "os.system", "evil",
    ),
    "anchor": (
        "base: &base\n  command: touch CANARY\n  _target_: os.system\nevil: *base",
        "target", "_target_: os.system", "evil",
    ),
    "unicode": (
        f"evil: $__{FULLWIDTH_IMPORT}__('pathlib').Path('CANARY').touch()", "expression", "evil", "evil",
    ),
    "escaped": ('evil: "\\x24open(\'CANARY\', \'w\').close()"', "expression", "open", "evil"),
    "f_string": ("evil: '$f\"{open(@c, @w)}\"'\nc: CANARY\nw: w", "expression", "open", "evil"),
    "subclasses": (
        "evil: \"$[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]"
        ".__init__.__globals__['system']('touch CANARY')\"",
        "expression", "__subclasses__", "evil",
    ),
    "call_of_a_variable": (
        "evil: \"$[f('CANARY', 'w') for f in [@o]]\"\no: $open", "expression", "f(", "evil",
    ),
    "lambda": ("evil: \"$(lambda f: f('CANARY', 'w'))(open)\"", "expression", "f(", "evil"),
    "shadowed": ("evil: \"$[str('CANARY', 'w') for str in [open]]\"", "expression", "str(", "evil"),
    "import_elsewhere": ("evil: $from os import system", "import", "os import system", None),
    "key": (
        "\"a or open('CANARY', 'w') or [0][0\":\n  '1': 1\n  evil: \"$@#1]\"",
        "expression", "@#1", "a or open('CANARY', 'w') or [0][0::evil",
    ),
    "module_by_reference": (
        "evil: \"$@imports#0('CANARY')\"\nother: $@imports#1.hub", "reference", "@imports#0", None,
    ),
    "whole_configuration": ("evil: \"$@['imports'][0]('CANARY')\"", "reference", "$@[", None),
    "torch_load": (
        "evil: $torch.load('models/evil.pt', weights_only=False)", "expression", "torch.load", "evil",
    ),
    "numpy_load": (
        "evil: $np.load('models/evil.npz', allow_pickle=True)['values']", "expression", "np.load", "evil",
    ),
    "class_as_value": (
        "cls: {_target_: LoadImage, _mode_: callable, command: touch CANARY}\n"
        "evil: \"$sorted(['os.' + 'system'], key=@cls)\"",
        "mode", "_mode_: callable", "evil",
    ),
    "partial_of_a_class": (
        "cls: {_target_: LoadImaged, _mode_: callable}\n"
        "part: \"$partial(@cls, reader='os.' + 'system', command='touch CANARY')\"\n"
        "data: {_target_: Dataset, data: [a], transform: {_target_: Lambda, func: '@part'}}\n"
        "imports#2: $from functools import partial\nevil: $@data[0]",
        "expression", "partial(@cls", None,
    ),
    "library_behind_a_metric": (
        "evil: {_target_: ignite.metrics.epoch_metric.idist.native.subprocess.Popen, args: [touch, CANARY]}",
        "target", "subprocess.Popen", None,  # it works, but the tests' own Popen takes no args by name
    ),
    "builtins_of_a_module": (
        "names: {_target_: medseg.transforms.__builtins__}\n"
        "code: {_target_: Lambda, func: \"$@names['exec']\"}\n"
        "data: {_target_: Dataset, data: [\"open('CANARY', 'w')\"], transform: '@code'}\nevil: $@data[0]",
        "target", "__builtins__", "evil",
    ),
    "pickle_by_a_list": (
        f"{READ_BY_NUMPY}, allow_pickle: [false]}}}}\nevil: $@read[0]", "pickle", "allow_pickle", "evil",
    ),
    "pickle_by_a_text": (
        f"{READ_BY_NUMPY}, allow_pickle: 'false'}}}}\nevil: $@read[0]", "pickle", "allow_pickle", "evil",
    ),
    "debugger": ("evil: {_target_: Identity, _mode_: debug}", "mode", "debug", None),
    "yaml_tag": ("evil: !!python/object/apply:os.system ['touch CANARY']", "tag", "!!python", None),
}  # fmt: skip


def write_hostile(folder, name, canary):
    """The bundle with the lines of that name, and the files that they load."""
    lines = LINES[name][0].replace("CANARY", str(canary))
    weights = {"models/evil.pt": torch_archive(canary), "models/evil.npz": object_array(canary)}
    weights["docs/notes.txt"] = pickled(canary, protocol=0)
    used = {file: content for file, content in weights.items() if file in lines}
    return write_bundle(folder, f"{lines}\n", used)


def dump(content):
    return yaml.safe_dump(content, sort_keys=False)
