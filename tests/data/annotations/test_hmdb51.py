from __future__ import annotations

from pathlib import Path

import pytest

from sefar.data.annotations import read_hmdb51
from sefar.errors import DataError

TAGS = "h_cm_np1_ri_bad_3"


def test_rows_flags_and_groups(tmp_path: Path) -> None:
    rows = f"Film_#1!_kick_{TAGS}.avi 1 \nFilm_kick_ball_kick_{TAGS}.avi 2 \nOther_kick_{TAGS}.avi 0 \n"
    (tmp_path / "kick_test_split2.txt").write_text(rows)
    (tmp_path / "kick_ball_test_split2.txt").write_text(f"Film_kick_ball_{TAGS}.avi 1 \n")
    (tmp_path / "class_list.txt").write_text("kick_ball\nkick\nwave\n")
    table, findings = read_hmdb51(tmp_path, split=2, clips=Path("/hmdb"))
    assert table[["clip_id", "label", "label_name", "group", "split"]].values.tolist() == [
        [f"Film_#1!_kick_{TAGS}", 0, "kick", "Film_#1!", "train"],
        [f"Film_kick_ball_kick_{TAGS}", 0, "kick", "Film_kick_ball", "test"],
        [f"Film_kick_ball_{TAGS}", 1, "kick_ball", "Film", "train"],
    ]
    assert table.path[0] == f"/hmdb/kick/Film_#1!_kick_{TAGS}.avi"
    assert [f.where for f in findings.fatal] == ["wave"]
    assert [f.message for f in findings.of_kind("unused clip")] == ["1 clips have flag 0: neither train nor test"]


@pytest.mark.parametrize(
    "row",
    [
        f"Film_kick_{TAGS}.avi",
        f"Film_kick_{TAGS}.avi 3",
        f"Film_wave_{TAGS}.avi 1",
        "Film_kick.avi 1",
        f"../x_kick_{TAGS}.avi 1",
    ],
)
def test_malformed_rows_are_fatal_and_named(tmp_path: Path, row: str) -> None:
    (tmp_path / "kick_test_split1.txt").write_text(f"Film_kick_{TAGS}.avi 1\n{row}\n")
    table, findings = read_hmdb51(tmp_path, split=1, clips=tmp_path)
    assert len(table) == 1
    assert [f.where for f in findings.of_kind("malformed row")] == ["kick_test_split1.txt:2"]
    assert findings.of_kind("missing class")[0].message.endswith("got 1")


def test_missing_files_and_other_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*_test_split3\.txt; expected 51 files .* from HMDB51's"):
        read_hmdb51(tmp_path, split=3, clips=tmp_path)
    with pytest.raises(DataError, match="splits 1, 2 and 3, not 0"):
        read_hmdb51(tmp_path, split=0, clips=tmp_path)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_counts_and_known_faults(real_annotations: Path, split: int) -> None:
    table, findings = read_hmdb51(real_annotations / "hmdb51", split=split, clips=Path("/hmdb"))
    assert table.split.value_counts().to_dict() == {"train": 3_570, "test": 1_530}
    assert sorted(table.label.unique()) == list(range(51))
    assert table[table.split == "train"].label.value_counts().unique().tolist() == [70]
    blanks = {f.where for f in findings.of_kind("trailing blank")}
    assert len(blanks - {"class_list.txt:21"}) == 51  # every file's lines end in a space
    assert "kick, kick_ball, sword, sword_exercise" in findings.of_kind("class order")[0].message
    assert any("!!!!" in f.message for f in findings.of_kind("odd characters"))
    assert any("#" in clip_id for clip_id in table.clip_id)
    assert [f.message for f in findings.of_kind("unused clip")] == ["1,666 clips have flag 0: neither train nor test"]
    assert not findings.fatal
