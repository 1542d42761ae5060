"""Damage files of results at random, and count what `medseg verify` does not tell.

python tests/benchmarks/verify_mutations.py [COUNT]

Half of the damages are in measurements.json. Each is undone before the next.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from stamped_results import PICTURE_FORMATS, VOLUME_FORMATS, lesions, lungs

from medseg.verification.verify import verify

WORDS = (b"null", b"[]", b"1e999", b"NaN", b"{}", b'"', b"\\u0000")


def damaged(content, chance):
    """The content with flipped bits, cut off, with bytes put in or taken out, or with a word of JSON."""
    made, at = bytearray(content), chance.randrange(len(content))
    kind = chance.randrange(5)
    if kind == 0:
        for _ in range(chance.randint(1, 4)):
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del made[at:]
    elif kind == 2:
        made[at:at] = chance.randbytes(chance.randint(1, 20))
    elif kind == 3:
        del made[at : at + chance.randint(1, 200)]
    else:
        made[at : at + 8] = chance.choice(WORDS)
    return bytes(made)


def main(count):
    chance, started = random.Random(7), time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        folders = [
            lungs().save(Path(home, "lungs"), VOLUME_FORMATS),
            lesions().save(Path(home, "lesions"), PICTURE_FORMATS),
        ]
        states = Counter()
        while states.total() < count:
            folder = chance.choice(folders)
            is_record = states.total() % 2 == 0
            file = folder / "measurements.json" if is_record else chance.choice(sorted(folder.iterdir()))
            whole = file.read_bytes()
            changed = damaged(whole, chance)
            if changed != whole:
                file.write_bytes(changed)
                states[verify(folder)[0].state] += 1
                file.write_bytes(whole)
        after = [each.state for each in verify(home)]
    print(f"{dict(states)} in {time.perf_counter() - started:.0f} s; undamaged again: {after}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
