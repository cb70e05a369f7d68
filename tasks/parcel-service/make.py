"""Makes the parcels. Run it in this folder; it writes the same bytes every time and prints the answers."""

import json
import pathlib
import random

TOWNS = ["Oudewater", "Bakel", "Zierikzee", "Winsum", "Thorn"]


def parcels(dice):
    depots = [
        {"id": f"D{number}", "town": town, "opens": dice.choice([7, 8, 9])}
        for number, town in enumerate(TOWNS, start=1)
    ]
    depots[0]["opens"], depots[2]["opens"] = 8, 8
    found = []
    for number in range(1, 141):
        parcel = {
            "id": f"P{number:04}",
            "depot": dice.choice(depots)["id"],
            "grams": dice.randrange(80, 9000, 5),
            "state": dice.choice(["held", "held", "on its way", "delivered", "lost"]),
        }
        if dice.random() < 0.15:
            parcel["moved_to"] = dice.choice(depots)["id"]
        found.append(parcel)
    return {"depots": depots, "parcels": found}


def main():
    data = parcels(random.Random(20))
    text = json.dumps(data, indent=1) + "\n"
    pathlib.Path("service/parcels.json").write_text(text, encoding="utf-8")
    towns = {depot["id"]: depot for depot in data["depots"]}
    at = lambda parcel: towns[parcel.get("moved_to", parcel["depot"])]
    print("a", sum(p["grams"] for p in data["parcels"] if p["state"] == "held" and at(p)["town"] == "Oudewater"))
    print("b", sum(
        p["state"] == "on its way" and p["grams"] > 6000 and at(p)["opens"] == 8 for p in data["parcels"]
    ))


if __name__ == "__main__":
    main()
