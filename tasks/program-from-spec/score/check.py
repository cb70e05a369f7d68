"""Runs the program on the hidden cases of this sample; prints the share it gets right."""

import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402


def main():
    with open(f"/score/{os.environ['HARNESS_SAMPLE']}.json", encoding="utf-8") as file:
        cases = json.load(file)
    source = guard.read_text("/home/agent/program.py")
    passed = 0
    if source is None:
        print("program.py is missing, or not a plain file")
    else:
        passed = count_passed(source, cases)
    print(json.dumps({"score": passed / len(cases), "passed": passed, "cases": len(cases)}))


def count_passed(source, cases):
    guard.hide()
    passed = 0
    for number, case in enumerate(cases):
        # A folder for each run: nothing is carried over from one case to the next.
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "program.py"), "w", encoding="utf-8") as file:
                file.write(source)
            code, output = guard.run(["python3", "program.py"], folder, case["input"], seconds=4)
        if code == 0 and output == case["output"]:
            passed += 1
        else:
            print(f"case {number}: exit code {code}, output {output[:200]!r}")
    return passed


main()
