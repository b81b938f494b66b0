"""Annotation files → one clip table and what is wrong with the files."""

from sefar.data.annotations.lists import read_lists
from sefar.data.annotations.table import CLIP_COLUMNS

__all__ = ["CLIP_COLUMNS", "read_lists"]
