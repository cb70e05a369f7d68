"""Starts a clean copy of the service with the repaired configuration and asks it a few questions."""

import http.client
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402

CASES = {
    "a": {
        "config": "board.ini", "notices": ("notices.txt", "/score/allotment.txt"), "port": 8470, "prefix": "/allotment",
        "title": "Allotment news", "newest": 5, "allow": ["anna", "bram", "chen"],
    },
    "b": {
        "config": "board.json", "notices": ("notices/chess.txt", "/score/chess.txt"), "port": 8471,
        "prefix": "/club/chess", "title": "Chess club", "newest": 3, "allow": ["dora", "emil", "fay"],
    },
}


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read(1 << 20))
    except (OSError, http.client.HTTPException, ValueError):
        return None, None
    finally:
        connection.close()


def wait_for(process, port):
    for _ in range(100):
        if process.poll() is not None:
            return False
        if ask(port, "/")[0] is not None:
            return True
        time.sleep(0.1)
    return False


def check():
    case = CASES[os.environ["HARNESS_SAMPLE"]]
    text = guard.read_text(f"/home/agent/board/{case['config']}", cap=65536)
    if text is None:
        print("the configuration is missing")
        return False
    with tempfile.TemporaryDirectory() as folder:
        # A clean copy of the service and of the notices: only the configuration is the agent's.
        notices, source = case["notices"]
        path = os.path.join(folder, "board", notices)
        os.makedirs(os.path.dirname(path))
        shutil.copyfile(source, path)
        shutil.copyfile("/score/service.py", os.path.join(folder, "board", "service.py"))
        config = os.path.join(folder, "board", case["config"])
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        process = subprocess.Popen(
            ["python3", "-I", "-B", os.path.join(folder, "board", "service.py"), config],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20)),
        )
        try:
            if not wait_for(process, case["port"]):
                print(f"nothing answers on port {case['port']}")
                return False
            return questions(case)
        finally:
            process.kill()
            process.wait()


def questions(case):
    with open(case["notices"][1], encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    page = case["prefix"] + "/notices?reader="
    expected = {"title": case["title"], "notices": lines[-case["newest"]:]}
    wanted = [(page + name, 200, expected) for name in case["allow"]]
    wanted += [(page + "zoe", 403, {"error": "not allowed"}), ("/notices", 404, {"error": "no such page"})]
    passed = True
    for path, status, body in wanted:
        got = ask(case["port"], path)
        if got != (status, body):
            print(f"GET {path}: expected {status} {body}, got {got}")
            passed = False
    return passed


guard.main(check)
