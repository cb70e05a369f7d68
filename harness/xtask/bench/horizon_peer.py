"""The peer of the benchmark of time horizons: METR's method with numpy and scikit-learn, on all cores.

    python horizon_peer.py RUNS.csv DRAWS

For each draw: families with replacement, tasks within each drawn copy of a family, runs within each task and model;
then a logistic regression of success on log2(minutes) for each model, with the weights that the runs have in the
whole file and C = 1/1e-5, and the lengths at 50 % and 80 %. As in METR's eval-analysis-public (arXiv 2503.14499).
Prints the 2.5 and 97.5 % points of the 50 % horizon of each model.
"""

import csv
import sys

import numpy as np
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression

RIDGE = 1e-5


def load(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    column = lambda name: np.array([row[name] for row in rows])
    data = {name: np.unique(column(key), return_inverse=True)[1] for name, key in
            [("family", "task_family"), ("task", "task_id"), ("model", "alias")]}
    data["names"] = np.unique(column("alias"))
    data["x"] = np.log2(column("human_minutes").astype(float))
    data["y"] = column("score_binarized").astype(int)
    weights = np.zeros(len(rows))
    for model in range(len(data["names"])):
        mine = np.flatnonzero(data["model"] == model)
        tasks, runs = np.unique(data["task"][mine], return_counts=True)
        runs = dict(zip(tasks, runs))
        pairs = {(data["family"][row], data["task"][row]) for row in mine}
        families, sizes = np.unique([family for family, _ in pairs], return_counts=True)
        sizes = dict(zip(families, sizes))
        share = [1 / (runs[data["task"][row]] * np.sqrt(sizes[data["family"][row]])) for row in mine]
        weights[mine] = np.array(share) / np.sum(share)
    data["weight"] = weights
    return data


def resample(data, rng):
    everything = np.arange(len(data["x"]))
    drawn = []
    families = np.unique(data["family"])
    for family in rng.choice(families, size=len(families)):
        rows = everything[data["family"] == family]
        tasks = np.unique(data["task"][rows])
        drawn += [rows[data["task"][rows] == task] for task in rng.choice(tasks, size=len(tasks))]
    drawn = np.concatenate(drawn)
    group = data["task"][drawn] * len(data["names"]) + data["model"][drawn]
    order = np.argsort(group, kind="stable")
    drawn, group = drawn[order], group[order]
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    sizes = np.diff(np.r_[starts, len(group)])
    offsets = (rng.random(len(group)) * np.repeat(sizes, sizes)).astype(int)
    return drawn[np.repeat(starts, sizes) + offsets]


def draw(data, number):
    rng = np.random.default_rng(42 + number)
    rows = resample(data, rng)
    found = np.full(len(data["names"]), np.nan)
    for model in range(len(data["names"])):
        mine = rows[data["model"][rows] == model]
        y = data["y"][mine]
        if len(np.unique(y)) < 2:
            continue
        fit = LogisticRegression(C=1 / RIDGE)
        fit.fit(data["x"][mine].reshape(-1, 1), y, sample_weight=data["weight"][mine])
        slope, intercept = fit.coef_[0][0], fit.intercept_[0]
        horizons = [np.exp2((np.log(p / (1 - p)) - intercept) / slope) for p in (0.5, 0.8)]
        found[model] = horizons[0]
    return found


def batch(data, numbers):
    return [draw(data, number) for number in numbers]


def main():
    data, draws = load(sys.argv[1]), int(sys.argv[2])
    batches = [range(start, min(start + 10, draws)) for start in range(0, draws, 10)]
    found = sum(Parallel(n_jobs=-1)(delayed(batch)(data, numbers) for numbers in batches), [])
    if found:
        for name, low, high in zip(data["names"], *np.nanquantile(np.array(found), [0.025, 0.975], axis=0)):
            print(name, low, high)


main()
