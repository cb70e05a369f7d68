"""Makes the stops of this task and prints the shortest tours found.

Run it in this folder; it writes the same bytes every time.
"""

import math
import pathlib
import random


def length(points, tour):
    return sum(math.dist(points[tour[i - 1]], points[tour[i]]) for i in range(len(tour)))


def improve(points, tour):
    """Exchanges pairs of legs (2-opt) and moves short chains (Or-opt) until nothing helps."""
    count = len(tour)
    d = [[math.dist(a, b) for b in points] for a in points]
    better = True
    while better:
        better = False
        for i in range(count - 1):
            for j in range(i + 2, count - (i == 0)):
                a, b, c, e = tour[i], tour[i + 1], tour[j], tour[(j + 1) % count]
                if d[a][c] + d[b][e] < d[a][b] + d[c][e] - 1e-9:
                    tour[i + 1:j + 1] = reversed(tour[i + 1:j + 1])
                    better = True
        for size in (1, 2, 3):
            for i in range(count):
                chain = [tour[(i + k) % count] for k in range(size)]
                rest = [stop for stop in tour if stop not in chain]
                before, after = tour[i - 1], tour[(i + size) % count]
                gain = d[before][chain[0]] + d[chain[-1]][after] - d[before][after]
                for k in range(len(rest)):
                    p, q = rest[k - 1], rest[k]
                    for piece in (chain, chain[::-1]):
                        if d[p][piece[0]] + d[piece[-1]][q] - d[p][q] < gain - 1e-9:
                            tour[:] = rest[:k] + piece + rest[k:]
                            better = True
                            break
                    else:
                        continue
                    break
    return tour


def sample(name, seed, count, clusters):
    rng = random.Random(seed)
    centres = [(rng.randrange(150, 850), rng.randrange(150, 850)) for _ in range(clusters)]
    points = []
    while len(points) < count:
        if clusters and rng.random() < 0.8:
            x, y = rng.choice(centres)
            point = (round(rng.gauss(x, 60)), round(rng.gauss(y, 60)))
        else:
            point = (rng.randrange(1000), rng.randrange(1000))
        if point not in points and 0 <= min(point) and max(point) < 1000:
            points.append(point)
    rows = "".join(f"{number},{x},{y}\n" for number, (x, y) in enumerate(points))
    pathlib.Path("files", f"{name}.csv").write_text("stop,x,y\n" + rows)
    best = math.inf
    for _ in range(60):
        tour = list(range(count))
        rng.shuffle(tour)
        best = min(best, length(points, improve(points, tour)))
    return best


print("a", sample("a", 5, 60, 0))
print("b", sample("b", 6, 80, 6))
