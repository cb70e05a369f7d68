# Writes the repaired module of this sample.
cd /home/agent/project || exit 1

case "$HARNESS_SAMPLE" in
a)
cat > intervals.py <<'END'
"""Sets of half-open integer intervals: a list of (start, end) pairs, start included, end excluded."""


def merge(intervals):
    """Returns the same set as a sorted list of pairs in which no two overlap or touch.

    Pairs with end <= start are empty and left out. (1, 3) and (3, 5) touch, so they become (1, 5).
    The argument is not changed.
    """
    merged = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def total(intervals):
    """Returns how many integers the set holds; an integer covered twice counts once."""
    return sum(end - start for start, end in merge(intervals))


def subtract(intervals, holes):
    """Returns the set `intervals` without the integers in `holes`, in the form that `merge` returns."""
    left = []
    for start, end in merge(intervals):
        for hole_start, hole_end in merge(holes):
            if hole_end <= start or hole_start >= end:
                continue
            left.append((start, hole_start))
            start = hole_end
        left.append((start, end))
    return merge(left)


def contains(intervals, number):
    """Returns whether the integer `number` is in the set."""
    return any(start <= number < end for start, end in intervals)
END
;;
b)
cat > durations.py <<'END'
"""Durations written as text, for example `1d2h30m5s`."""

import re

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
PATTERN = re.compile(r"\s*(?:([0-9]+)d\s*)?(?:([0-9]+)h\s*)?(?:([0-9]+)m\s*)?(?:([0-9]+)s\s*)?", re.IGNORECASE)


def parse(text):
    """Returns the number of seconds in a text such as `2h30m`.

    Each part is a whole number and one of the units d, h, m, s; the units must come in that order, each at most
    once, and at least one part is needed. Capital letters count as small ones; white space around the text and
    between parts is allowed. Raises ValueError for anything else.
    """
    match = PATTERN.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"not a duration: {text!r}")
    return sum(int(number or 0) * size for number, size in zip(match.groups(), UNITS.values()))


def write(seconds):
    """Returns the shortest text that `parse` reads back, largest unit first, parts that are 0 left out.

    0 is written `0s`. Raises ValueError for a negative number.
    """
    if seconds < 0:
        raise ValueError(f"negative: {seconds}")
    parts = []
    for unit, size in UNITS.items():
        count, seconds = divmod(seconds, size)
        if count > 0:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def add(*texts):
    """Returns the sum of several durations as text, in the form that `write` returns; without arguments `0s`."""
    return write(sum(parse(text) for text in texts))
END
;;
esac
python3 -m unittest -q >&2
echo done
