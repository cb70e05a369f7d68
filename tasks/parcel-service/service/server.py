"""A small parcel service that speaks HTTP and JSON."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DATA = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "parcels.json"), encoding="utf-8"))
PARCELS = {parcel["id"]: parcel for parcel in DATA["parcels"]}
DEPOTS = {depot["id"]: depot for depot in DATA["depots"]}
PAGE = 25

HELP = """Parcel service. All answers but this one are JSON.

GET /parcels?page=N    the parcels of page N (from 1): their ids, and `next`, the path of the next page, if there is one
GET /parcels/ID        one parcel: its id, depot, grams, state (held, on its way, delivered or lost), and `moved_to`, the
                       depot that it was moved to, if it was
GET /depots            the ids of all depots
GET /depots/ID         one depot: its id, town, and the hour at which it opens
"""


def answer(path, query):
    parts = [part for part in path.split("/") if part]
    if parts == ["parcels"]:
        page = query.get("page", ["1"])[-1]
        if not page.isascii() or not page.isdigit() or not 0 < int(page) < 1000:
            return 400, {"error": "page must be a number from 1 on"}
        first = (int(page) - 1) * PAGE
        found = {"ids": list(PARCELS)[first:first + PAGE]}
        if first + PAGE < len(PARCELS):
            found["next"] = f"/parcels?page={int(page) + 1}"
        return 200, found
    if parts == ["depots"]:
        return 200, {"ids": list(DEPOTS)}
    for name, things in (("parcels", PARCELS), ("depots", DEPOTS)):
        if len(parts) == 2 and parts[0] == name and parts[1] in things:
            return 200, things[parts[1]]
    return 404, {"error": "there is no such page; see /"}


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/":
            status, kind, body = 200, "text/plain; charset=utf-8", HELP
        else:
            status, found = answer(url.path, parse_qs(url.query))
            kind, body = "application/json", json.dumps(found) + "\n"
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
