"""Makes the tree archives and word lists of this task. Run it in this folder; it writes the same bytes every time."""

import pathlib
import random

ROOMS = ["attic", "cellar", "garden", "kitchen", "library", "pantry", "study", "workshop"]
PARTS = ["am", "bel", "cor", "dun", "el", "fen", "gar", "hol", "is", "jor", "kel", "lum", "mor", "nar", "os", "pel"]


def words(rng, count):
    found = set()
    while len(found) < count:
        found.add("".join(rng.choice(PARTS) for _ in range(rng.randrange(2, 4))))
    return sorted(found)


def sample(name, seed):
    rng = random.Random(seed)
    vocabulary = words(rng, 400)
    files = {}
    for room in ROOMS:
        lengths = rng.sample(range(4, 22), 6)
        for number, length in enumerate(lengths):
            lines = [rng.choice(ROOMS)]
            lines += [f"{rng.choice(vocabulary)} {rng.choice(vocabulary)} {rng.randrange(100, 300)}" for _ in range(length)]
            files[f"{room}/{rng.choice(vocabulary)}-{number}.txt"] = lines
    room = rng.choice(ROOMS)
    twins = rng.sample([path for path in sorted(files) if not path.startswith(room)], 2)
    # A near twin: the same first line and the same length as the pair, other content.
    near = rng.choice([path for path in sorted(files) if path not in twins and not path.startswith(room)])
    files[twins[0]][0] = room
    files[twins[1]] = list(files[twins[0]])
    files[near] = files[twins[0]][:-1] + ["el el 111"]
    assert len({tuple(lines) for lines in files.values()}) == len(files) - 1
    longest = max((path for path in files if path.startswith(room)), key=lambda path: len(files[path]))
    position = int(files[longest][-1].split()[2])
    listed = [rng.choice(vocabulary) for _ in range(1600)]
    assert len(set(listed)) >= 300
    archive = "".join(f"== {path}\n" + "".join(line + "\n" for line in files[path]) for path in sorted(files))
    pathlib.Path("files", f"{name}.tree").write_text(archive)
    pathlib.Path("files", f"{name}-words.txt").write_text("".join(word + "\n" for word in listed))
    return sorted(set(listed))[position - 1]


for name, seed in (("a", 41), ("b", 42)):
    print(name, sample(name, seed))
