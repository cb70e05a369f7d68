"""Makes the two tables of each sample, and prints the targets.

Run it in this folder; it writes the same bytes every time.
"""

import csv
import datetime
import json
import pathlib
import random

PAYEES = ["Alder Print", "Birch Foods", "Cedar Travel", "Dogwood IT", "Elm Cleaning", "Fir Energy", "Gorse Media"]


def money(cents, style):
    whole, rest = divmod(cents, 100)
    if style == "plain":
        return f"{whole}.{rest:02}"
    return f"{whole:,}.{rest:02}"


def sample(name, seed, count, prefix):
    rng = random.Random(seed)
    start = datetime.date(2024, 4, 1)
    numbers = rng.sample(range(1000, 9999), count)
    bank, ledger = [], []
    target = {"missing_in_ledger": [], "missing_in_bank": [], "amount_differs": []}
    for number in numbers:
        reference = f"{prefix}{number}"
        cents = rng.randrange(500, 450000)
        day = start + datetime.timedelta(days=rng.randrange(60))
        payee = rng.choice(PAYEES)
        kind = rng.random()
        in_bank, in_ledger = cents, cents
        if kind < 0.05:
            in_ledger = None
            target["missing_in_ledger"].append(reference)
        elif kind < 0.10:
            in_bank = None
            target["missing_in_bank"].append(reference)
        elif kind < 0.16:
            in_ledger = cents + rng.choice([-9, -1, 1, 100, 270, -450])
            target["amount_differs"].append(reference)
        if in_bank is not None:
            bank.append([day.isoformat(), reference, payee.upper(), money(in_bank, "plain")])
        if in_ledger is not None:
            posted = day + datetime.timedelta(days=rng.randrange(4))
            shown = reference.lower() if rng.random() < 0.3 else reference
            shown = f" {shown} " if rng.random() < 0.2 else shown
            shown = shown.replace("-", " ") if rng.random() < 0.2 else shown
            ledger.append([shown, posted.strftime("%d.%m.%Y"), payee, money(in_ledger, "grouped")])
    rng.shuffle(ledger)
    bank.sort()
    write(f"{name}-bank.csv", ["date", "reference", "text", "amount"], bank)
    write(f"{name}-ledger.csv", ["ref", "posted", "payee", "amount"], ledger)
    return json.dumps({key: sorted(value) for key, value in target.items()})


def write(name, header, rows):
    with pathlib.Path("files", name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


print("a", sample("a", 7, 140, "INV-"))
print("b", sample("b", 8, 190, "PO-"))
