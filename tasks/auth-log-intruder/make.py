"""Makes the authentication logs of this task. Run it in this folder; it writes the same bytes every time."""

import datetime
import pathlib
import random

DAY = datetime.datetime(2024, 3, 11)
NAMES = ["amira", "bjorn", "chidi", "dalia", "emeka", "farid", "greta", "hanna", "ivan", "jun", "katya", "lars"]


class Log:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.lines = []

    def add(self, at, text, pid=None):
        stamp = (DAY + datetime.timedelta(seconds=at)).strftime("%b %d %H:%M:%S")
        pid = pid or self.rng.randrange(2000, 30000)
        self.lines.append((at, len(self.lines), f"{stamp} gate sshd[{pid}]: {text}"))
        return pid

    def failed(self, at, user, address, known=True):
        kind = "" if known else "invalid user "
        self.add(at, f"Failed password for {kind}{user} from {address} port {self.rng.randrange(30000, 65000)} ssh2")

    def login(self, at, user, address, how="password", minutes=20):
        pid = self.add(at, f"Accepted {how} for {user} from {address} port {self.rng.randrange(30000, 65000)} ssh2")
        self.add(at, f"pam_unix(sshd:session): session opened for user {user} by (uid=0)", pid)
        self.add(at + minutes * 60, f"pam_unix(sshd:session): session closed for user {user}", pid)

    def text(self):
        return "".join(line + "\n" for _, _, line in sorted(self.lines))


def ordinary_day(log, homes, typists):
    rng = log.rng
    for day in range(3):
        for name in NAMES:
            at = day * 86400 + 7 * 3600 + rng.randrange(7200)
            how = "publickey" if name in ("bjorn", "jun") else "password"
            if day == 2 and name in typists:
                for miss in range(typists[name]):
                    log.failed(at - 60 + miss * 7, name, homes[name])
            log.login(at, name, homes[name], how, rng.randrange(20, 400))


def noise(log, addresses, count):
    for _ in range(count):
        user = log.rng.choice(["admin", "root", "test", "oracle", "ubuntu", "pi"] + NAMES[:4])
        log.failed(log.rng.randrange(3 * 86400), user, log.rng.choice(addresses), user in NAMES or user == "root")


def sample_a():
    log = Log(101)
    homes = {name: f"10.20.{number}.{number * 7 + 3}" for number, name in enumerate(NAMES)}
    ordinary_day(log, homes, {"dalia": 5, "lars": 7})
    noise(log, ["198.51.100.23", "203.0.113.140"], 70)
    at = 2 * 86400 + 3 * 3600
    for number in range(38):
        log.failed(at + number * 9, NAMES[number % len(NAMES)], "203.0.113.77")
    log.failed(at + 350, "emeka", "203.0.113.77")
    log.login(at + 361, "emeka", "203.0.113.77", minutes=11)
    log.login(2 * 86400 + 20 * 3600, "hanna", "192.0.2.61", "publickey", 35)
    return log.text()


def sample_b():
    log = Log(202)
    homes = {name: f"172.16.{number + 4}.{number * 5 + 11}" for number, name in enumerate(NAMES)}
    ordinary_day(log, homes, {"katya": 9, "amira": 4, "ivan": 3})
    noise(log, ["192.0.2.200", "198.51.100.9", "198.51.100.91"], 60)
    for number in range(44):
        address = "203.0.113.5" if number % 2 else "203.0.113.15"
        log.failed(40000 + number * 611, ["farid", "greta", "chidi", "katya"][number % 4], address)
    log.failed(86400 + 4000, "greta", "203.0.113.15")
    log.login(86400 + 4100, "greta", "203.0.113.15", minutes=64)
    log.login(86400 + 50000, "chidi", "192.0.2.18", "password", 15)
    return log.text()


def sample_c():
    log = Log(303)
    homes = {name: f"10.9.8.{number * 9 + 20}" for number, name in enumerate(NAMES)}
    ordinary_day(log, homes, {"jun": 6, "bjorn": 8, "greta": 3})
    noise(log, ["203.0.113.66", "192.0.2.33"], 75)
    at = 86400 + 22 * 3600
    for number in range(29):
        log.failed(at + number * 41, "chidi", "198.51.100.180")
    for number in range(23):
        log.failed(at + 60 + number * 37, "ivan", "198.51.100.181")
    log.login(at + 60 + 23 * 37, "ivan", "198.51.100.181", minutes=7)
    log.login(2 * 86400 + 70000, "chidi", "10.9.8.250", "publickey", 15)
    return log.text()


for name, make in (("a", sample_a), ("b", sample_b), ("c", sample_c)):
    pathlib.Path("files", f"{name}.log").write_text(make())
