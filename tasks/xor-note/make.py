"""Makes the scrambled notes. Run it in this folder; it writes the same bytes every time."""

import pathlib
import random
import subprocess
import tempfile

NOTE_A = """MEMO: to whoever looks after the greenhouse in August

Please water the tomatoes every evening and leave the south window open when it is hot. The spare key hangs behind
the blue pot. The word for the gate is flag{tomatoes-like-mornings} and should not be told to the goats.
"""
NOTE_B = """MEMO: results of the pie contest

First place went to the plum pie, second to the pear pie; the cheese pie was eaten before the jury came. The word for
the prize cupboard is flag{seven-plums-one-pie}. Keep it quiet until Sunday.
"""
NOTE_C1 = """MEMO: this first note holds no secret at all. It describes the weather, which was grey in the morning, dry at
noon and wet in the evening, and it is long enough to cover every byte of the other one, so that nothing is left over.
"""
NOTE_C2 = """MEMO: the word for the boat shed is flag{the-heron-knows-the-tide}; please return the oars before dinner.
"""


def scramble(script, key, note):
    done = subprocess.run(["python3", f"files/{script}", key], input=note.encode(), capture_output=True, check=True)
    return done.stdout


def main():
    files = pathlib.Path("files")
    (files / "a.hex").write_bytes(scramble("scramble-a.py", "quilt", NOTE_A))
    (files / "b.hex").write_bytes(scramble("scramble-b.py", "31337", NOTE_B))
    with tempfile.NamedTemporaryFile() as key:
        key.write(random.Random(77).randbytes(400))
        key.flush()
        (files / "c1.hex").write_bytes(scramble("scramble-c.py", key.name, NOTE_C1))
        (files / "c2.hex").write_bytes(scramble("scramble-c.py", key.name, NOTE_C2))
    (files / "c1.txt").write_text(NOTE_C1)


main()
