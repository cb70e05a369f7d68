# Improves random trips by 2-opt and Or-opt, and writes the best.
python3 - <<'END'
import csv
import math
import random

with open("/data/stops.csv", newline="") as file:
    stops = [(int(row["x"]), int(row["y"])) for row in csv.DictReader(file)]
count = len(stops)
distance = [[math.dist(a, b) for b in stops] for a in stops]
rng = random.Random(1)


def length(tour):
    return sum(distance[tour[i - 1]][tour[i]] for i in range(count))


def improve(tour):
    better = True
    while better:
        better = False
        for i in range(count - 1):
            for j in range(i + 2, count - (i == 0)):
                a, b, c, d = tour[i], tour[i + 1], tour[j], tour[(j + 1) % count]
                if distance[a][c] + distance[b][d] < distance[a][b] + distance[c][d] - 1e-9:
                    tour[i + 1:j + 1] = reversed(tour[i + 1:j + 1])
                    better = True
        for stop in range(count):
            rest = [other for other in tour if other != stop]
            found = min(range(count - 1), key=lambda k: length_with(rest, k, stop))
            candidate = rest[:found] + [stop] + rest[found:]
            if length(candidate) < length(tour) - 1e-9:
                tour[:] = candidate
                better = True
    return tour


def length_with(rest, k, stop):
    return distance[rest[k - 1]][stop] + distance[stop][rest[k]] - distance[rest[k - 1]][rest[k]]


best = min((improve(rng.sample(range(count), count)) for _ in range(12)), key=length)
with open("/home/agent/tour.txt", "w") as file:
    file.write("".join(f"{stop}\n" for stop in best))
END
echo done
