"""Checks that the restored folder holds exactly the files of the right backup."""

import hashlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402

FOLDER = "/home/agent/restored"


def check():
    with open(f"/score/{os.environ['HARNESS_SAMPLE']}.sums", encoding="utf-8") as file:
        wanted = {name: digest for digest, name in (line.split() for line in file)}
    if not os.path.isdir(FOLDER) or os.path.realpath(FOLDER) != FOLDER:
        print("there is no restored folder")
        return False
    found = sorted(os.listdir(FOLDER))
    if found != sorted(wanted):
        print(f"the folder holds {str(found)[:300]}, expected {sorted(wanted)}")
        return False
    for name, digest in wanted.items():
        text = guard.read_text(os.path.join(FOLDER, name))
        if text is None or hashlib.sha256(text.encode()).hexdigest() != digest:
            print(f"{name} differs")
            return False
    return True


guard.main(check)
