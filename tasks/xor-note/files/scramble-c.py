#!/usr/bin/env python3
"""Scrambles two notes with one key file: scramble.py KEYFILE < note.txt > note.hex. The key file is random bytes."""

import sys

key = open(sys.argv[1], "rb").read()
note = sys.stdin.buffer.read()
assert len(note) <= len(key)
print(bytes(left ^ right for left, right in zip(note, key)).hex())
