"""Makes the raw tables and the clean ones that are expected.

Run it in this folder; it writes the same bytes every time.
"""

import datetime
import pathlib
import random


def sample(name, seed, stations, count):
    rng = random.Random(seed)
    start = datetime.datetime(2024, 2, 27)
    seen, rows, clean = set(), [], []
    while len(clean) < count:
        station = rng.choice(stations)
        at = start + datetime.timedelta(minutes=10 * rng.randrange(1500))
        if (station, at) in seen:
            continue
        seen.add((station, at))
        tenths = rng.randrange(-150, 320)
        fate = rng.random()
        if fate < 0.06:
            rows.append(show(rng, station, at, rng.choice(["", "NA", "-", "n/a"])))
            continue
        if fate < 0.10:
            rows.append(show(rng, station, at, rng.choice(["999.9", "-85.0", "130.5 F", "75,3"])))
            continue
        if rng.random() < 0.25:
            # Fahrenheit chosen so that the value in Celsius has exactly one digit: steps of 0.9 F are 0.5 C.
            tenths = tenths // 5 * 5
            text = f"{tenths * 9 / 50 + 32:.1f} F".replace(".0 F", rng.choice([".0 F", " F"]))
        else:
            text = f"{tenths / 10:.1f}"
            text = text.replace(".", ",") if rng.random() < 0.3 else text
            text += rng.choice(["", "", " C", "C"])
        rows.append(show(rng, station, at, text))
        if rng.random() < 0.12:
            rows.append(show(rng, station, at, text))
        clean.append((station, at.strftime("%Y-%m-%dT%H:%M"), f"{tenths / 10:.1f}"))
    rng.shuffle(rows)
    pathlib.Path("files", f"{name}.csv").write_text("station;time;temperature\n" + "".join(rows))
    lines = "".join(",".join(row) + "\n" for row in sorted(clean))
    pathlib.Path("score", f"{name}.csv").write_text("station,time,celsius\n" + lines.replace(",-0.0\n", ",0.0\n"))


def show(rng, station, at, text):
    station = rng.choice([station, station, station.lower(), f" {station}"])
    form = rng.choice(["%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M", "%Y-%m-%dT%H:%M:00", "%d.%m.%Y %H:%M"])
    return f"{station};{at.strftime(form)};{text}\n"


sample("a", 71, ["NORTH", "QUAY", "HILL"], 320)
sample("b", 72, ["DAM", "WEIR-1", "WEIR-2", "LOCK"], 380)
