"""How the settings of the demo's students were chosen: the same number of trials for each, judged on the validation
split only (the last epoch's accuracy, mean over two seeds that the demo itself does not use).

    cargo build --release && python3 demo/search.py target/release/attar [STUDENT ...]

Writes demo/search.json; of students that are not named it keeps what is there. Standard library only.
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


TRIALS = {
    "baseline": [{"peak": peak} for peak in (0.05, 0.1, 0.2)],
    "kd": [{"peak": 0.1, "kd": 0.9}, {"peak": 0.2, "kd": 0.9}, {"peak": 0.2, "kd": 0.5}],
    "distilled": [
        {"peak": 0.1, "cd": 6.0, "gkd": 1.0},
        {"peak": 0.2, "cd": 6.0, "gkd": 1.0},
        {"peak": 0.1, "cd": 6.0, "gkd": 0.1},
    ],
}


def settings(trial, seed):
    cosine = f"{{ at = [[1, {trial['peak']}], [{EPOCHS + 1}, 0.0]], join = 'cosine' }}"
    yield from (f"seed={seed}", f"train.epochs={EPOCHS}", f"train.learning_rate={cosine}")
    if "kd" in trial:
        yield f"losses.kd.weight={trial['kd']}"
        yield f"losses.ce.weight={1.0 - trial['kd']:.1f}"
    if "cd" in trial:
        cd, gkd = trial["cd"], trial["gkd"]
        yield f"losses.cd.weight={{ at = [[1, {cd}], [4, {0.9 * cd}], [8, {0.81 * cd}]] }}"
        yield f"losses.gkd.weight={{ at = [[1, 0.0], [4, {gkd}]] }}"


def accuracy(program, student, trial, seed):
    with tempfile.TemporaryDirectory() as scratch:
        run = pathlib.Path(scratch) / "run"
        command = [program, "train" if student == "baseline" else "distill", HERE / f"{student}.toml", "--out", run]
        command += [part for setting in settings(trial, seed) for part in ("--set", setting)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return float(list(csv.DictReader((run / "metrics.csv").open()))[-1]["val_top1"])


def main(program, *students):
    result = {"rule": "highest mean validation accuracy after the last epoch", "seeds": SEEDS, "epochs": EPOCHS, "trials": {}}
    kept = json.loads((HERE / "search.json").read_text())["trials"] if students else {}
    for student, trials in TRIALS.items():
        if students and student not in students:
            result["trials"][student] = kept[student]
            continue
        rows = []
        for trial in trials:
            scores = [accuracy(program, student, trial, seed) for seed in SEEDS]
            rows.append({**trial, "val_top1": scores, "mean": sum(scores) / len(scores)})
            print(student, rows[-1], flush=True)
        best = max(rows, key=lambda row: row["mean"])
        result["trials"][student] = [{**row, "chosen": row is best} for row in rows]
    (HERE / "search.json").write_text(json.dumps(result, indent=2) + "\n")


main(*sys.argv[1:])
