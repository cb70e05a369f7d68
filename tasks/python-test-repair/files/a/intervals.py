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
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def total(intervals):
    """Returns how many integers the set holds; an integer covered twice counts once."""
    return sum(end - start for start, end in intervals)


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
    return left


def contains(intervals, number):
    """Returns whether the integer `number` is in the set."""
    return any(start <= number <= end for start, end in intervals)
