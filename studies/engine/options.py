"""Command-line flags of the studies. A bad flag or value is one line that names the nearest valid one."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sefar.cli import parse_overrides
from sefar.data.scope_name import FOLDERS, LISTS
from sefar.errors import ConfigError
from sefar.recipes import recipe
from studies.engine.space import Space
from studies.engine.space_file import load_space
from studies.engine.spec import Axis, Study
from studies.engine.sweep import SweepOptions
from studies.flags import Parser, at_least, listed, one_of
from studies.presets import PRESETS, preset

ADDRESSES = ("auto", "local")
SCOPE_ORDERS = ("round-robin", "cheap-first")


def sweep_parser(about: str) -> Parser:
    """The flags that all sweeps share."""
    parser = Parser(description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "presets:\n" + "\n".join(f"  {name:8} {p.about}" for name, p in PRESETS.items())
    add = parser.add_argument
    names = tuple(PRESETS)
    add("--preset", type=one_of(names), metavar=listed(names), default="default", help="how much work: %(default)s")
    add("--recipe", help="named configuration that trials depart from; default: the preset's")
    add("--scopes", nargs="+", metavar="SCOPE", help="label scopes, e.g. synthgym/event:FX@1pc#0 or lists:DIR")
    add("--trials", type=at_least(int, 1), metavar="N", help="trials a scope, the two named ones included")
    add("--epochs", type=at_least(int, 1), metavar="E", help="epochs of a whole trial")
    add(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of all trials, e.g. optim.learning_rate=2e-3",
    )
    add("--space", metavar="FILE.toml", help="changes to the search space; --dry-run prints the result as a table")
    add(
        "--scope-order",
        type=one_of(SCOPE_ORDERS),
        metavar=listed(SCOPE_ORDERS),
        default=SCOPE_ORDERS[0],
        help="deal trials to the scopes in turn, or finish the cheaper scopes first: %(default)s",
    )
    add(
        "--transfer",
        type=at_least(int, 0),
        default=0,
        metavar="K",
        help="with cheap-first: try the K best configurations of the cheaper scopes first in the next one",
    )
    add(
        "--confirm",
        type=at_least(int, 0),
        metavar="K",
        help="then run the K best of each scope and the named ones anew over seeds and label splits, and evaluate only "
        "these on the test clips; default: the preset's, 0 for none",
    )
    add("--confirm-seeds", type=at_least(int, 1), default=2, metavar="N", help="new training seeds each: %(default)s")
    add(
        "--confirm-splits",
        type=at_least(int, 0),
        default=2,
        metavar="N",
        help="new label splits each (…#0 → …#1, …#2), 0 for the searched one: %(default)s",
    )
    add(
        "--budget-hours",
        type=at_least(float, 0),
        metavar="H",
        help="stop cleanly after so many hours; the same command goes on another day",
    )
    add("--root", default="data", help="folder of the data sets: %(default)s")
    add(
        "--frame-store-gb",
        type=at_least(float, 0),
        metavar="GB",
        help="most that decoded clips may take on disk, 10^9 bytes; default: no limit",
    )
    add("--allow-missing", action="store_true", help="leave out clips that are absent or quarantined, and count them")
    add("--store", default="runs/sweep", help="result store, a path or s3://…, gs://…: %(default)s")
    add("--name", help="name of the study in the store; default: scope-sweep-PRESET")
    add("--resume", action="store_true", help="insist on going on with a study that the store holds")
    add(
        "--extend",
        type=at_least(int, 1),
        default=0,
        metavar="N",
        help="run N more trials a scope; what an earlier run has left is finished first, without more",
    )
    add("--retry-failed", action="store_true", help="take failed trials up again")
    add(
        "--address",
        type=one_of(ADDRESSES),
        metavar=listed(ADDRESSES),
        help="auto: join a running Ray; local: start one here. Default: auto in a Ray job, else local",
    )
    add(
        "--workers",
        type=at_least(int, 1),
        default=1,
        metavar="N",
        help="processes that train a trial together (a TorchTrainer each trial, slower to start): %(default)s",
    )
    add(
        "--gpus-per-worker",
        type=at_least(float, 0),
        metavar="F",
        help="GPUs a worker, e.g. 0.5 for two trials on one; default: 1 if there are any",
    )
    add("--concurrency", type=at_least(int, 1), metavar="N", help="trials at once; default: as many as fit")
    add(
        "--storage-patience",
        type=at_least(float, 0),
        default=10.0,
        metavar="MINUTES",
        help="how long results wait on this machine's disk for storage that does not answer: %(default)g",
    )
    add("--seed", type=at_least(int, 0), default=0, metavar="S", help="of training and of the search: %(default)s")
    add("--dry-run", action="store_true", help="print what would run and the search space, and stop")
    add("--verbose", action="store_true", help="tell what the engine does")
    add("--traceback", action="store_true", help="show where an error came from")
    return parser


def study_of(flags: argparse.Namespace, prefix: str, space: Space) -> Study:
    """The study that the flags describe.

    Raises:
        ConfigError, ScopeError: a recipe, scope, setting or name that does not exist or does not fit.
    """
    size = preset(flags.preset)
    name = flags.recipe or size.recipe
    overrides = dict(size.overrides) if name == size.recipe else {}
    overrides |= {"seed": flags.seed, "scope.root": lasting(flags.root)}
    if flags.frame_store_gb is not None:
        overrides["loader.frame_store_gb"] = flags.frame_store_gb
    if flags.allow_missing:
        overrides["scope.allow_missing"] = True
    if flags.epochs is not None:
        overrides["optim.epochs"] = flags.epochs
    if flags.space is not None:
        space = load_space(Path(flags.space), space)
    scopes = tuple(_absolute(scope) for scope in flags.scopes or size.scopes)
    axis = Axis(key="scope.name", values=scopes)
    settings = parse_overrides(tuple(flags.set))
    _check_settings(settings, space, axis)
    base = recipe(name, {**overrides, axis.key: scopes[0], **settings})
    return Study(
        name=flags.name or f"{prefix}-{flags.preset}",
        base=base,
        scopes=axis,
        space=space,
        trials=flags.trials or size.trials,
        recipe=name,
        seed=flags.seed,
    )


def _check_settings(settings: dict[str, str], space: Space, axis: Axis) -> None:
    """Refuse settings that the trials would not keep."""
    if axis.key in settings:
        raise ConfigError(f"--set {axis.key}: the study visits all of --scopes; give the value to --scopes instead")
    for key in [p.name for p in space.parameters if p.name in settings]:
        raise ConfigError(
            f"--set {key}: the search chooses it; leave it out, or try that value alone with "
            f"`sefar train --set {key}={settings[key]}`"
        )


def _absolute(scope: str) -> str:
    """Lists and folders are found again from a trial's working directory."""
    kind, _, folder = scope.partition(":")
    return f"{kind}:{Path(folder).expanduser().absolute()}" if kind in (LISTS, FOLDERS) and folder else scope


def lasting(path: str) -> str:
    """A path made absolute: from the working directory, but in a Ray job, which has its own deleted, from the home.

    URIs stay as they are.
    """
    if "://" in path:
        return path
    return os.path.abspath(Path.home() / Path(path).expanduser() if in_ray_job() else Path(path).expanduser())


def in_ray_job() -> bool:
    """Whether this process was started by ``ray job submit``."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def sweep_options(flags: argparse.Namespace) -> SweepOptions:
    """How the flags want the study run."""
    return SweepOptions(
        store=lasting(flags.store),
        resume=flags.resume,
        extend=flags.extend,
        retry_failed=flags.retry_failed,
        scope_order=flags.scope_order,
        transfer=flags.transfer,
        confirm=preset(flags.preset).confirm if flags.confirm is None else flags.confirm,
        confirm_seeds=flags.confirm_seeds,
        confirm_splits=flags.confirm_splits,
        budget_hours=flags.budget_hours,
        patience_seconds=60 * flags.storage_patience,
        workers=flags.workers,
        address=flags.address or ("auto" if os.environ.get("RAY_ADDRESS") else "local"),
        concurrency=flags.concurrency,
        gpus_per_worker=flags.gpus_per_worker,
    )
