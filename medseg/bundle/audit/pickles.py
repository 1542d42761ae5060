"""Pickles, disassembled: would torch.load(weights_only=True) accept every object that they name?

A pickle is a program. Its opcodes are read one by one and never run. Those that torch's restricted reader
does not know are refused, and so is every global besides tensors, storages and their kin.
"""

from __future__ import annotations

import io
import pickletools
import re
from dataclasses import dataclass
from typing import IO

from medseg.bundle.audit.findings import printable

# Pickles stand at the start of a file; raw numbers may follow.
MOST_BYTES = 64 * 2**20
# A file of torch.save before its zip format: this number, the protocol, the system, the object, the keys.
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5
_KNOWN_OPCODES = """
    APPEND APPENDS BINFLOAT BINGET BININT BININT1 BININT2 BINPERSID BINPUT BINUNICODE BUILD EMPTY_DICT
    EMPTY_LIST EMPTY_SET EMPTY_TUPLE GLOBAL LONG1 LONG_BINGET LONG_BINPUT MARK NEWFALSE NEWOBJ NEWTRUE
    NONE PROTO REDUCE SETITEM SETITEMS SHORT_BINSTRING STOP TUPLE TUPLE1 TUPLE2 TUPLE3
"""
_OPCODES = frozenset(_KNOWN_OPCODES.split())
# torch._weights_only_unpickler of torch 2.13, without importing torch.
_GLOBALS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(bytearray|set|complex)"
    r"|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|torch\.(Size|Tensor|device)"
    r"|torch\.(bool|b?float\d*|double|half|long|short|u?int\d+|complex\d+|chalf|cfloat|cdouble|bfloat16"
    r"|float\w+|q(u?int)\w+|per_\w+)"
    r"|torch(\.cuda)?\.[A-Z][A-Za-z0-9]*Storage|torch\.storage\.(Typed|Untyped)Storage"
    r"|torch(\.cuda|\.sparse|\.cuda\.sparse)?\.[A-Z][a-z0-9A-Z]*Tensor"
    r"|torch\._utils\._rebuild_(parameter|parameter_with_state|qtensor|tensor|tensor_v2|tensor_v3|sparse_tensor"
    r"|meta_tensor_no_storage|nested_tensor|wrapper_subclass|device_tensor_from_numpy"
    r"|device_tensor_from_cpu_tensor|sparse_csr_tensor)"
    r"|torch\._tensor\._rebuild_from_type_v2"
)


@dataclass(frozen=True)
class PickleFault:
    """What is wrong, where, and whether it would do something when it is loaded, or only fail."""

    reason: str
    acts: bool = True


def pickle_faults(stream: IO[bytes], also: str = "") -> list[PickleFault]:
    """What is wrong in a file of one pickle, or in one of torch's older format; empty if nothing is.

    The place is told in bytes from the start. `also` is a pattern of further globals that are allowed.
    """
    found: list[PickleFault] = []
    content = stream.read(MOST_BYTES)
    start, number, count = 0, 0, 1
    while number < count and start < len(content):
        end, faults, is_magic = _one(content, start, also)
        found += faults
        if end is None:
            return found
        if number == 0 and is_magic:
            count = _LEGACY_PICKLES
        start, number = end, number + 1
    return found


def _one(content: bytes, start: int, also: str) -> tuple[int | None, list[PickleFault], bool]:
    """The end of the pickle that starts there (None if broken), its faults, whether it is torch's number."""
    found: list[PickleFault] = []
    texts, is_magic = ["", ""], False
    stream = io.BytesIO(content)
    stream.seek(start)
    try:
        for opcode, argument, position in pickletools.genops(stream):
            if opcode.name == "LONG1" and argument == TORCH_MAGIC:
                is_magic = True
            if isinstance(argument, str):
                texts = [texts[1], argument]
            if fault := _fault(opcode.name, argument, texts, also):
                found.append(PickleFault(f"{fault}, at byte {position or start}"))
    except (ValueError, IndexError, OverflowError, UnicodeDecodeError, NotImplementedError) as error:
        damaged = PickleFault(f"no complete pickle ({printable(error, 80)}), from byte {start}", acts=False)
        return None, [*found, damaged], is_magic
    return stream.tell(), found, is_magic


def _fault(opcode: str, argument: object, texts: list[str], also: str) -> str:
    if opcode in ("GLOBAL", "INST"):
        name = str(argument).replace(" ", ".")
        is_known = _GLOBALS.fullmatch(name) or re.fullmatch(also, name)
        if opcode == "INST" or not is_known:
            return f"it calls or loads {printable(name, 80)}, which weights do not need"
        return ""
    if opcode == "STACK_GLOBAL":
        name = ".".join(texts)
        return f"it calls or loads {printable(name, 80)}, in a way that weights do not"
    if opcode not in _OPCODES:
        return f"the opcode {opcode}, which torch.load(weights_only=True) refuses"
    return ""
