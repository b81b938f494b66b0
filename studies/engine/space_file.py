"""Changes to a search space, read from a TOML file: a table a parameter, named by its dotted configuration key.

[weighting.threshold]      # another range; what is not given stays
low = 0.6
high = 0.9

[perturb.kind]             # other choices
choices = ["reverse_fine", "drop", "none"]

[objective.gamma_mix]      # not searched: the value that the recipe or --set gives
search = false

[optim.learning_rate]      # a further parameter
low = 1e-5
high = 1e-4
log = true
when = { "weighting.kind" = ["adaptive"] }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sefar.config import TrainConfig
from sefar.errors import ConfigError, nearest
from studies.engine.space import Parameter, Space

FIELDS = ("choices", "low", "high", "step", "log", "integer", "when", "search")
ALWAYS = "always"  # `when = "always"` takes a condition away
NOT_SEARCHED = ("scope.", "seed", "optim.epochs")  # by these trials of one scope would not be comparable


def load_space(path: Path, base: Space) -> Space:
    """`base` with the changes of the file.

    Raises:
        ConfigError: the file cannot be read, or one of its lines is wrong; the message begins with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"--space {path}: cannot be read ({reason}); give a TOML file") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_toml_fault(path, error)) from None

    def where(name: str) -> str:
        return f"{path}:{_line_of(text, name)}: [{name}]"

    parameters = {p.name: p for p in base.parameters}
    changed = dict(_entries(tables, where))
    for name, fields in changed.items():
        if fields.get("search") is False:
            if name not in parameters:
                raise ConfigError(f"{where(name)} search = false: it is not searched{nearest(name, parameters)}")
            del parameters[name]
        else:
            parameters[name] = _merged(parameters.get(name), name, fields, where(name))
    return _space(list(parameters.values()), changed, where)


def _toml_fault(path: Path, error: tomllib.TOMLDecodeError) -> str:
    """``Expected '=' after a key (at line 3, column 5)`` with the line where an editor looks for it."""
    match = re.match(r"(.*) \(at line (\d+), column (\d+)\)$", str(error))
    return f"{path}:{match[2]}: {match[1]} (column {match[3]})" if match else f"{path}: {error}"


def _line_of(text: str, name: str) -> int:
    """Line of a parameter's table, or of the last part of its name; 1 when it is written some other way."""
    lines = [re.sub(r"[\s\"']", "", line) for line in text.splitlines()]
    for start in (f"[{name}]", f"{name}=", f"{name}.", f"{name.rpartition('.')[2]}="):
        for number, line in enumerate(lines, 1):
            if line.startswith(start):
                return number
    return 1


