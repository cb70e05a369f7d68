"""Makes the histories of this task as streams for `git fast-import`, and prints the targets.

Run it in this folder; it writes the same bytes every time. It needs git.
"""

import pathlib
import random
import subprocess
import tempfile

PEOPLE = ["Ada Berg <ada@example.org>", "Ben Cole <ben@example.org>", "Cleo Dunn <cleo@example.org>"]
CHORES = ["Tidy the readme", "Fix a typo", "Say more about the options", "Shorten a sentence", "Note an open question"]

FETCH = '''"""Fetches the daily tables."""

RETRIES = {retries}
TIMEOUT_SECONDS = {timeout}
PAUSE_SECONDS = {pause}


def attempts():
    return RETRIES + 1
'''

STATS = '''"""Small statistics over a list of numbers."""


def mean(numbers):
    return sum(numbers) / len(numbers)


def median(numbers):
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2 == 1:
        return ordered[middle]
    {median}


def spread(numbers):
    return max(numbers) - min(numbers)
'''
GOOD_MEDIAN = "return (ordered[middle - 1] + ordered[middle]) / 2"
GOOD_MEDIAN_2 = "low, high = ordered[middle - 1:middle + 1]\n    return (low + high) / 2"
BAD_MEDIAN = "low, high = ordered[middle:middle + 2] if len(ordered) > 2 else ordered\n    return (low + high) / 2"
BAD_MEDIAN_2 = "low = middle if len(ordered) > 2 else 0\n    return sum(ordered[low:low + 2]) / 2"
SELFTEST = '''"""Checks stats.py; exits with 0 if it is right."""

import sys

import stats

sys.exit(0 if stats.median([4, 1, 3, 2]) == 2.5 and stats.median([5, 1, 3]) == 3 else 1)
'''


class History:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.parts = []
        self.at = 1700000000
        self.count = 0

    def commit(self, subject, files, remove=()):
        self.count += 1
        self.at += self.rng.randrange(3000, 90000)
        who = self.rng.choice(PEOPLE)
        lines = [f"commit refs/heads/main\nmark :{self.count}\nauthor {who} {self.at} +0000\n"]
        lines.append(f"committer {who} {self.at} +0000\n{data(subject)}")
        if self.count > 1:
            lines.append(f"from :{self.count - 1}\n")
        lines += [f"D {path}\n" for path in remove]
        lines += [f"M 100644 inline {path}\n{data(text)}" for path, text in files.items()]
        self.parts.append("".join(lines) + "\n")
        return self.count

    def chores(self, count):
        for _ in range(count):
            notes = "".join(f"note {self.rng.randrange(1000)}\n" for _ in range(3))
            subject = self.rng.choice(CHORES)
            self.commit(subject, {"NOTES.md": notes})

    def write(self, name):
        pathlib.Path("files", f"{name}.stream").write_text("".join(self.parts))

    def hash_of(self, number):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
            stream = "".join(self.parts).encode()
            subprocess.run(["git", "-C", folder, "fast-import", "--quiet"], input=stream, check=True)
            out = subprocess.run(["git", "-C", folder, "rev-list", "--reverse", "main"], capture_output=True, check=True)
        return out.stdout.decode().split()[number - 1]


def data(text):
    text = text if text.endswith("\n") else text + "\n"
    return f"data {len(text.encode())}\n{text}\n"


def sample_a():
    """The retries go 3, 5, 3, 30 (the culprit), then the file is renamed and the other numbers change."""
    history = History(11)
    history.commit("Start", {"fetch.py": FETCH.format(retries=3, timeout=20, pause=2), "NOTES.md": "notes\n"})
    history.chores(6)
    history.commit("Try harder", {"fetch.py": FETCH.format(retries=5, timeout=20, pause=2)})
    history.chores(4)
    history.commit("Go back to fewer tries", {"fetch.py": FETCH.format(retries=3, timeout=20, pause=2)})
    history.chores(7)
    history.commit("Wait longer for slow servers", {"fetch.py": FETCH.format(retries=3, timeout=30, pause=2)})
    history.chores(5)
    culprit = history.commit("Pause a little less", {"fetch.py": FETCH.format(retries=30, timeout=30, pause=1)})
    history.chores(6)
    history.commit(
        "Rename the module", {"daily.py": FETCH.format(retries=30, timeout=30, pause=1)}, remove=["fetch.py"],
    )
    history.chores(8)
    history.commit("Pause as before", {"daily.py": FETCH.format(retries=30, timeout=30, pause=2)})
    history.chores(3)
    history.write("a")
    return history.hash_of(culprit)


def sample_b():
    """The median breaks under a harmless subject; a later rewrite of the same lines keeps it broken."""
    history = History(12)
    history.commit("Start", {"stats.py": STATS.format(median=GOOD_MEDIAN), "NOTES.md": "notes\n"})
    history.chores(9)
    history.commit("Write the median in two steps", {"stats.py": STATS.format(median=GOOD_MEDIAN_2)})
    history.chores(11)
    culprit = history.commit(
        "Say more about the options", {"stats.py": STATS.format(median=BAD_MEDIAN), "NOTES.md": "options\n"},
    )
    history.chores(10)
    history.commit("Simplify the median", {"stats.py": STATS.format(median=BAD_MEDIAN_2)})
    history.chores(12)
    history.write("b")
    pathlib.Path("files", "selftest.py").write_text(SELFTEST)
    return history.hash_of(culprit)


print("a", sample_a())
print("b", sample_b())
