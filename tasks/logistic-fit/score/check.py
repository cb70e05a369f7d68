"""Prints the score of the predicted probabilities: 0 for the base rate, 1 for the model that made the data."""

import csv
import io
import json
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402

# Mean log loss on the test rows: of the share of ones among the training rows, and of the true probabilities (make.py).
BOUNDS = {"a": (0.6843, 0.3903), "b": (0.6869, 0.4457)}


def read_predictions(text, wanted):
    """Returns the probability for each id, or None if the table is not exactly as asked for."""
    found = {}
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
        for row in rows:
            number, p = int(row["id"]), float(row["p"])
            if number in found or not 0 <= p <= 1:
                return None
            found[number] = p
    except (csv.Error, KeyError, TypeError, ValueError):
        return None
    return found if found.keys() == wanted else None


def main():
    sample = os.environ["HARNESS_SAMPLE"]
    with open(f"/score/{sample}.csv", newline="", encoding="utf-8") as file:
        labels = {int(row["id"]): int(row["label"]) for row in csv.DictReader(file)}
    text = guard.read_text("/home/agent/predictions.csv")
    predictions = None if text is None else read_predictions(text, labels.keys())
    if predictions is None:
        print("predictions.csv is missing or not as asked for")
        print(json.dumps({"score": 0.0}))
        return
    total, right = 0.0, 0
    for number, label in labels.items():
        p = min(max(predictions[number], 1e-6), 1 - 1e-6)
        total -= math.log(p if label else 1 - p)
        right += (p > 0.5) == bool(label)
    loss = total / len(labels)
    base, best = BOUNDS[sample]
    score = min(1.0, max(0.0, (base - loss) / (base - best)))
    print(json.dumps({"score": round(score, 4), "log_loss": round(loss, 4), "accuracy": round(right / len(labels), 4)}))


main()
