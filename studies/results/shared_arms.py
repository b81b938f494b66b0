"""Runs that several ablations share: the store has each once, under the role of the arm that ran first."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pandas as pd

from sefar.config import TrainConfig
from sefar.errors import ConfigError
from studies.arms import ABLATIONS
from studies.results.schema import text_of
from studies.results.scores import REFERENCE

log = logging.getLogger(__name__)


def with_shared_arms(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials, and those again that are an arm of a further ablation of their study, under its role.

    On the default recipe ``components/perturbation`` and ``thresholds/tau_0`` are one run. An ablation's arms are
    looked for from its reference run of the same scope and seed; without that there is nothing to compare them with
    either. Only ablations with runs of their own are completed.

    Args:
        trials: rows of ``trials``; those without ``config_json`` (made by hand) have no further role.

    Returns:
        The rows given, with those added behind them: the same ``trial_id``, another ``role``.
    """
    if "config_json" not in trials:
        return trials
    added = [found for _, group in trials.groupby("study") for found in _found(group)]
    return pd.concat([trials, pd.DataFrame(added)], ignore_index=True) if added else trials


def _found(trials: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """Rows of one study that an ablation lacks."""
    rows = trials.to_dict("records")
    questions = {str(row["role"]).partition("/")[0] for row in rows if "/" in str(row["role"])} & set(ABLATIONS)
    if len(questions) < 2:
        return
    configs = [_config(row) for row in rows]
    hashes = [None if config is None else config.content_hash() for config in configs]
    for question in sorted(questions):
        own = {REFERENCE, f"{question}/{ABLATIONS[question].reference_arm.name}"}
        mine = {text for row, text in zip(rows, hashes, strict=True) if _of(row, question)}
        others = {
            text: row
            for row, text in zip(rows, hashes, strict=True)
            if text is not None and "/" in str(row["role"]) and text not in mine
        }
        bases = [config for row, config in zip(rows, configs, strict=True) if row["role"] in own and config is not None]
        wanted = {text: role for base in bases for role, text in _arms(question, base)}
        yield from (row | {"role": wanted[text]} for text, row in others.items() if text in wanted)


def _of(row: dict[Any, Any], question: str) -> bool:
    return str(row["role"]) == REFERENCE or str(row["role"]).startswith(f"{question}/")


def _arms(question: str, base: TrainConfig) -> Iterator[tuple[str, str]]:
    """Role and configuration of every arm that goes with the base."""
    for arm in ABLATIONS[question].arms:
        try:
            yield f"{question}/{arm.name}", ABLATIONS[question].config(arm, base).content_hash()
        except ConfigError as error:
            log.debug("arm %s/%s does not go with the recipe: %s", question, arm.name, error)


def _config(row: dict[Any, Any]) -> TrainConfig | None:
    """A trial's configuration; None where it is not recorded, or by a version that had other settings."""
    text = text_of(row.get("config_json"))
    if not text:
        return None
    try:
        return TrainConfig.from_dict(json.loads(text))
    except (ConfigError, ValueError) as error:
        log.info("trial %s: its configuration is of another version (%s)", row["trial_id"], error)
        return None
