"""Annotation files → one clip table and what is wrong with the files."""

from sefar.data.annotations.finediving import read_finediving
from sefar.data.annotations.finegym import read_finegym
from sefar.data.annotations.folders import read_folders
from sefar.data.annotations.hmdb51 import read_hmdb51
from sefar.data.annotations.lists import read_lists
from sefar.data.annotations.table import CLIP_COLUMNS
from sefar.data.annotations.ucf101 import read_ucf101

__all__ = [
    "CLIP_COLUMNS",
    "read_finediving",
    "read_finegym",
    "read_folders",
    "read_hmdb51",
    "read_lists",
    "read_ucf101",
]
