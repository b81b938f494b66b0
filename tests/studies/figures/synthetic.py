"""Tables as studies write them, made up from a seed: enough to draw every figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sefar.data.synthgym.elements import ELEMENTS
from sefar.training.regulation import SPREAD_EDGES
from studies.results.scores import tidy_scores

SIX_SCOPES = (
    "synthgym/core@1pc#0",
    "synthgym/core@3pc#0",
    "synthgym/event:FX@1pc#0",
    "synthgym/pairs@1pc#0",
    "finegym/gym99@0.05#0",
    "finediving/a_subset_with_quite_a_long_name@0.1#0",
)
KINDS = ("reverse_fine", "none", "drop", "shuffle_fine", "warp", "reverse_all")
COLUMNS = {
    "study": "sweep",
    "stage": "search",
    "confirms": "",
    "train_seed": 0,
    "status": "finished",
    "error": None,
    "labelled_clips": 12,
    "epochs_planned": 8,
    "epochs_done": 8,
    "accelerator_seconds": 0.0,
}


def chosen(rng: np.random.Generator) -> dict[str, Any]:
    """A point of the sweep's space."""
    kind = str(rng.choice(KINDS))
    found: dict[str, Any] = {"perturb.kind": kind}
    if kind != "none":
        found["perturb.strength"] = float(rng.choice([0.25, 0.5, 0.75, 1.0]))
    if rng.random() < 0.4:
        found |= {"weighting.kind": "fixed", "weighting.threshold": float(rng.choice(np.arange(0.5, 0.96, 0.05)))}
    else:
        found |= {"weighting.kind": "adaptive", "weighting.kappa": float(np.exp(rng.uniform(1.6, 4.3)))}
        found |= {
            "weighting.alpha": float(np.exp(rng.uniform(-1.3, 1.3))),
            "teacher.passes": int(rng.integers(2, 11)) * 2,
        }
    found["objective.gamma_unlabelled"] = float(np.exp(rng.uniform(-0.7, 1.4)))
    return found | {"objective.gamma_mix": float(rng.integers(0, 9)) / 2}


DEFAULT = {
    "perturb.kind": "reverse_fine",
    "perturb.strength": 1.0,
    "weighting.kind": "adaptive",
    "weighting.kappa": 20.0,
    "weighting.alpha": 1.0,
    "teacher.passes": 10,
    "objective.gamma_unlabelled": 2.0,
    "objective.gamma_mix": 2.0,
}


def search_trials(
    scopes: Sequence[str] = SIX_SCOPES[:2], count: int = 12, *, test: bool = True, seed: int = 0
) -> pd.DataFrame:
    """A search: the default, the supervised baseline, and trials of which some were pruned and one failed."""
    rng = np.random.default_rng(seed)
    rows = []
    for place, scope in enumerate(scopes):
        for number in range(count):
            role = ("default", "supervised")[number] if number < 2 else "search"
            parameters = DEFAULT if role == "default" else ({} if role == "supervised" else chosen(rng))
            status = "finished"
            if number > 3:
                status = str(rng.choice(["finished", "pruned"], p=[0.6, 0.4]))
            if number == 5 and count > 8:
                status = "failed"
            dev = 62 + 5 * place + rng.normal(0, 3) + 3 * (parameters.get("perturb.kind") == "reverse_fine")
            dev -= 8 * (role == "supervised")
            done = {"finished": 8, "failed": 0}.get(status, int(rng.choice([2, 4, 6])))
            finished = status == "finished"
            rows.append(
                COLUMNS
                | {
                    "scope": scope,
                    "trial_id": f"{place}-{number:03d}",
                    "number": number,
                    "role": role,
                    "status": status,
                    "error": "clips/a.mp4: does not decode" if status == "failed" else None,
                    "parameters": json.dumps(parameters),
                    "dev_student_top1": np.nan if status == "failed" else dev,
                    "dev_teacher_top1": np.nan if role == "supervised" else dev + 1,
                    "test_student_top1": dev - 2 + rng.normal(0, 1) if test and finished else np.nan,
                    "test_teacher_top1": dev - 1 if test and finished and role != "supervised" else np.nan,
                    "epochs_done": done,
                    "seconds": float(rng.uniform(0.8, 1.3) * 40 * max(done, 1) * (0.5 if role == "supervised" else 1)),
                }
            )
    return pd.DataFrame(rows)


