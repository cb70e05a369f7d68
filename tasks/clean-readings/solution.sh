# Cleans the table.
python3 - <<'END'
import datetime
import re

FORMS = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M"]


def moment(text):
    for form in FORMS:
        try:
            return datetime.datetime.strptime(text.strip(), form).strftime("%Y-%m-%dT%H:%M")
        except ValueError:
            continue
    raise ValueError(text)


rows = set()
with open("/data/raw.csv") as file:
    next(file)
    for line in file:
        station, time, value = line.rstrip("\n").split(";")
        match = re.fullmatch(r"\s*(-?[0-9]+(?:[.,][0-9]+)?)\s*([CF]?)\s*", value)
        if not match:
            continue
        degrees = float(match.group(1).replace(",", "."))
        if match.group(2) == "F":
            degrees = (degrees - 32) * 5 / 9
        if -40 <= degrees <= 50:
            rows.add((station.strip().upper(), moment(time), f"{round(degrees, 1) + 0.0:.1f}"))
with open("/home/agent/clean.csv", "w") as file:
    file.write("station,time,celsius\n" + "".join(",".join(row) + "\n" for row in sorted(rows)))
END
echo done
