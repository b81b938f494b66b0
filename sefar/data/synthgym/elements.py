"""The element catalogue of SynthGym: what may be performed, as data.

Elements follow the wording of the gymnastics code of points and FineGym's hierarchy event → set → element.
Within a set, elements share their single-frame appearance as far as possible and differ in direction, number
of turns, shape or order of phases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

EVENTS: tuple[str, ...] = ("VT", "UB", "BB", "FX")
SHAPES: tuple[str, ...] = ("stretched", "tucked", "piked", "straddled")


@dataclass(frozen=True, kw_only=True)
class Element:
    """One class of SynthGym.

    Attributes:
        element_id: 0-based, dense over `ELEMENTS`.
        name: Unique name, `(event) description`.
        event: Gymnastics code, one of `EVENTS`.
        set: FineGym-like set, `event description`.
        kind: Motion family, a key of `sefar.data.synthgym.choreography.CHOREOGRAPHIES`.
        direction: +1 rotates forward, -1 backward, relative to where the performer faces.
        saltos: Full turns about the lateral axis after leaving the apparatus or over the whole element.
        twists: Full turns about the long axis.
        shape: Body shape in flight, one of `SHAPES`, or the pose held (`passe`, `wolf`, `clear`, `split`).
        phases: Order of phases, for elements that consist of several.
        pair_of: Element whose exact time reversal this is (and the other way round), if any.
        reverse_of: As `pair_of`, set only on the member defined by playing the other's motion backwards.
    """

    element_id: int
    name: str
    event: str
    set: str
    kind: str
    direction: int = 1
    saltos: float = 0.0
    twists: float = 0.0
    shape: str = "stretched"
    phases: tuple[str, ...] = ()
    pair_of: int | None = None
    reverse_of: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Spec:
    """An element before numbering; `reverse` names its time reversal, which follows it in the catalogue."""

    name: str
    kind: str
    direction: int = 1
    saltos: float = 0.0
    twists: float = 0.0
    shape: str = "stretched"
    phases: tuple[str, ...] = ()
    reverse: str | None = None


_CATALOGUE: dict[str, tuple[_Spec, ...]] = {
    "VT handsprings": (
        _Spec(name="handspring forward stretched", kind="vault", saltos=1),
        _Spec(name="handspring forward with 0.5 turn off", kind="vault", saltos=1, twists=0.5),
        _Spec(name="handspring forward with 1 turn off", kind="vault", saltos=1, twists=1),
        _Spec(name="handspring forward with 0.5 turn on", kind="vault", saltos=1, phases=("half on",)),
    ),
    "VT handspring saltos": (
        _Spec(name="handspring forward, salto forward tucked", kind="vault", saltos=2, shape="tucked"),
        _Spec(name="handspring forward, salto forward piked", kind="vault", saltos=2, shape="piked"),
        _Spec(name="tsukahara tucked", kind="vault", saltos=2, shape="tucked", phases=("half on",)),
        _Spec(name="tsukahara piked", kind="vault", saltos=2, shape="piked", phases=("half on",)),
    ),
    "VT flic-flac entries": (
        _Spec(name="flic-flac on, stretched off", kind="vault", direction=-1, saltos=1),
        _Spec(name="flic-flac on, 1 turn off", kind="vault", direction=-1, saltos=1, twists=1),
        _Spec(name="flic-flac on, salto backward tucked", kind="vault", direction=-1, saltos=2, shape="tucked"),
        _Spec(name="flic-flac on, salto backward piked", kind="vault", direction=-1, saltos=2, shape="piked"),
    ),
    "UB circles": (
        _Spec(name="giant circle forward", kind="circle", saltos=1, reverse="giant circle backward"),
        _Spec(
            name="clear hip circle forward", kind="circle", saltos=1, shape="clear", reverse="clear hip circle backward"
        ),
    ),
    "UB folded circles": (
        _Spec(name="stalder forward", kind="circle", saltos=1, shape="straddled", reverse="stalder backward"),
        _Spec(name="pike circle forward", kind="circle", saltos=1, shape="piked", reverse="pike circle backward"),
    ),
    "UB giants with turns": (
        _Spec(name="giant circle forward with 0.5 turn", kind="circle", saltos=1, twists=0.5),
        _Spec(name="giant circle forward with 1 turn", kind="circle", saltos=1, twists=1),
        _Spec(name="giant circle backward with 0.5 turn", kind="circle", direction=-1, saltos=1, twists=0.5),
        _Spec(name="giant circle backward with 1 turn", kind="circle", direction=-1, saltos=1, twists=1),
    ),
    "UB dismounts": (
        _Spec(name="salto forward tucked dismount", kind="dismount", saltos=1, shape="tucked"),
        _Spec(name="salto backward tucked dismount", kind="dismount", direction=-1, saltos=1, shape="tucked"),
        _Spec(name="double salto backward tucked dismount", kind="dismount", direction=-1, saltos=2, shape="tucked"),
        _Spec(name="salto backward stretched with 1 turn dismount", kind="dismount", direction=-1, saltos=1, twists=1),
    ),
    "BB turns": (
        _Spec(name="1 turn in passé", kind="turn", twists=1, shape="passe"),
        _Spec(name="2 turns in passé", kind="turn", twists=2, shape="passe"),
        _Spec(name="1 turn in wolf position", kind="turn", twists=1, shape="wolf"),
        _Spec(name="2 turns in wolf position", kind="turn", twists=2, shape="wolf"),
    ),
    "BB jumps": (
        _Spec(
            name="split jump then tuck jump",
            kind="series",
            phases=("split", "tucked"),
            reverse="tuck jump then split jump",
        ),
        _Spec(
            name="straddle jump then 0.5 turn",
            kind="series",
            phases=("straddled", "half turn"),
            reverse="0.5 turn then straddle jump",
        ),
    ),
    "BB acro": (
        _Spec(name="walkover forward", kind="handspring", saltos=1, shape="split", reverse="walkover backward"),
        _Spec(name="handspring forward", kind="handspring", saltos=1, reverse="flic-flac"),
    ),
    "BB saltos": (
        _Spec(name="salto forward tucked", kind="salto", saltos=1, shape="tucked", reverse="salto backward tucked"),
        _Spec(name="salto forward piked", kind="salto", saltos=1, shape="piked", reverse="salto backward piked"),
    ),
    "FX saltos": (
        _Spec(name="salto forward tucked", kind="salto", saltos=1, shape="tucked", reverse="salto backward tucked"),
        _Spec(name="salto backward stretched", kind="salto", direction=-1, saltos=1),
        _Spec(name="double salto backward tucked", kind="salto", direction=-1, saltos=2, shape="tucked"),
    ),
    "FX twisting saltos": (
        _Spec(name="salto forward with 0.5 turn", kind="salto", saltos=1, twists=0.5),
        _Spec(name="salto backward with 0.5 turn", kind="salto", direction=-1, saltos=1, twists=0.5),
        _Spec(name="salto forward with 1 turn", kind="salto", saltos=1, twists=1, reverse="salto backward with 1 turn"),
    ),
    "FX jumps and turns": (
        _Spec(
            name="split jump then 0.5 turn",
            kind="series",
            phases=("split", "half turn"),
            reverse="0.5 turn then split jump",
        ),
        _Spec(
            name="split jump then 1 turn",
            kind="series",
            phases=("split", "full turn"),
            reverse="1 turn then split jump",
        ),
    ),
}


def _numbered() -> Iterator[Element]:
    element_id = 0
    for set_name, specs in _CATALOGUE.items():
        event = set_name.split(" ", 1)[0]
        for spec in specs:
            element = Element(
                element_id=element_id, name=f"({event}) {spec.name}", event=event, set=set_name,
                kind=spec.kind, direction=spec.direction, saltos=spec.saltos, twists=spec.twists,
                shape=spec.shape, phases=spec.phases, pair_of=element_id + 1 if spec.reverse else None,
            )  # fmt: skip
            yield element
            element_id += 1
            if spec.reverse:
                yield replace(
                    element, element_id=element_id, name=f"({event}) {spec.reverse}", pair_of=element_id - 1,
                    # Played backwards, a salto turns the other way; twists and phases are named in the order
                    # seen.
                    reverse_of=element_id - 1, direction=-spec.direction if spec.saltos else spec.direction,
                    phases=spec.phases[::-1],
                )  # fmt: skip
                element_id += 1


ELEMENTS: tuple[Element, ...] = tuple(_numbered())

CORE: tuple[str, ...] = (
    "(VT) handspring forward stretched",
    "(VT) handspring forward, salto forward piked",
    "(VT) flic-flac on, salto backward piked",
    "(UB) clear hip circle forward",
    "(UB) clear hip circle backward",
    "(UB) giant circle backward with 0.5 turn",
    "(BB) 2 turns in passé",
    "(BB) 2 turns in wolf position",
    "(BB) salto backward piked",
    "(FX) salto forward tucked",
    "(FX) salto forward with 0.5 turn",
    "(FX) salto backward with 0.5 turn",
)
"""Twelve elements, three an event, that differ by direction, shape and turns: the benchmark's small scope.

No two are near twins: what makes one label a class too few is how performers and conditions vary."""