def _entries(tables: dict[str, Any], where: Callable[[str], str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parameters' names and fields, whether written ``["a.b"]`` or ``[a.b]``."""
    keys = TrainConfig().flatten()

    def walk(prefix: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, value in node.items():
            name = prefix + key
            if name in keys and name.startswith(NOT_SEARCHED):
                raise ConfigError(f"{where(name)}: is the same for all trials of a scope; give it with a flag or --set")
            if name in keys:
                yield name, _checked(value, where(name))
            elif isinstance(value, dict) and any(known.startswith(f"{name}.") for known in keys):
                yield from walk(f"{name}.", value)
            else:
                raise ConfigError(f"{where(name)}: unknown configuration key{nearest(name, keys)}")

    yield from walk("", tables)


def _checked(fields: Any, where: str) -> dict[str, Any]:
    """The fields, each of the right type."""
    if not isinstance(fields, dict):
        raise ConfigError(f"{where}: expected a table such as {{ low = 0.6, high = 0.9 }}, got {fields!r}")
    for name, value in fields.items():
        if name not in FIELDS:
            raise ConfigError(f"{where} {name}: unknown field{nearest(name, FIELDS)}")
        if not _TYPES[name][1](value):
            raise ConfigError(f"{where} {name}: expected {_TYPES[name][0]}, got {value!r}")
    if fields.get("search") is False and len(fields) > 1:
        raise ConfigError(f"{where}: search = false stands alone; take the other fields out, or search = false")
    if "choices" in fields and (odd := [f for f in ("low", "high", "step", "log") if f in fields]):
        raise ConfigError(f"{where}: expected choices or a range, got choices and {', '.join(odd)}")
    return fields


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _choices(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str | bool | int | float) for v in value)


_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "choices": ("a list of texts, numbers or true and false", _choices),
    "low": ("a number", _number),
    "high": ("a number", _number),
    "step": ("a number above 0, or false for none", lambda v: v is False or (_number(v) and v > 0)),
    "log": ("true or false", lambda v: isinstance(v, bool)),
    "integer": ("true or false", lambda v: isinstance(v, bool)),
    "search": ("true or false", lambda v: isinstance(v, bool)),
    "when": (
        f'one parameter and its values, such as {{ "weighting.kind" = ["adaptive"] }}, or \'{ALWAYS}\'',
        lambda v: v == ALWAYS or (isinstance(v, dict) and len(v) == 1 and all(_choices(c) for c in v.values())),
    ),
}


def _merged(old: Parameter | None, name: str, fields: dict[str, Any], where: str) -> Parameter:
    """The parameter with the fields changed; a range replaces choices and the other way round."""
    ranged: dict[str, Any] = {key: fields[key] for key in ("low", "high", "step", "log") if key in fields}
    new: dict[str, Any] = asdict(old) if old is not None else {"name": name}
    if "choices" in fields:
        new = {"name": name, "when": new.get("when"), "choices": tuple(fields["choices"])}
    elif ranged:
        if not (old is not None and not old.choices) and not {"low", "high"} <= set(ranged):
            raise ConfigError(f"{where}: expected low and high, or choices, got {', '.join(sorted(fields))} alone")
        new |= {"choices": (), **ranged}
        if ranged.get("step") is False or ranged.get("log"):
            new["step"] = None
        elif "step" in ranged:
            new["log"] = False
    elif old is None:
        raise ConfigError(f"{where}: expected low and high, or choices, got {', '.join(fields) or 'nothing'}")
    whole = type(TrainConfig().flatten()[name]) is int
    new["integer"] = not new.get("choices") and fields.get("integer", new.get("integer", False) or whole)
    if "when" in fields:
        when = fields["when"]
        new["when"] = None if when == ALWAYS else next((key, tuple(values)) for key, values in when.items())
    # the run's length is not the file's affair: no value of it shall be in the way here
    config = TrainConfig().override({"optim.epochs": 10**6, "objective.warmup_epochs": 0})
    try:
        parameter = Parameter(**new)
        for value in parameter.choices or (parameter.low, parameter.high):
            config.override({name: value})
        return parameter
    except ConfigError as error:
        raise ConfigError(f"{where}: {str(error).removeprefix('search space: ').removeprefix(f'{name}: ')}") from None


def _space(parameters: list[Parameter], changed: dict[str, Any], where: Callable[[str], str]) -> Space:
    """The parameters as a space; those whose condition can no longer hold are left out."""
    kept: dict[str, Parameter] = {}
    for parameter in parameters:
        if parameter.when is not None:
            on, values = parameter.when
            if on not in kept:
                at = where(on if changed.get(on, {}).get("search") is False else parameter.name)
                raise ConfigError(
                    f"{at}: {parameter.name} depends on '{on}', which is not searched before it; give {parameter.name} "
                    f"search = false or another `when`{'' if on in changed else nearest(on, kept)}"
                )
            if not any(kept[on].admits(value) for value in values):
                if parameter.name in changed:
                    raise ConfigError(f"{where(parameter.name)} when: '{on}' is never {' or '.join(map(str, values))}")
                continue
        kept[parameter.name] = parameter
    if not kept:
        raise ConfigError(f"{where(next(iter(changed)))}: nothing is left to search")
    return Space(tuple(kept.values()))
