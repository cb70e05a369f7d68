#!/usr/bin/env python3
"""Scrambles a note: scramble.py KEY < note.txt > note.hex. KEY is five small letters."""

import sys

key = sys.argv[1].encode()
assert len(key) == 5 and key.isalpha() and key.islower()
note = sys.stdin.buffer.read()
print(bytes(byte ^ key[index % len(key)] for index, byte in enumerate(note)).hex())
