# Fits a logistic regression on standardised features, in sample b with squares and products too, by Newton's method.
python3 - "$HARNESS_SAMPLE" <<'END'
import csv
import math
import sys

NAMES = ["x1", "x2", "x3", "x4"]
DECAY = 0.5


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def solve(matrix, right):
    rows = [row[:] + [value] for row, value in zip(matrix, right)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(size):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i])]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def probability(weights, x):
    z = sum(w * value for w, value in zip(weights, x))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, z))))


train, test = read("/data/train.csv"), read("/data/test.csv")
raw = [[float(row[name]) for name in NAMES] for row in train]
means = [sum(column) / len(raw) for column in zip(*raw)]
spreads = [math.sqrt(sum((v - m) ** 2 for v in column) / len(raw)) for column, m in zip(zip(*raw), means)]


def features(row):
    x = [(float(row[name]) - m) / s for name, m, s in zip(NAMES, means, spreads)]
    if sys.argv[1] == "b":
        x += [x[i] * x[j] for i in range(4) for j in range(i, 4)]
    return [1.0] + x


inputs = [features(row) for row in train]
labels = [int(row["label"]) for row in train]
size = len(inputs[0])
weights = [0.0] * size
for _ in range(15):
    gradient = [-DECAY * w if i else 0.0 for i, w in enumerate(weights)]
    curvature = [[DECAY if i == j and i else 0.0 for j in range(size)] for i in range(size)]
    for x, label in zip(inputs, labels):
        p = probability(weights, x)
        for i in range(size):
            gradient[i] += (label - p) * x[i]
            for j in range(size):
                curvature[i][j] += p * (1 - p) * x[i] * x[j]
    weights = [w + change for w, change in zip(weights, solve(curvature, gradient))]
with open("/home/agent/predictions.csv", "w") as file:
    file.write("id,p\n")
    for row in test:
        file.write(f"{row['id']},{probability(weights, features(row)):.6f}\n")
END
echo done
