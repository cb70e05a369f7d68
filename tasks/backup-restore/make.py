"""Makes the backups of this task as text archives, and the checksums of the right one.

Run it in this folder; it writes the same bytes every time.
"""

import hashlib
import pathlib
import random

WORDS = "amber basin cedar delta ember fjord grove heath inlet jetty kelp ledge marsh north oasis plain quarry ridge".split()


def page(rng, count):
    return "".join(" ".join(rng.choice(WORDS) for _ in range(8)) + "\n" for _ in range(count))


def spoil(rng, text):
    """Exchanges two different neighbouring letters, so that size and line count stay the same."""
    while True:
        at = rng.randrange(len(text) - 1)
        left, right = text[at], text[at + 1]
        if left != right and left.isalpha() and right.isalpha():
            return text[:at] + right + left + text[at + 2:]


def sample(name, seed, names, backups, good, incomplete):
    rng = random.Random(seed)
    state = {file: page(rng, rng.randrange(4, 9)) for file in names}
    archive = ""
    for backup in backups:
        files = dict(state)
        if backup > good or backup < good and rng.random() < 0.4:
            victim = rng.choice(names)
            if backup == incomplete:
                del files[victim]
            else:
                files[victim] = spoil(rng, files[victim])
        sums = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in state.items()}
        files["SHA256SUMS"] = "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items()))
        for file in sorted(files):
            archive += f"== {backup}/{file}\n{files[file]}"
        # Every day the state changes a little; older backups are intact copies of an older state.
        changed = rng.choice(names)
        state[changed] = page(rng, rng.randrange(4, 9))
        if backup == good:
            right = {file: files[file] for file in names}
    pathlib.Path("files", f"{name}.tree").write_text(archive)
    lines = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {file}\n" for file, text in sorted(right.items()))
    pathlib.Path("score", f"{name}.sums").write_text(lines)


DAYS_A = ["2024-05-02", "2024-05-03", "2024-05-04", "2024-05-05", "2024-05-06"]
DAYS_B = ["2023-11-27", "2023-11-28", "2023-11-29", "2023-11-30", "2023-12-01", "2023-12-02"]
sample("a", 31, ["about.txt", "index.txt", "menu.txt", "prices.txt"], DAYS_A, "2024-05-04", "2024-05-06")
sample("b", 32, ["garden.txt", "house.txt", "people.txt", "plans.txt", "tools.txt"], DAYS_B, "2023-11-30", "2023-12-01")
