"""Durations written as text, for example `1d2h30m5s`."""

import re

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse(text):
    """Returns the number of seconds in a text such as `2h30m`.

    Each part is a whole number and one of the units d, h, m, s; the units must come in that order, each at most
    once, and at least one part is needed. Capital letters count as small ones; white space around the text and
    between parts is allowed. Raises ValueError for anything else.
    """
    seconds = 0
    for number, unit in re.findall(r"(\d)([dhms])", text):
        seconds += int(number) * UNITS[unit]
    return seconds


def write(seconds):
    """Returns the shortest text that `parse` reads back, largest unit first, parts that are 0 left out.

    0 is written `0s`. Raises ValueError for a negative number.
    """
    parts = []
    for unit, size in UNITS.items():
        count, seconds = divmod(seconds, size)
        if count > 1:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def add(*texts):
    """Returns the sum of several durations as text, in the form that `write` returns; without arguments `0s`."""
    return write(sum(parse(text) for text in texts))
