"""Prints the score of a tour: the shortest length found for these stops, divided by the tour's length."""

import csv
import math
import os
import re
import stat

# Found by many restarts of a local search, see make.py.
BEST = {"a": 6289.878, "b": 5894.785}
STOPS = "/data/stops.csv"
TOUR = "/home/agent/tour.txt"


def read_tour():
    """Returns the numbers in the tour file, or None if there is no such plain file or it holds something else."""
    try:
        handle = os.open(TOUR, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        words = file.read(65536).split()
    if not all(re.fullmatch(rb"[0-9]{1,4}", word) for word in words):
        return None
    return [int(word) for word in words]


def score():
    with open(STOPS, newline="") as file:
        stops = [(int(row["x"]), int(row["y"])) for row in csv.DictReader(file)]
    tour = read_tour()
    if tour is None or sorted(tour) != list(range(len(stops))):
        return 0.0
    length = sum(math.dist(stops[tour[i - 1]], stops[tour[i]]) for i in range(len(tour)))
    return min(1.0, BEST[os.environ["HARNESS_SAMPLE"]] / length)


print(f"{score():.4f}")
