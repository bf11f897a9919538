"""Two steps of every recipe in recipes/compare and of the schemes that need one run, on the CPU and on the emulated card.

    LD_LIBRARY_PATH=... python3 recipes.py ATTAR FOLDER [recipe ...]

Data, teacher and student are the demo's, so a recipe's losses, views and peers are what is compared. Ends with 1 where the loss of
the card is not that of the CPU.
"""

import csv
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Chains of runs, and answers that would have to be stored first.
NOT_HERE = {"born-again", "feed-sequential", "stored-labels", "teacher-assistant"}
TOLERANCE = 1e-3  # of the loss after the first step has moved the weights
SETTINGS = [
    f'data.source={{ kind = "idx", root = "{ROOT}/demo/data" }}',
    "data.preprocessing={ channels = 1, mean = [0.2860], std = [0.3530] }",
    "data.validation=0.4",
    "data.train_subset=20",
    "data.test_subset=8",
    'student.network={ name = "resnet8" }',
    "train.epochs=1",
    "train.batch=8",
    "train.threads=1",
]


def loss(program, recipe, device, out):
    """The mean loss of the steps, or the end of what was said instead."""
    text, settings = recipe.read_text(), [*SETTINGS, f"device={device}"]
    teachers = re.findall(r'\[\[teachers\]\]\nname = "([\w-]+)"', text) or ["teacher"]  # that of the base
    if "teachers = []" not in text:
        settings += [f'teachers.{name}.from={{ kind = "bundle", path = "{ROOT}/demo/teacher" }}' for name in teachers]
    verb = "train" if recipe.stem in ("alone", "adversarial-teacher") else "distill"  # from labels alone
    command = [program, verb, str(recipe), *[word for setting in settings for word in ("--set", setting)], "--out", str(out)]
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None, " | ".join(done.stderr.strip().splitlines()[-4:])
    with open(out / "metrics.csv") as file:
        return float(list(csv.DictReader(file))[-1]["train_loss"]), ""


def main():
    program, folder, *asked = sys.argv[1:]
    recipes = sorted((ROOT / "recipes/compare").glob("*.toml")) + sorted((ROOT / "recipes/schemes").glob("*.toml"))
    wrong = 0
    for recipe in recipes:
        if recipe.stem in NOT_HERE or (asked and recipe.stem not in asked):
            continue
        found = [loss(program, recipe, device, pathlib.Path(folder) / f"{recipe.stem}-{device}") for device in ("cpu", "cuda")]
        (cpu, why_cpu), (card, why_card) = found
        right = None not in (cpu, card) and abs(cpu - card) <= TOLERANCE * abs(cpu)
        wrong += not right
        print(f"{recipe.stem:<24} {cpu!s:>20} {card!s:>20}  {'ok' if right else 'WRONG ' + why_cpu + why_card}", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
