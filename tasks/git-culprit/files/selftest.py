"""Checks stats.py; exits with 0 if it is right."""

import sys

import stats

sys.exit(0 if stats.median([4, 1, 3, 2]) == 2.5 and stats.median([5, 1, 3]) == 3 else 1)
