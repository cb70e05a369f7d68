"""Makes the levels. Run it in this folder; it writes the same bytes every time."""

import json
import pathlib

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def sealed(word, digits):
    shift = [int(digit) for digit in digits]
    return "".join(LETTERS[(LETTERS.index(letter) + shift[at % len(shift)]) % 26] for at, letter in enumerate(word))


A = {
    "start": "jetty", "dark": ["cellar"], "lamp_room": "lamp room", "dial_room": "workshop", "digits": "40718",
    "rooms": {
        "jetty": {"text": "Waves slap against the planks.", "ways": {"north": "hall"}},
        "hall": {
            "text": "A round hall. A note is pinned to the stairs.", "things": ["note"],
            "ways": {"south": "jetty", "up": "lamp room", "down": "cellar", "east": "workshop"},
        },
        "workshop": {
            "text": "A bench, and a dial of brass in the wall.", "things": ["lantern"], "ways": {"west": "hall"},
        },
        "cellar": {"text": "Barrels and cobwebs.", "things": ["fuse"], "ways": {"up": "hall"}},
        "lamp room": {"text": "The great lamp is dark. There is a switch.", "ways": {"down": "hall"}},
    },
    "texts": {
        "note": "The switch makes the lamp tell its number, sign by sign. Dial that number in the workshop. Fuses are in "
                "the cellar.",
    },
}
B = {
    "start": "beach", "dark": ["tunnel", "boiler room"], "lamp_room": "gallery", "dial_room": "cabin", "digits": "962035",
    "rooms": {
        "beach": {"text": "Shells crunch under your boots.", "ways": {"west": "cabin", "north": "tower"}},
        "cabin": {
            "text": "The keeper's cabin. A dial is set into the door of the stove.", "things": ["diary"],
            "ways": {"east": "beach"},
        },
        "tower": {
            "text": "Stairs lead up, and a hatch leads down.", "things": ["lantern"],
            "ways": {"south": "beach", "up": "gallery", "down": "tunnel"},
        },
        "tunnel": {"text": "Water drips.", "ways": {"up": "tower", "west": "boiler room"}},
        "boiler room": {"text": "Rusty pipes.", "things": ["fuse"], "ways": {"east": "tunnel"}},
        "gallery": {"text": "Glass all around, and a lamp with a switch.", "ways": {"down": "tower"}},
    },
    "texts": {"diary": "In the gallery the lamp tells me the number for the dial, if only it has its fuse."},
}


def main():
    for name, level, word in (("a", A, "kestrelmoor"), ("b", B, "saltwhistle")):
        text = json.dumps({**level, "sealed": sealed(word, level["digits"])}, indent=1) + "\n"
        pathlib.Path(f"files/{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
