"""Command line: ``sefar prepare | scopes | train | evaluate | gallery``.

Errors meant for the user are one line on standard error with exit code 2; ``--traceback`` (or SEFAR_TRACEBACK=1) shows
where they came from.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sefar.cli_data import Scopes
from sefar.cli_prepare import Prepare
from sefar.errors import ConfigError, SefarError


@dataclass(frozen=True)
class Train:
    """Train one configuration without Ray and evaluate it on the test set."""

    recipe: Annotated[str, tyro.conf.arg(aliases=["-r"])] = "synthgym_tiny"
    """A named configuration."""
    method: str = "sefar"
    """sefar, supervised, fixmatch, or fixmatch_single: FixMatch on a network of one granularity."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE …")] = field(default=())
    """Dotted overrides, for instance optim.epochs=20 scope.name=synthgym/pairs@1pc#0."""
    out: Path = Path("runs/train")
    """Run folder: checkpoint, metrics, TensorBoard files, evaluation of the test set."""
    resume: bool = False
    """Go on from the folder's checkpoint."""
    device: str = ""
    """cpu, cuda, …; empty: a GPU where there is one."""
    processes: int = 1
    """Processes that train together on the CPU; 2 are nearly twice as fast on two cores."""
    allow_missing: bool = False
    """Leave out clips that are absent or quarantined, and count them."""
    frame_store_gb: float | None = None
    """Most that decoded clips may take on disk, 10^9 bytes; None: no limit."""

    def run(self) -> None:
        """Train, epoch by epoch, saving after each."""
        from sefar.recipes import SINGLE, recipe, with_method
        from sefar.training.evaluation_files import summary
        from sefar.training.run import train_in_folder

        overrides: dict[str, Any] = dict(parse_overrides(self.set))
        if self.allow_missing:
            overrides["scope.allow_missing"] = True
        if self.frame_store_gb is not None:
            overrides["loader.frame_store_gb"] = self.frame_store_gb
        config = with_method(recipe(self.recipe), self.method).override(overrides)
        if self.method == SINGLE and len(config.sampling.frames_per_granularity) > 1:
            raise ConfigError(
                f"--method {SINGLE}: has one granularity; set sampling.frames_per_granularity to one number, or use "
                "fixmatch"
            )
        if self.processes < 1:
            raise ConfigError(f"--processes: expected an integer ≥ 1, got {self.processes}")
        metrics = train_in_folder(
            config, self.out, resume=self.resume, device=self.device or None, processes=self.processes
        )
        print(summary(metrics))
        print(f"run folder: {self.out}")


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a run folder that `sefar train` has made, and write tables of what is right and wrong into it."""

    folder: tyro.conf.Positional[Path]
    """The run folder."""
    part: Literal["test", "dev"] = "test"
    """Clips reported once, or clips to choose by."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE …")] = field(default=())
    """Dotted overrides of how it is evaluated, for instance evaluation.views=5, or of scope.root."""
    device: str = ""
    """cpu, cuda, …; empty: a GPU where there is one."""
    out: Path | None = None
    """Another folder for the tables."""

    def run(self) -> None:
        """Evaluate and print student and teacher side by side."""
        from sefar.training.evaluate_run import evaluate_run
        from sefar.training.evaluation_files import summary

        evaluation, about = evaluate_run(
            self.folder,
            self.part,
            overrides=parse_overrides(self.set),
            device=self.device or None,
            out=self.out,
        )
        print(
            f"{about['scope']}, {self.part}: {about['clips']} clips of {about['classes']} classes, "
            f"views × crops {about['views']} × {about['crops']}, epoch {about['epoch']}"
        )
        print(summary(evaluation.metrics))
        print(f"tables: {self.out or self.folder}/*-{self.part}.*")


@dataclass(frozen=True)
class Gallery:
    """Draw clips as the model sees them: strips a class, training views, perturbations, mixed clips."""

    what: tuple[str, ...] = ("classes",)
    """classes, views, perturbations, mixing, several of them, or all."""
    scope: str = "synthgym/core@1pc#0"
    """Which clips."""
    clip: str = ""
    """Clip of views, perturbations and mixing; empty: the scope's first labelled one."""
    partner: str = ""
    """Clip it is mixed with; empty: one of another class, drawn with the seed."""
    seed: int = 0
    """Seed of the random views, perturbations and masks."""
    recipe: str = "synthgym_tiny"
    """Sampling, views, perturbation and mixing are this configuration's."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE …")] = field(default=())
    """Dotted overrides."""
    clips_per_class: int = 1
    """Strips a class."""
    scale: int = 2
    """Enlargement of each frame."""
    colours: int = 0
    """Reduce the picture to so many colours for a smaller file, 2 to 256; 0: keep all."""
    out: Path = Path("runs/gallery.png")
    """The picture."""

    def run(self) -> None:
        """Draw and say where the picture lies."""
        from sefar.data.scopes import load_scope
        from sefar.gallery import Gallery as Pictures
        from sefar.gallery import sections
        from sefar.recipes import recipe
        from sefar.strips import save_picture

        what = sections(self.what)  # before any clip is rendered
        overrides: dict[str, str] = {"scope.name": self.scope, **parse_overrides(self.set)}
        config = recipe(self.recipe).override(overrides)
        for name, least in (("clips_per_class", 1), ("scale", 1), ("seed", 0)):
            if getattr(self, name) < least:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag}: expected an integer ≥ {least}, got {getattr(self, name)}")
        if self.colours and not 2 <= self.colours <= 256:
            raise ConfigError(f"--colours: expected 0 or an integer from 2 to 256, got {self.colours}")
        pictures = Pictures(
            config=config,
            scope=load_scope(config.scope),
            clips_per_class=self.clips_per_class,
            clip=self.clip,
            partner=self.partner,
            seed=self.seed,
        )
        save_picture(pictures.draw(what, scale=self.scale), self.out, colours=self.colours)
        print(f"picture: {self.out}")


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, str]:
    """``("a.b=1",)`` → ``{"a.b": "1"}``.

    Raises:
        ConfigError: a pair without ``=``.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--set: expected key=value such as optim.epochs=20, got '{pair}'")
    return dict(pair.split("=", 1) for pair in pairs)


def run_reporting_errors(run: Callable[[], int | None], *, traceback: bool = False) -> int:
    """Run a command and return its exit code, 0 if it gives none; users' and files' errors and Ctrl-C are one line."""
    traceback = traceback or os.environ.get("SEFAR_TRACEBACK", "") not in ("", "0")
    try:
        return run() or 0
    except SefarError as error:
        if traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # a reader such as `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python's own flush at the end fails too
        return 1
    except OSError as error:  # a folder that may not be entered, a name that no disk can hold, a full disk
        if traceback or not error.filename:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", file=sys.stderr)
        return 130


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # names of files may be any bytes
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's time limit ends as Ctrl-C does
    arguments = [a for a in sys.argv[1:] if a != "--traceback"]
    commands: dict[str, Callable[..., Any]] = {
        "prepare": Prepare,
        "scopes": Scopes,
        "train": Train,
        "evaluate": Evaluate,
        "gallery": Gallery,
    }
    command = tyro.extras.subcommand_cli_from_dict(commands, prog="sefar", args=arguments)
    sys.exit(run_reporting_errors(command.run, traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
