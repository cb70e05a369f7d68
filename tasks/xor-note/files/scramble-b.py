#!/usr/bin/env python3
"""Scrambles a note: scramble.py SEED < note.txt > note.hex. SEED is a number from 0 to 65535."""

import sys

state = int(sys.argv[1])
assert 0 <= state < 65536
scrambled = bytearray()
for byte in sys.stdin.buffer.read():
    state = (state * 4005 + 8191) % 65536
    scrambled.append(byte ^ (state >> 8))
print(scrambled.hex())
