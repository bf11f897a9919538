"""How the settings of the demo's two students were chosen: the same number of trials for each, judged on the validation
split only (the last epoch's accuracy, mean over two seeds that the demo itself does not use).

    cargo build --release && python3 demo/search.py target/release/attar

Writes demo/search.json. Standard library only.
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
SEEDS = [101, 102]
EPOCHS = 12


def rate(peak):
    return f"train.learning_rate={{ at = [[1, {peak}], [{EPOCHS + 1}, 0.0]], join = 'cosine' }}"


# Losses are a list, so a trial writes its own recipe text; the learning rate is an ordinary override.
TRIALS = {
    "baseline": [{"peak": peak} for peak in (0.05, 0.1, 0.2)],
    "distilled": [
        {"peak": 0.1, "cd": 6.0, "gkd": 1.0},
        {"peak": 0.2, "cd": 6.0, "gkd": 1.0},
        {"peak": 0.1, "cd": 6.0, "gkd": 0.1},
    ],
}


def recipe(student, trial):
    text = (HERE / f"{student}.toml").read_text().replace('root = "data"', f'root = "{HERE / "data"}"')
    text = text.replace('path = "teacher"', f'path = "{HERE / "teacher"}"')
    if student == "distilled":
        cd, gkd = trial["cd"], trial["gkd"]
        text = text.replace("[[1, 6.0], [4, 5.4], [8, 4.86]]", f"[[1, {cd}], [4, {0.9 * cd}], [8, {0.81 * cd}]]")
        head, tail = text.split('name = "gkd"')
        text = head + 'name = "gkd"' + tail.replace("[[1, 0.0], [4, 1.0]]", f"[[1, 0.0], [4, {gkd}]]", 1)
    return text


def accuracy(program, student, trial, seed):
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "trial.toml"
        path.write_text(recipe(student, trial))
        verb = "train" if student == "baseline" else "distill"
        run = pathlib.Path(scratch) / "run"
        settings = [f"seed={seed}", f"train.epochs={EPOCHS}", rate(trial["peak"])]
        command = [program, verb, path, "--out", run] + [part for s in settings for part in ("--set", s)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return float(list(csv.DictReader((run / "metrics.csv").open()))[-1]["val_top1"])


def main(program):
    result = {"rule": "highest mean validation accuracy after the last epoch", "seeds": SEEDS, "epochs": EPOCHS, "trials": {}}
    for student, trials in TRIALS.items():
        rows = []
        for trial in trials:
            scores = [accuracy(program, student, trial, seed) for seed in SEEDS]
            rows.append({**trial, "val_top1": scores, "mean": sum(scores) / len(scores)})
            print(student, rows[-1], flush=True)
        best = max(rows, key=lambda row: row["mean"])
        result["trials"][student] = [{**row, "chosen": row is best} for row in rows]
    (HERE / "search.json").write_text(json.dumps(result, indent=2) + "\n")


main(sys.argv[1])
