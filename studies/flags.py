"""Parsing of command lines. A bad flag or value is one line that names the nearest valid one. Imports nothing heavy."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from sefar.errors import ConfigError, nearest


class Parser(argparse.ArgumentParser):
    """argparse that raises `ConfigError` instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Bring argparse's complaint into one line."""
        flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            name = unknown[1].split("=")[0]
            raise ConfigError(f"{name}: unknown flag{nearest(name, flags)}")
        raise ConfigError(message.removeprefix("argument "))


def at_least(kind: Callable[[str], Any], least: float) -> Callable[[str], Any]:
    """An argument's type: a number from `least` up."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not value >= least:
            what = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {what} ≥ {least:g}, got '{text}'")
        return value

    return parse


def one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    """An argument's type: one of some names; `listed` shows them in the usage."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"'{text}' is unknown{nearest(text, choices)}")
        return text

    return parse


def listed(choices: tuple[str, ...]) -> str:
    """A flag's metavar: ``{a,b}``."""
    return f"{{{','.join(choices)}}}"
