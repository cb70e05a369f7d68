"""Compiles the repaired program and compares its output with what its opening comment promises."""

import datetime
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def count_words(text):
    counts = {}
    for word in re.findall(r"[a-z]+", text.lower()):
        counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{count} {word}\n" for word, count in ranked)


def name_days(text):
    lines = []
    for line in text.split("\n"):
        if line == "":
            continue
        match = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", line)
        try:
            date = datetime.date(*map(int, match.groups())) if match else None
        except ValueError:
            date = None
        if date is None or date.year < 1600:
            lines.append("invalid\n")
        else:
            lines.append(f"{DAYS[date.weekday()]} {date.timetuple().tm_yday}\n")
    return "".join(lines)


def letters(number):
    text = ""
    while number:
        number, digit = divmod(number, 26)
        text += chr(97 + digit)
    return text or "a"


MANY = " ".join(letters(number * 37) for number in range(1500)) + "\n"
SAMPLES = {
    "a": ("wordcount.c", count_words, [
        "The cat saw the dog. The dog slept.\n",
        "one",
        "no newline at the END end",
        "",
        " 12 -- 7\n",
        "b a b a c\n",
        "first first first second\n",
        "it's 3pm; it's_late\n",
        "x" * 5000 + " y " + "x" * 5000 + "\n",
        MANY,
        MANY + "zebra " * 40,
    ]),
    "b": ("weekday.c", name_days, [
        "2024-02-29\n",
        "1600-01-01\n1600-12-31\n1601-01-01\n",
        "1900-02-28\n1900-02-29\n1900-03-01\n",
        "2000-02-29\n2000-12-31\n2001-01-01\n",
        "9999-12-31\n1599-12-31\n",
        "2023-04-31\n2023-13-01\n2023-00-10\n2023-01-00\n2023-06-30\n",
        "\n\n2019-07-04\n\n",
        "2019-07-04",
        "hello\n2019-7-4\n20190704\n2019-07-04x\n 2019-07-04\n+201-07-04\n2019--7-04\n2019/07/04\n",
        "".join(f"2100-{month:02}-{day:02}\n" for month in range(1, 13) for day in (1, 15, 28)),
    ]),
}


def check():
    name, reference, inputs = SAMPLES[os.environ["HARNESS_SAMPLE"]]
    source = guard.read_text(f"/home/agent/{name}")
    if source is None:
        print(f"{name} is missing")
        return False
    guard.hide()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(source)
        code, _ = guard.run(["gcc", "-std=c11", "-O1", "-o", "program", name], folder, seconds=40, memory=1 << 30)
        if code != 0:
            print("the program does not compile")
            return False
        wrong = 0
        for text in inputs:
            code, output = guard.run(["./program"], folder, text)
            if code != 0 or output != reference(text):
                wrong += 1
                print(f"input {text[:60]!r}: exit code {code}, output {output[:120]!r}")
    return wrong == 0


guard.main(check)
