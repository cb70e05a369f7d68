#!/usr/bin/env python3
"""A small notice board that answers HTTP requests on 127.0.0.1.

    service.py CONFIG          starts the service
    service.py --check CONFIG  only reads the configuration and says what it found

The configuration is INI (a name that ends in .ini) or JSON (.json). Sections and keys:

    [server]  port     a whole number from 1024 to 65535
              prefix   where the board lives; starts with "/" and does not end with it
    [board]   title    text, 1 to 60 characters
              notices  a file with one notice on each line; a relative path is relative to the configuration
              newest   how many of the last notices are shown, 1 to 20
    [access]  allow    reader names that may read, a JSON list, or in INI separated by commas
              token    at least 12 letters and digits

Unknown sections and keys are errors. Replies to GET PREFIX/notices?reader=NAME with a JSON object; anything else gets
404, a reader who is not allowed 403.
"""

import configparser
import http.server
import json
import os
import re
import sys
import urllib.parse

KNOWN = {"server": {"port", "prefix"}, "board": {"title", "notices", "newest"}, "access": {"allow", "token"}}


class Refused(Exception):
    pass


def load(path):
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    elif path.endswith(".ini"):
        parser = configparser.ConfigParser(interpolation=None)
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        config = {name: dict(parser[name]) for name in parser.sections()}
        if "allow" in config.get("access", {}):
            config["access"]["allow"] = [name.strip() for name in config["access"]["allow"].split(",")]
        for section, key in (("server", "port"), ("board", "newest")):
            if key in config.get(section, {}) and re.fullmatch("[0-9]+", config[section][key]):
                config[section][key] = int(config[section][key])
    else:
        raise Refused("the configuration must be .ini or .json")
    check(config)
    notices = os.path.join(os.path.dirname(os.path.abspath(path)), config["board"]["notices"])
    try:
        with open(notices, encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError as error:
        raise Refused(f"board.notices: {error.strerror}: {notices}") from error
    return config, lines


def check(config):
    if not isinstance(config, dict) or not all(isinstance(section, dict) for section in config.values()):
        raise Refused("the configuration must hold sections")
    for section, keys in config.items():
        if section not in KNOWN:
            raise Refused(f"unknown section: {section}")
        for key in keys:
            if key not in KNOWN[section]:
                raise Refused(f"unknown key: {section}.{key}")
    for section, keys in KNOWN.items():
        for key in sorted(keys):
            if key not in config.get(section, {}):
                raise Refused(f"missing: {section}.{key}")
    server, board, access = config["server"], config["board"], config["access"]
    expect(type(server["port"]) is int and 1024 <= server["port"] <= 65535, "server.port")
    expect(type(server["prefix"]) is str and re.fullmatch("(/[a-z]+)+", server["prefix"]), "server.prefix")
    expect(type(board["title"]) is str and 1 <= len(board["title"]) <= 60, "board.title")
    expect(type(board["notices"]) is str, "board.notices")
    expect(type(board["newest"]) is int and 1 <= board["newest"] <= 20, "board.newest")
    expect(type(access["allow"]) is list and access["allow"], "access.allow")
    expect(all(type(name) is str and re.fullmatch("[a-z]+", name) for name in access["allow"]), "access.allow")
    expect(type(access["token"]) is str and re.fullmatch("[A-Za-z0-9]{12,}", access["token"]), "access.token")


def expect(fine, key):
    if not fine:
        raise Refused(f"bad value: {key}")


def handler(config, notices):
    class Board(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            reader = urllib.parse.parse_qs(url.query).get("reader", [""])[0]
            if url.path != config["server"]["prefix"] + "/notices":
                self.reply(404, {"error": "no such page"})
            elif reader not in config["access"]["allow"]:
                self.reply(403, {"error": "not allowed"})
            else:
                shown = notices[-config["board"]["newest"]:]
                self.reply(200, {"title": config["board"]["title"], "notices": shown})

        def reply(self, status, value):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Board


def main(arguments):
    only_check = arguments[:1] == ["--check"]
    paths = arguments[1:] if only_check else arguments
    if len(paths) != 1:
        print("usage: service.py [--check] CONFIG", file=sys.stderr)
        return 2
    try:
        config, notices = load(paths[0])
    except (Refused, OSError, ValueError, configparser.Error) as error:
        print(f"service.py: {error}", file=sys.stderr)
        return 1
    if only_check:
        print(f"ok: {len(notices)} notices")
        return 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", config["server"]["port"]), handler(config, notices))
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
