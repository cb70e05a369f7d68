"""Calls the repaired module in a process of its own and compares what it returns with what its docstrings say."""

import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402

# Runs in the other process. It knows the calls, not the answers.
DRIVER = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
request = json.load(sys.stdin)
sys.path.insert(0, os.getcwd())
module = __import__(request["module"])
def pairs(value):
    return [tuple(item) if isinstance(item, list) else item for item in value] if isinstance(value, list) else value
results = []
for name, arguments in request["calls"]:
    given = [pairs(argument) for argument in arguments]
    try:
        result = {"returned": getattr(module, name)(*given)}
    except ValueError:
        result = {"raised": "ValueError"}
    except Exception as error:
        result = {"raised": type(error).__name__}
    if given != [pairs(argument) for argument in arguments]:
        result = {"changed": "argument"}
    results.append(result)
json.dump(results, answers)
answers.flush()
"""

BAD = {"raised": "ValueError"}

CASES = {
    "a": ("intervals", [
        ("merge", [[[5, 8], [1, 3], [2, 4]]], [[1, 4], [5, 8]]),
        ("merge", [[[1, 3], [3, 5]]], [[1, 5]]),
        ("merge", [[[1, 10], [2, 3], [4, 5]]], [[1, 10]]),
        ("merge", [[[4, 4], [9, 2]]], []),
        ("merge", [[]], []),
        ("merge", [[[-5, -2], [-3, 0], [0, 1], [7, 9]]], [[-5, 1], [7, 9]]),
        ("total", [[[0, 4], [2, 6]]], 6),
        ("total", [[[0, 10], [3, 4], [3, 4], [20, 15]]], 10),
        ("total", [[]], 0),
        ("subtract", [[[0, 10]], [[3, 5]]], [[0, 3], [5, 10]]),
        ("subtract", [[[0, 10]], [[0, 5]]], [[5, 10]]),
        ("subtract", [[[0, 10]], [[-4, 3], [8, 30]]], [[3, 8]]),
        ("subtract", [[[0, 10], [20, 30]], [[0, 10], [22, 23], [22, 25]]], [[20, 22], [25, 30]]),
        ("subtract", [[[2, 4]], [[0, 9]]], []),
        ("subtract", [[[0, 5], [5, 9]], []], [[0, 9]]),
        ("contains", [[[1, 3]], 1], True),
        ("contains", [[[1, 3]], 3], False),
        ("contains", [[[1, 3], [3, 4]], 3], True),
        ("contains", [[[5, 5]], 5], False),
        ("contains", [[], 0], False),
    ]),
    "b": ("durations", [
        ("parse", ["1h30m"], 5400),
        ("parse", [" 2d 4h "], 187200),
        ("parse", ["15m"], 900),
        ("parse", ["1D2H30M5S"], 95405),
        ("parse", ["120s"], 120),
        ("parse", ["0s"], 0),
        ("parse", ["007m"], 420),
        ("parse", ["soon"], BAD),
        ("parse", [""], BAD),
        ("parse", ["  "], BAD),
        ("parse", ["30m1h"], BAD),
        ("parse", ["1h1h"], BAD),
        ("parse", ["1h30"], BAD),
        ("parse", ["-1h"], BAD),
        ("parse", ["1.5h"], BAD),
        ("parse", ["1h and 2m"], BAD),
        ("write", [7322], "2h2m2s"),
        ("write", [0], "0s"),
        ("write", [60], "1m"),
        ("write", [90061], "1d1h1m1s"),
        ("write", [86400 * 400], "400d"),
        ("write", [-1], BAD),
        ("add", ["40m", "30m"], "1h10m"),
        ("add", [], "0s"),
        ("add", ["59s", "1s", "0s"], "1m"),
        ("add", ["1h", "x"], BAD),
    ]),
}


def check():
    module, cases = CASES[os.environ["HARNESS_SAMPLE"]]
    source = guard.read_text(f"/home/agent/project/{module}.py")
    if source is None:
        print("the module is missing")
        return False
    guard.hide()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, f"{module}.py"), "w", encoding="utf-8") as file:
            file.write(source)
        request = {"module": module, "calls": [[name, arguments] for name, arguments, _ in cases]}
        code, output = guard.run(["python3", "-I", "-B", "-c", DRIVER], folder, json.dumps(request), seconds=20)
    try:
        results = json.loads(output)
    except ValueError:
        results = None
    if code != 0 or not isinstance(results, list) or len(results) != len(cases):
        print(f"the module could not be used; exit code {code}")
        return False
    wrong = 0
    for (name, arguments, expected), result in zip(cases, results):
        expected = expected if expected == BAD else {"returned": expected}
        if json.dumps(result) != json.dumps(expected):
            wrong += 1
            print(f"{name}({', '.join(map(repr, arguments))}): expected {expected}, got {str(result)[:200]}")
    return wrong == 0


guard.main(check)
