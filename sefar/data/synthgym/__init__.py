"""SynthGym: procedural fine-grained gymnastics as real H.264 clips, the data set that needs no download.

An articulated figure performs elements on four apparatus (vault, uneven bars, balance beam, floor exercise).
Elements differ by direction of rotation relative to the performer's facing, number of saltos and twists, body
shape and order of phases, so that single frames do not give the label away. Labels survive a horizontal flip.
"""

from sefar.data.synthgym.conditions import DIFFICULTIES, Difficulty
from sefar.data.synthgym.dataset import prepare
from sefar.data.synthgym.elements import CORE, ELEMENTS, EVENTS, Element
from sefar.data.synthgym.pretrain import PRETRAIN_TARGETS, pretrain_frames
from sefar.data.synthgym.table import (
    GENERATOR_VERSION,
    SynthGymConfig,
    clip_frames,
    clip_table,
    dataset_dir,
    truth_table,
)

__all__ = [
    "CORE",
    "DIFFICULTIES",
    "ELEMENTS",
    "EVENTS",
    "GENERATOR_VERSION",
    "PRETRAIN_TARGETS",
    "Difficulty",
    "Element",
    "SynthGymConfig",
    "clip_frames",
    "clip_table",
    "dataset_dir",
    "prepare",
    "pretrain_frames",
    "truth_table",
]
