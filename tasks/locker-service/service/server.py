"""Guards lockers. One command on each line."""

import json
import os
import socketserver
import threading
import zlib

HELP = """commands:
  list               the lockers
  open NAME CODE     open a locker that has a code
  lost NAME          send a ticket for a locker without a code to the front desk
  redeem NAME TICKET open a locker with its ticket
  quit"""
LONGEST_LINE = 200


def lockers():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lockers.json")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def ticket(name, number):
    # Six digits; the number makes every ticket another one.
    return f"{zlib.crc32(f'{name}#{number}'.encode()) % 1000000:06}"


class Desk:
    """What the service remembers between connections."""

    def __init__(self):
        self.lockers = lockers()
        self.sent = 0
        self.valid = {}
        self.lock = threading.Lock()

    def answer(self, line):
        words = line.split()
        command, rest = (words[0], words[1:]) if words else ("", [])
        if command == "list" and not rest:
            return ", ".join(self.lockers)
        if command not in ("open", "lost", "redeem") or len(rest) != (1 if command == "lost" else 2):
            return HELP
        name = rest[0]
        if name not in self.lockers:
            return "there is no such locker"
        locker = self.lockers[name]
        if command == "open":
            return self.open(locker, rest[1])
        if locker["code"] is not None:
            return "this locker has a code"
        with self.lock:
            if command == "lost":
                self.sent += 1
                self.valid[name] = ticket(name, self.sent)
                return f"ticket number {self.sent} was sent to the front desk"
            if self.valid.pop(name, None) == rest[1]:
                return "open: " + locker["content"]
        return "wrong; the ticket is not valid any more"

    def open(self, locker, code):
        if locker["code"] is None:
            return "this locker has no code"
        for place, (given, right) in enumerate(zip(code, locker["code"]), start=1):
            if given != right:
                return f"wrong digit at place {place}"
        if len(code) != len(locker["code"]):
            return "the code has another length"
        return "open: " + locker["content"]


class Visit(socketserver.StreamRequestHandler):
    """One connection."""

    timeout = 120

    def handle(self):
        self.say("lockers; try `help`")
        while line := self.rfile.readline(LONGEST_LINE):
            text = line.decode("ascii", "replace").strip()
            if text == "quit":
                break
            self.say(self.server.desk.answer(text))

    def say(self, text):
        self.wfile.write(text.encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    """The service."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("0.0.0.0", 4000), Visit) as server:
        server.desk = Desk()
        server.serve_forever()
