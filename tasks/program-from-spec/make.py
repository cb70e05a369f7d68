"""Makes the hidden cases from two reference programs. Run it in this folder; it writes the same bytes every time."""

import decimal
import json
import pathlib
import random
import re

NEEDS = {"pop": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "mod": 2, "dup": 1, "swap": 2, "print": 1, "stack": 0}


def stack_machine(text):
    out, stack = [], []
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        words = [word for word in line.split(" ") if word]
        if not words or words[0].startswith("#"):
            continue
        error = stack_step(words, stack, out)
        if error:
            out.append(f"line {number}: {error}")
    out.append(f"left {len(stack)}")
    return "".join(line + "\n" for line in out)


def stack_step(words, stack, out):
    name = words[0]
    wanted = 2 if name in ("push", "roll") else 1
    if name not in NEEDS and wanted == 1 or len(words) != wanted:
        return "unknown command"
    if wanted == 2 and not re.fullmatch("-?[0-9]+" if name == "push" else "[0-9]+", words[1]):
        return "bad number"
    if name == "push":
        stack.append(int(words[1]))
        return None
    depth = int(words[1]) if name == "roll" else 0
    if len(stack) < (depth + 1 if name == "roll" else NEEDS[name]):
        return "stack too small"
    if name in ("div", "mod") and stack[-1] == 0:
        return "division by zero"
    if name == "roll":
        stack.append(stack.pop(len(stack) - 1 - depth))
    elif name == "pop":
        stack.pop()
    elif name == "dup":
        stack.append(stack[-1])
    elif name == "swap":
        stack[-1], stack[-2] = stack[-2], stack[-1]
    elif name == "print":
        out.append(str(stack[-1]))
    elif name == "stack":
        out.append(" ".join(map(str, stack)) or "empty")
    else:
        b, a = stack.pop(), stack.pop()
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0
        results = {"add": a + b, "sub": a - b, "mul": a * b, "div": quotient, "mod": a - quotient * b}
        stack.append(results[name])
    return None


def table_writer(text):
    records = [cells(line) for line in text.split("\n") if line.strip(" ")]
    if not records:
        return ""
    count = max(map(len, records))
    records = [record + [""] * (count - len(record)) for record in records]
    columns = list(zip(*records))
    widths = [max(1, *map(len, column)) for column in columns]
    numeric = [is_numeric(column[1:]) for column in columns]
    out = []
    for record in records:
        padded = [
            cell.rjust(width) if number else cell.ljust(width) for cell, width, number in zip(record, widths, numeric)
        ]
        out.append(" | ".join(padded).rstrip(" "))
        if len(out) == 1:
            out.append("-+-".join("-" * width for width in widths))
    if any(numeric):
        out.append("")
    for column, number in zip(columns, numeric):
        if number:
            out.append(f"sum of {column[0]}: {exact_sum(column[1:])}")
    return "".join(line + "\n" for line in out)


def cells(line):
    found = re.findall(r"(?:\\[|\\]|[^|])*(?:\||$)", line)
    parts, at = [], 0
    for piece in re.finditer(r"((?:\\[|\\]|[^|])*)(\||$)", line):
        if piece.start() != at:
            break
        parts.append(re.sub(r"\\([|\\])", r"\1", piece.group(1).strip(" ")))
        at = piece.end()
        if piece.group(2) == "":
            break
    assert found
    return parts


def is_numeric(column):
    filled = [cell for cell in column if cell]
    return bool(filled) and all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", cell) for cell in filled)


def exact_sum(column):
    with decimal.localcontext() as context:
        context.prec = 200
        filled = [cell for cell in column if cell]
        digits = max(len(cell.partition(".")[2]) for cell in filled)
        total = sum(map(decimal.Decimal, filled), decimal.Decimal(0))
        total = total if total else decimal.Decimal(0)
        return f"{total:.{digits}f}"


def stack_inputs():
    rng = random.Random(909)
    yield "push 2\npush 3\nadd\nprint\n"
    yield ""
    yield "stack\npop\nprint\n"
    yield "  push   7  \n\n# push 8\n   # no\nstack"
    yield "push 7\npush -2\ndiv\nprint\npush -7\npush 2\ndiv\nprint\n"
    yield "push 7\npush -2\nmod\nprint\npush -7\npush 2\nmod\nprint\npush -8\npush -3\nmod\nprint\n"
    yield "push 1\npush 0\ndiv\nmod\nstack\n"
    yield "push\npush 1 2\npop 3\nPUSH 4\nadd add\nroll\nhalt\n"
    yield "push +3\npush 4.0\npush --5\npush 0x1\nroll -1\nroll x\npush -0\nstack\n"
    yield "push 1\npush 2\npush 3\nroll 2\nstack\nroll 0\nstack\nroll 1\nstack\nroll 3\n"
    yield "push 99999999999999999999\ndup\nmul\nprint\npush 7\nmod\nprint\n"
    yield "dup\nswap\npush 1\nswap\nsub\ndup\nsub\nprint\n"
    yield "push 10\npush 3\nsub\nprint\nswap\npush 4\nswap\nstack\n"
    for length in (20, 40, 60, 80, 100):
        lines = []
        for _ in range(length):
            kind = rng.random()
            if kind < 0.45:
                lines.append(f"push {rng.randrange(-9, 10)}")
            elif kind < 0.55:
                lines.append(f"roll {rng.randrange(4)}")
            else:
                lines.append(rng.choice(sorted(NEEDS)))
        yield "\n".join(lines) + "\n"


def table_inputs():
    rng = random.Random(910)
    yield "name | age\nAnn | 31\nBob | 9\n"
    yield ""
    yield "  \n\n   \n"
    yield "only | a | head\n"
    yield "one\n"
    yield "a|b|c\n1\nx|2\n||3|4\n"
    yield "item | price\nnut | 1.25\nbolt | -3\n\nscrew | 10.5"
    yield "a\\|b | c\\\\d | e\\f\n\\\\ | \\| | \\\n"
    yield "left | right\n-0.50 | 1\n0.5 | x\n"
    yield "n\n0.1\n0.2\n0.30\n"
    yield "n | m\n1 | 1.\n2 | .5\n3 | +4\n"
    yield "long head cell | n\nx | 5\n"
    yield "naïve | größe\nçava | 12\nü | 7\n"
    yield "a | n\n b \\  | 99999999999999999999999\n c | 1\n"
    yield " | 1\n | 2\n | 3\n"
    yield "|||\n|x||\n"
    for rows in (5, 12, 25):
        lines = ["id | note | amount | share"]
        for _ in range(rows):
            note = "".join(rng.choice("abc \\|xyz") for _ in range(rng.randrange(9)))
            amount = rng.choice(["", f"{rng.randrange(-900, 900)}", f"{rng.uniform(-50, 50):.{rng.randrange(1, 4)}f}"])
            lines.append(f"{rng.randrange(1000)} |{note}| {amount} | {rng.random():.2f}")
        yield "\n".join(lines) + "\n"


for sample, program, inputs in (("a", stack_machine, stack_inputs()), ("b", table_writer, table_inputs())):
    cases = [{"input": text, "output": program(text)} for text in inputs]
    text = json.dumps(cases, ensure_ascii=False, indent=1)
    pathlib.Path("score", f"{sample}.json").write_text(text + "\n", encoding="utf-8")
