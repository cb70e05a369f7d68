# Plays on a terminal of its own, step by step.
python3 - <<'END'
import os
import pty
import re
import sys

WAYS = {
    "a": (["go north", "go east", "take lantern", "go west", "go down", "take fuse", "go up", "go up"],
          ["go down", "go east"]),
    "b": (["go north", "take lantern", "go down", "go west", "take fuse", "go east", "go up", "go up"],
          ["go down", "go south", "go west"]),
}
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("python3", ["python3", "/home/agent/lighthouse/play.py"])
seen = ""


def until(pattern):
    global seen
    while not (found := re.search(pattern, seen)):
        seen += os.read(terminal, 4096).decode()
    seen = seen[found.end():]
    return found


def press(keys):
    os.write(terminal, keys.encode())


there, back = WAYS[os.environ["HARNESS_SAMPLE"]]
until("land on the island.")
press(" ")
for command in there:
    until("What now\\? ")
    press(command + "\r")
until("What now\\? ")
press("use switch\r")
digits = ""
while (found := until("blinks: (\\d)|dark again")).group(1):
    digits += found.group(1)
    press("x")
for command in back + ["dial " + digits]:
    until("What now\\? ")
    press(command + "\r")
word = until("keeper's word: (\\w+)\r").group(1)
press("x")
print(word)
END
