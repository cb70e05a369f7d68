# Writes the program of this sample.
case "$HARNESS_SAMPLE" in
a)
    cat > /home/agent/program.py <<'END'
import sys

COMMANDS = {"push": 0, "pop": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "mod": 2, "dup": 1, "swap": 2, "roll": 1,
            "print": 1, "stack": 0}


def is_digits(text):
    return text != "" and all(c in "0123456789" for c in text)


def step(words, stack):
    name, rest = words[0], words[1:]
    takes_number = name in ("push", "roll")
    if name not in COMMANDS or len(rest) != (1 if takes_number else 0):
        raise ValueError("unknown command")
    needed = COMMANDS[name]
    if takes_number:
        digits = rest[0][1:] if name == "push" and rest[0].startswith("-") else rest[0]
        if not is_digits(digits):
            raise ValueError("bad number")
        number = int(rest[0])
        needed = number + 1 if name == "roll" else 0
    if len(stack) < needed:
        raise ValueError("stack too small")
    if name in ("div", "mod") and stack[-1] == 0:
        raise ValueError("division by zero")
    if name == "push":
        stack.append(number)
    elif name == "pop":
        stack.pop()
    elif name == "dup":
        stack.append(stack[-1])
    elif name == "swap":
        stack.append(stack.pop(-2))
    elif name == "roll":
        stack.append(stack.pop(-1 - number))
    elif name == "print":
        print(stack[-1])
    elif name == "stack":
        print(*stack if stack else ["empty"])
    else:
        b = stack.pop()
        a = stack.pop()
        if name == "add":
            stack.append(a + b)
        elif name == "sub":
            stack.append(a - b)
        elif name == "mul":
            stack.append(a * b)
        else:
            quotient = a // b
            if quotient < 0 and quotient * b != a:
                quotient += 1
            stack.append(quotient if name == "div" else a - quotient * b)


stack = []
for number, line in enumerate(sys.stdin, start=1):
    words = line.rstrip("\n").split()
    if not words or words[0][0] == "#":
        continue
    try:
        step(words, stack)
    except ValueError as error:
        print(f"line {number}: {error}")
print("left", len(stack))
END
    ;;
b)
    cat > /home/agent/program.py <<'END'
import re
import sys
from fractions import Fraction

sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def split(line):
    found, cell, at = [], "", 0
    while at < len(line):
        if line[at] == "\\" and line[at + 1:at + 2] in ("|", "\\"):
            cell += line[at:at + 2]
            at += 2
        elif line[at] == "|":
            found.append(cell)
            cell = ""
            at += 1
        else:
            cell += line[at]
            at += 1
    found.append(cell)
    return [re.sub(r"\\([|\\])", r"\1", cell.strip(" ")) for cell in found]


def total(numbers):
    digits = max(len(text.split(".")[1]) if "." in text else 0 for text in numbers)
    scaled = int(sum(Fraction(text) for text in numbers) * 10 ** digits)
    text = str(abs(scaled)).rjust(digits + 1, "0")
    text = text[:len(text) - digits] + ("." + text[len(text) - digits:] if digits else "")
    return "-" + text if scaled < 0 else text


def main():
    table = [split(line.rstrip("\n")) for line in sys.stdin if line.strip(" \n")]
    if not table:
        return
    columns = max(len(row) for row in table)
    for row in table:
        row.extend([""] * (columns - len(row)))
    widths = [max(1, max(len(row[i]) for row in table)) for i in range(columns)]
    filled = [[row[i] for row in table[1:] if row[i] != ""] for i in range(columns)]
    numeric = [bool(cells) and all(NUMBER.fullmatch(cell) for cell in cells) for cells in filled]
    for number, row in enumerate(table):
        padded = [row[i].rjust(widths[i]) if numeric[i] else row[i].ljust(widths[i]) for i in range(columns)]
        print(" | ".join(padded).rstrip(" "))
        if number == 0:
            print("-+-".join("-" * width for width in widths))
    if any(numeric):
        print()
    for i in range(columns):
        if numeric[i]:
            print(f"sum of {table[0][i]}: {total(filled[i])}")


main()
END
    ;;
esac
echo done
