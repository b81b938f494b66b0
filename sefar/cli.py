"""Command line: ``sefar prepare | train | gallery``.

Errors meant for the user are one line on standard error with exit code 2; ``--traceback`` (or SEFAR_TRACEBACK=1) shows
where they came from.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sefar.errors import ConfigError, SefarError


@dataclass(frozen=True)
class Prepare:
    """Bring a data set to disk as clips: SynthGym, the embedded one, is rendered as H.264."""

    data_set: tyro.conf.Positional[Literal["synthgym"]]
    """Which data set."""
    root: Path = Path("data")
    """Folder of the data sets."""
    size: int = 80
    """Side of the square frames in pixels, even, from 64 up."""
    difficulty: str = "standard"
    """easy, standard or hard."""
    train_clips_per_element: int = 64
    """Training clips of each element."""
    test_clips_per_element: int = 24
    """Test clips of each element."""
    seed: int = 0
    """Seed of everything drawn."""
    scope: str = "synthgym/all"
    """Render only the clips of this scope, for instance synthgym/event:FX."""
    workers: int = 0
    """Processes; 0: one a core."""

    def run(self) -> None:
        """Render what is missing and say where it lies."""
        from sefar.data.scopes import ScopeConfig, parse_scope, subset_clips
        from sefar.data.synthgym import SynthGymConfig, prepare

        if parse_scope(self.scope).dataset != "synthgym":
            raise ConfigError(f"--scope: expected synthgym/…, got '{self.scope}'")
        config = SynthGymConfig(
            size=self.size,
            difficulty=self.difficulty,
            train_clips_per_element=self.train_clips_per_element,
            test_clips_per_element=self.test_clips_per_element,
            seed=self.seed,
        )
        clips = subset_clips(ScopeConfig(name=self.scope, root=str(self.root), synthgym=config))
        folder = prepare(self.root, config, clip_ids=clips.clip_id.tolist(), workers=self.workers or None)
        print(f"{len(clips)} clips of {clips.label.nunique()} elements in {folder}")


@dataclass(frozen=True)
class Train:
    """Train one configuration without Ray and evaluate it on the test set."""

    recipe: Annotated[str, tyro.conf.arg(aliases=["-r"])] = "synthgym_tiny"
    """A named configuration."""
    method: str = "sefar"
    """sefar, supervised or fixmatch."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE …")] = field(default=())
    """Dotted overrides, for instance optim.epochs=20 scope.name=synthgym/pairs@1pc#0."""
    out: Path = Path("runs/train")
    """Folder for the checkpoint and the metrics."""
    resume: bool = False
    """Go on from the folder's checkpoint."""
    device: str = ""
    """cpu, cuda, …; empty: a GPU where there is one."""

    def run(self) -> None:
        """Train, epoch by epoch, saving after each."""
        from sefar.recipes import recipe, with_method
        from sefar.training.run import train_in_folder

        config = with_method(recipe(self.recipe), self.method).override(parse_overrides(self.set))
        metrics = train_in_folder(config, self.out, resume=self.resume, device=self.device or None)
        print(", ".join(f"{name} {value:.1f} %" for name, value in metrics.items()))
        print(f"run folder: {self.out}")


@dataclass(frozen=True)
class Gallery:
    """Draw strips of a scope's clips as the model sees them: a row a class, frames bordered by granularity."""

    scope: str = "synthgym/core@1pc#0"
    """Which clips; one a class is drawn."""
    recipe: str = "synthgym_tiny"
    """Sampling and views are this configuration's."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE …")] = field(default=())
    """Dotted overrides."""
    clips_per_class: int = 1
    """Strips a class."""
    scale: int = 2
    """Enlargement of each frame."""
    out: Path = Path("runs/gallery.png")
    """The picture."""

    def run(self) -> None:
        """Draw and say where the picture lies."""
        from sefar.data.scopes import load_scope
        from sefar.gallery import class_strips, save_picture
        from sefar.recipes import recipe

        overrides: dict[str, str] = {"scope.name": self.scope, **parse_overrides(self.set)}
        config = recipe(self.recipe).override(overrides)
        for name in ("clips_per_class", "scale"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')}: expected an integer ≥ 1, got {getattr(self, name)}")
        scope = load_scope(config.scope)
        picture = class_strips(config, scope, clips_per_class=self.clips_per_class, scale=self.scale)
        save_picture(picture, self.out)
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


def run_reporting_errors(run: Callable[[], None], *, traceback: bool = False) -> int:
    """Run a command; a `SefarError` or Ctrl-C becomes one line and an exit code."""
    traceback = traceback or os.environ.get("SEFAR_TRACEBACK", "") not in ("", "0")
    try:
        run()
    except SefarError as error:
        if traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", file=sys.stderr)
        return 130
    return 0


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    arguments = [a for a in sys.argv[1:] if a != "--traceback"]
    commands: dict[str, Callable[..., Any]] = {"prepare": Prepare, "train": Train, "gallery": Gallery}
    command = tyro.extras.subcommand_cli_from_dict(commands, prog="sefar", args=arguments)
    sys.exit(run_reporting_errors(command.run, traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