def confirm_trials(search: pd.DataFrame, *, runs: int = 4, best: int = 3, seed: int = 1) -> pd.DataFrame:
    """The best of a search and both baselines, over seeds and label splits."""
    rng = np.random.default_rng(seed)
    rows = []
    for scope, group in search[search.status == "finished"].groupby("scope", sort=False):
        order = group.sort_values("dev_student_top1", ascending=False)
        searched = order[~order.role.isin(["default", "supervised"])].head(best)
        for row in pd.concat([order[order.role.isin(["default", "supervised"])], searched]).to_dict("records"):
            for run in range(runs):
                dev = row["dev_student_top1"] - 1 + rng.normal(0, 2)
                rows.append(
                    row
                    | {
                        "trial_id": f"confirm-{row['trial_id']}-{run}",
                        "stage": "confirm",
                        "confirms": "" if row["role"] in ("default", "supervised") else row["trial_id"],
                        "scope": f"{str(scope)[:-1]}{run % 2}",
                        "train_seed": run,
                        "dev_student_top1": dev,
                        "test_student_top1": dev - 2 + rng.normal(0, 1),
                    }
                )
    return pd.DataFrame(rows)


def epochs_of(trials: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Learning curves that end at each trial's dev accuracy; one epoch has none."""
    rng = np.random.default_rng(seed)
    rows = []
    for trial in trials.to_dict("records"):
        for epoch in range(1, trial["epochs_done"] + 1):
            rise = 14 * (np.exp(-epoch / 2.5) - np.exp(-trial["epochs_done"] / 2.5))
            noise = rng.normal(0, 0.8) if epoch < trial["epochs_done"] else 0.0
            dev = np.nan if (epoch == 2 and trial["number"] == 3) else trial["dev_student_top1"] - rise + noise
            rows.append({k: trial[k] for k in ("scope", "trial_id")} | {"epoch": epoch, "dev_student_top1": dev})
    return pd.DataFrame(rows, columns=["scope", "trial_id", "epoch", "dev_student_top1"])


def grid_trials(
    roles: dict[str, float], scope: str, seeds: int = 5, *, labels: int = 12, seed: int = 0
) -> pd.DataFrame:
    """Finished trials of a grid: a role a method with its mean accuracy, a split and training seed a number."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(seeds):
        luck = rng.normal(0, 1.5)
        for role, mean in roles.items():
            top1 = mean + luck + rng.normal(0, 1)
            rows.append(
                COLUMNS
                | {
                    "study": "grid",
                    "scope": f"{scope}#{number}",
                    "trial_id": f"{role}-{scope}-{number}",
                    "number": number,
                    "train_seed": number,
                    "role": role,
                    "parameters": "{}",
                    "labelled_clips": labels,
                    "dev_student_top1": top1 + 1,
                    "test_student_top1": top1,
                    "test_teacher_top1": top1 + 0.5,
                    "seconds": 100.0 + 20 * len(role),
                }
            )
    return pd.DataFrame(rows)


def efficiency_scores(seeds: int = 3, fractions: Sequence[tuple[str, int]] | None = None) -> pd.DataFrame:
    """SeFAR, supervised and two FixMatch thresholds over label fractions whose errors follow a law."""
    fractions = fractions or (("1pc", 12), ("3pc", 36), ("0.1", 90), ("0.3", 270), ("1", 900))
    tables = []
    for place, (fraction, labels) in enumerate(fractions):
        roles = {
            f"sefar @{fraction}": 100 - (8 + 90 * labels**-0.5),
            f"supervised @{fraction}": 100 - (8 + 150 * labels**-0.45),
            f"fixmatch τ=0.8 @{fraction}": 100 - (8 + 100 * labels**-0.45),
            f"fixmatch τ=0.95 @{fraction}": 100 - (8 + 130 * labels**-0.45),
        }
        tables.append(grid_trials(roles, f"synthgym/core@{fraction}", seeds, labels=labels, seed=place))
    return tidy_scores(pd.concat(tables, ignore_index=True))


def threshold_scores(scopes: Sequence[str] = ("synthgym/core@1pc",), seeds: int = 4) -> pd.DataFrame:
    """The ablation ``thresholds``."""
    taus = {0: 56, 0.3: 58, 0.5: 61, 0.7: 62, 0.8: 61.5, 0.9: 58, 0.95: 55}
    roles = {"reference": 64.0, "supervised": 52.0} | {f"thresholds/tau_{t:g}": float(v) for t, v in taus.items()}
    return tidy_scores(
        pd.concat([grid_trials(roles, scope, seeds, seed=n) for n, scope in enumerate(scopes)], ignore_index=True)
    )


def class_names(classes: int) -> list[tuple[str, str]]:
    """Name and set of each class: SynthGym's elements, which are long, then longer ones."""
    found = [(element.name, element.set) for element in ELEMENTS]
    more = [
        (
            f"(UB) giant circle backward with {n} turn to handstand, dollar $ and {n}",
            f"UB set with a long name {n // 6}",
        )
        for n in range(99)
    ]
    return (found + more)[:classes]


def predictions_of(
    trial_id: str = "t", classes: int = 10, clips: int = 8, accuracy: float = 0.6, *, names: bool = True, seed: int = 0
) -> pd.DataFrame:
    """Test predictions whose errors fall within the set more often than not; the same clips whatever the trial."""
    rng = np.random.default_rng(seed)
    known = class_names(classes)
    same = [[k for k in range(classes) if known[k][1] == known[label][1]] for label in range(classes)]
    rows = []
    for label in range(classes):
        for clip in range(clips):
            said = label
            if rng.random() > min(0.98, accuracy + 0.25 * np.sin(label)):
                said = int(rng.choice(same[label])) if rng.random() < 0.6 else int(rng.integers(classes))
            others = [k for k in rng.permutation(classes).tolist() if k != said]
            rows.append(
                {
                    "trial_id": trial_id,
                    "part": "test",
                    "clip_id": f"c{label}-{clip}",
                    "label": label,
                    "label_name": known[label][0] if names else None,
                    "set": known[label][1] if names else None,
                    "group": f"v{clip // 2}" if names else None,
                    "student_top5": [said, *others[:4]],
                    "teacher_top5": None,
                }
            )
    return pd.DataFrame(rows)


def regulation_of(trial_id: str = "t", epochs: int = 3, *, known: bool = True, seed: int = 0) -> pd.DataFrame:
    """Histograms of confidence and spread in which the sure are right more often."""
    rng = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        for c in range(1, 10):
            for s in range(10):
                clips = int(rng.poisson(400 * np.exp(-((c - 7) ** 2) / 8 - (s - (9 - c)) ** 2 / 5)))
                if not clips:
                    continue
                right = rng.binomial(clips, min(0.97, max(0.05, 0.1 + 0.09 * c - 0.03 * s)))
                rows.append(
                    {
                        "trial_id": trial_id,
                        "epoch": epoch,
                        "confidence_low": c / 10,
                        "confidence_high": (c + 1) / 10,
                        "spread_low": SPREAD_EDGES[s],
                        "spread_high": SPREAD_EDGES[s + 1],
                        "clips": clips,
                        "known_clips": clips if known else 0,
                        "right_clips": int(right) if known else 0,
                        "weight_sum": clips * 0.08 * c * (1 - 0.09 * s),
                    }
                )
    return pd.DataFrame(rows)


def clip_frames(frames: int = 16, height: int = 64, width: int = 80, seed: int = 0) -> np.ndarray:
    """A bright square that crosses a noisy field."""
    rng = np.random.default_rng(seed)
    clip_THWC = rng.integers(40, 90, (frames, height, width, 3), dtype=np.uint8)
    for t in range(frames):
        left = int(t / max(frames - 1, 1) * (width - 20))
        clip_THWC[t, 20:44, left : left + 20] = (230, 180, 40)
    return clip_THWC
