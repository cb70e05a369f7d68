# Prints the differences between the two tables as JSON.
exec python3 - <<'END'
import csv
import json


def rows(path, key):
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield row[key].strip().upper().replace(" ", "-"), row["amount"].replace(",", "")


bank = dict(rows("/data/bank.csv", "reference"))
ledger = dict(rows("/data/ledger.csv", "ref"))
print(json.dumps({
    "missing_in_ledger": sorted(bank.keys() - ledger.keys()),
    "missing_in_bank": sorted(ledger.keys() - bank.keys()),
    "amount_differs": sorted(key for key in bank.keys() & ledger.keys() if bank[key] != ledger[key]),
}))
END
