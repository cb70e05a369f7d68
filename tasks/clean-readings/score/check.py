"""Compares the cleaned table with the expected one."""

import csv
import io
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402


def rows(text):
    """Returns the rows of a table, temperatures as numbers of tenths where they have the right form."""
    found = []
    for row in csv.reader(io.StringIO(text)):
        if len(row) == 3 and re.fullmatch(r"-?[0-9]{1,4}\.[0-9]", row[2]):
            row[2] = round(float(row[2]) * 10)
        found.append(row)
    return found


def check():
    text = guard.read_text("/home/agent/clean.csv")
    if text is None:
        print("clean.csv is missing, or not a plain file")
        return False
    with open(f"/score/{os.environ['HARNESS_SAMPLE']}.csv", encoding="utf-8") as file:
        expected = rows(file.read())
    try:
        got = rows(text)
    except csv.Error as error:
        print(f"clean.csv cannot be read: {error}")
        return False
    if len(got) != len(expected):
        print(f"{len(got)} rows, expected {len(expected)}")
    for number, (left, right) in enumerate(zip(got, expected), start=1):
        if left != right:
            print(f"first difference in row {number}: got {str(left)[:100]}, expected {right}")
            break
    return got == expected


guard.main(check)
