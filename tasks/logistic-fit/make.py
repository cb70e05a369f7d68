"""Makes the tables of this task and prints the bounds of the score.

Run it in this folder; it writes the same bytes every time.
"""

import math
import pathlib
import random

NAMES = ["x1", "x2", "x3", "x4"]


def draw_a(rng):
    """Four features on very different scales; the log-odds are linear in them."""
    x = [rng.gauss(0, 1), rng.gauss(250, 40), rng.gauss(0.02, 0.01), rng.gauss(-3, 2)]
    z = 1.1 * x[0] + 0.035 * (x[1] - 250) - 90 * (x[2] - 0.02) + 0.3 * (x[3] + 3) - 0.4
    return x, z


def draw_b(rng):
    """Two features act through their product, one through its square; one is noise."""
    x = [rng.gauss(0, 1), rng.gauss(0, 1), rng.uniform(-2, 2), rng.gauss(5, 2)]
    z = 1.8 * x[0] * x[1] + 1.2 * (x[2] * x[2] - 4 / 3) + 0.5 * x[0] - 0.2
    return x, z


def table(rng, draw, count, first):
    rows = []
    for number in range(count):
        x, z = draw(rng)
        p = 1 / (1 + math.exp(-z))
        rows.append((first + number, [f"{value:.4f}" for value in x], int(rng.random() < p), p))
    return rows


def sample(name, seed, draw):
    rng = random.Random(seed)
    train, held = table(rng, draw, 600, 1), table(rng, draw, 300, 1001)
    files, score = pathlib.Path("files"), pathlib.Path("score")
    text = "".join(f"{number},{','.join(x)},{label}\n" for number, x, label, _ in train)
    (files / f"{name}-train.csv").write_text(f"id,{','.join(NAMES)},label\n" + text)
    text = "".join(f"{number},{','.join(x)}\n" for number, x, _, _ in held)
    (files / f"{name}-test.csv").write_text(f"id,{','.join(NAMES)}\n" + text)
    (score / f"{name}.csv").write_text("id,label\n" + "".join(f"{number},{label}\n" for number, _, label, _ in held))
    rate = sum(label for _, _, label, _ in train) / len(train)
    base = loss([(rate, label) for _, _, label, _ in held])
    true = loss([(p, label) for _, _, label, p in held])
    return f"base {base:.4f} true {true:.4f}"


def loss(pairs):
    return -sum(math.log(p if label else 1 - p) for p, label in pairs) / len(pairs)


print("a", sample("a", 61, draw_a))
print("b", sample("b", 62, draw_b))
