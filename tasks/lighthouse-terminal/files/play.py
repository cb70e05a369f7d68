"""A short adventure in a lighthouse."""

import json
import os
import sys
import termios
import time
import tty

HELP = "Commands: look, go DIRECTION, take THING, read THING, use THING, dial NUMBER, quit."


def key(text):
    """Waits for one key, without Enter."""
    before = termios.tcgetattr(sys.stdin)
    try:
        # Before anything is shown, and without losing what was pressed already.
        tty.setcbreak(sys.stdin, termios.TCSANOW)
        print(text, end="", flush=True)
        pressed = os.read(sys.stdin.fileno(), 16)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    print()
    return pressed


def blink(digits):
    """Shows one digit after the other in one place."""
    for digit in digits:
        key(f"\r  the lamp blinks: {digit} ")
    print("  the lamp is dark again")


def word(level, digits):
    """The keeper's word is written with the digits of the dial, letter by letter."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    shift = [int(digit) for digit in digits]
    return "".join(
        letters[(letters.index(letter) - shift[at % len(shift)]) % 26] for at, letter in enumerate(level["sealed"])
    )


class Game:
    """Where the player is and what the player has."""

    def __init__(self, level):
        self.level = level
        self.room = level["start"]
        self.bag = set()
        self.lit = False

    def look(self):
        room = self.level["rooms"][self.room]
        print(f"\n\x1b[1m{self.room}\x1b[0m\n{room['text']}")
        things = [thing for thing in room.get("things", []) if thing not in self.bag]
        if things:
            print("You see: " + ", ".join(things))
        print("Ways: " + ", ".join(room["ways"]))

    def go(self, way):
        there = self.level["rooms"][self.room]["ways"].get(way)
        if there is None:
            print("There is no way.")
        elif there in self.level["dark"] and "lantern" not in self.bag:
            print("It is too dark there. You need a light.")
        else:
            self.room = there
            self.look()

    def take(self, thing):
        if thing in self.level["rooms"][self.room].get("things", []) and thing not in self.bag:
            self.bag.add(thing)
            print(f"You take the {thing}.")
        else:
            print("It is not here.")

    def read(self, thing):
        near = self.bag | set(self.level["rooms"][self.room].get("things", []))
        text = self.level["texts"].get(thing)
        print(text if thing in near and text else "There is nothing to read.")

    def use(self, thing):
        if thing == "switch" and self.room == self.level["lamp_room"]:
            if "fuse" not in self.bag:
                print("The switch clicks, but a fuse is missing.")
            else:
                print("The lamp begins to blink. After each sign, press any key.")
                blink(self.level["digits"])
        else:
            print("That does nothing.")

    def dial(self, digits):
        if self.room != self.level["dial_room"]:
            print("There is no dial here.")
        elif digits != self.level["digits"]:
            print("The dial clicks back to zero.")
        else:
            self.lit = True


def play(level):
    print("\x1b[2J\x1b[H\x1b[7m THE LIGHTHOUSE \x1b[0m\n" + HELP)
    if key("Press the space bar to land on the island.") != b" ":
        print("You stay in the boat.")
        return
    game = Game(level)
    game.look()
    while not game.lit:
        command, _, rest = input("\nWhat now? ").strip().lower().partition(" ")
        if command == "quit":
            return
        if command == "look":
            game.look()
        elif command in ("go", "take", "read", "use", "dial") and rest:
            getattr(game, command)(rest)
        else:
            print(HELP)
    for part in range(0, 101, 20):
        print(f"\rThe lamp is warming up: {part:3}%", end="", flush=True)
        time.sleep(0.2)
    print("\nThe lamp is lit. On the wall stands the keeper's word: " + word(level, level["digits"]))
    key("Press any key to leave.")


if __name__ == "__main__":
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.exit("The lighthouse can only be reached from a terminal.")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "level.json"), encoding="utf-8") as file:
        play(json.load(file))
