"""Face sets: layouts of folders and tables, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import pytest

from srkit import InputError, Person, registry
from srkit.imaging import codec

KINDS = ("imm", "lfw", "folders", "csv")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def read(kind: str, root: Path) -> list[Person]:
    found: list[Person] = registry.build("face_sets", kind, root=root)
    return found


def people(kind: str, root: Path) -> dict[str, list[str]]:
    return {person.name: [photo.name for photo in person.photos] for person in read(kind, root)}


# --- IMM ----------------------------------------------------------------------------------------


def test_the_imm_face_database_is_read_by_person_and_photo_number(tmp_path: Path) -> None:
    touch(tmp_path, "02-1f.jpg", "01-2m.jpg", "01-10m.jpg", "01-1m.jpg", "01-1m.asf", "index.html")
    assert people("imm", tmp_path) == {
        "01": ["01-1m.jpg", "01-2m.jpg", "01-10m.jpg"],
        "02": ["02-1f.jpg"],
    }


def test_imm_frontal_is_read_by_person_and_photo_number(tmp_path: Path) -> None:
    touch(tmp_path, "images/02_01.jpg", "images/01_10.jpg", "images/01_2.JPG", "images/01_01.jpg")
    assert people("imm", tmp_path) == {
        "01": ["01_01.jpg", "01_2.JPG", "01_10.jpg"],
        "02": ["02_01.jpg"],
    }


@pytest.mark.parametrize("suffix", sorted(codec.SUFFIXES))
def test_photos_of_any_format_are_read(suffix: str, tmp_path: Path) -> None:
    touch(tmp_path, f"imm/01_1{suffix}", f"lfw/anna/a{suffix}")
    assert people("imm", tmp_path / "imm") == {"01": [f"01_1{suffix}"]}
    assert people("lfw", tmp_path / "lfw") == {"anna": [f"a{suffix}"]}


def test_people_are_sorted_by_number_too(tmp_path: Path) -> None:
    touch(tmp_path, "10_1.jpg", "9_1.jpg", "1_1.jpg")
    assert list(people("imm", tmp_path)) == ["1", "9", "10"]


def test_the_real_imm_frontal_is_read(data_root: Path) -> None:
    found = people("imm", data_root / "imm-frontal")
    assert list(found) == [f"{person:02d}" for person in range(1, 13)]
    for person, photos in found.items():
        assert photos == [f"{person}_{number:02d}.jpg" for number in range(1, 11)]


def test_imm_alone_says_what_is_drawn_of_it() -> None:
    assert registry.find("face_sets", "imm").draw == (5, 3)
    for kind in ("lfw", "folders", "csv"):
        assert not hasattr(registry.find("face_sets", kind), "draw")


# --- folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folders", "lfw"])
def test_folders_are_people_and_empty_ones_have_no_photos(tmp_path: Path, kind: str) -> None:
    names = ("Bob/b.png", "Ann/2.jpg", "Ann/1.jpg", "empty/notes.txt", "stray.jpg", ".x/1.jpg")
    touch(tmp_path, *names)
    assert people(kind, tmp_path) == {"Ann": ["1.jpg", "2.jpg"], "Bob": ["b.png"], "empty": []}


@pytest.mark.parametrize(
    "within",
    ["", "lfw", "lfw-deepfunneled", "lfw-deepfunneled/lfw-deepfunneled", "archive/lfw_funneled"],
)
def test_lfw_is_found_as_its_archives_unpack_it(tmp_path: Path, within: str) -> None:
    touch(tmp_path / within, "Ann/Ann_0001.jpg", "Bob/Bob_0001.jpg", "Bob/Bob_0002.jpg")
    touch(tmp_path, "pairs.txt")
    expected = {"Ann": ["Ann_0001.jpg"], "Bob": ["Bob_0001.jpg", "Bob_0002.jpg"]}
    assert people("lfw", tmp_path) == expected


def test_lfw_is_found_beside_other_sets(tmp_path: Path) -> None:
    touch(tmp_path, "lfw/Ann/1.jpg", "celeba/test/1.jpg")
    assert people("lfw", tmp_path) == {"Ann": ["1.jpg"]}


def test_one_person_alone_is_not_taken_for_an_archive(tmp_path: Path) -> None:
    touch(tmp_path, "Ann/1.jpg")
    assert people("lfw", tmp_path) == {"Ann": ["1.jpg"]}


@pytest.mark.parametrize("kind", ["imm", "folders", "lfw"])
def test_hidden_files_are_no_photos(tmp_path: Path, kind: str) -> None:
    touch(tmp_path, "01/01_01.jpg", "01/._01_01.jpg", "01/.thumbnails/01_01.jpg")
    assert people(kind, tmp_path) == {"01": ["01_01.jpg"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_folder_is_the_callers_mistake(tmp_path: Path, kind: str) -> None:
    touch(tmp_path / "empty", "holiday.jpg")
    touch(tmp_path / "hollow", "Ann/notes.txt")
    for folder in (tmp_path / "nowhere", tmp_path / "empty", tmp_path / "hollow"):
        with pytest.raises(InputError, match=str(folder)) as error:
            read(kind, folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=r"no such (file or )?folder"):
        read(kind, tmp_path / "nowhere")


# --- tables -------------------------------------------------------------------------------------


def table(root: Path, *lines: str, name: str = "people.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / name


def test_a_table_names_files_and_identities(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "in/a.jpg", "c.jpg")
    file = table(tmp_path, "file,identity", "c.jpg,10", "b.jpg,9", "in/a.jpg,9", "b.jpg,9")
    assert people("csv", file) == people("csv", tmp_path)
    assert [(p.name, p.photos) for p in read("csv", file)] == [
        ("9", (tmp_path / "b.jpg", tmp_path / "in/a.jpg")),
        ("10", (tmp_path / "c.jpg",)),
    ]


@pytest.mark.parametrize(
    ("heading", "between"),
    [("Image, Person", ","), ("\ufeffid;path", ";"), ("name\tfilename\tage", "\t")],
)
def test_headings_and_separators_vary(tmp_path: Path, heading: str, between: str) -> None:
    touch(tmp_path, "a.jpg")
    first = "a.jpg" if heading.startswith("Image") else "Ann"
    second = "Ann" if first == "a.jpg" else "a.jpg"
    table(tmp_path, heading, f'"{first}"{between} {second}'.replace(" ", ""))
    assert people("csv", tmp_path) == {"Ann": ["a.jpg"]}


def test_rows_do_not_decide_the_order(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,{number % 3}" for number in range(9)]
    touch(tmp_path, *(f"{number}.jpg" for number in range(9)))
    one = read("csv", table(tmp_path, "file,identity", *rows))
    assert read("csv", table(tmp_path, "file,identity", *rows[::-1])) == one


def test_only_the_test_split_is_taken_where_there_is_one(tmp_path: Path) -> None:
    touch(tmp_path, "test/1.jpg", "2.jpg", "train/3.jpg")
    rows = ("1.jpg,7,test", "2.jpg,7,Test", "3.jpg,8,train")
    (person,) = read("csv", table(tmp_path, "file,identity,split", *rows))
    assert person.photos == (tmp_path / "2.jpg", tmp_path / "test" / "1.jpg")
    # Without a test split everybody is.
    touch(tmp_path, "3.jpg", "4.jpg")
    rows = ("3.jpg,8,train", "4.jpg,9,")
    found = read("csv", table(tmp_path, "file,identity,split", *rows))
    assert [person.photos[0] for person in found] == [tmp_path / "3.jpg", tmp_path / "4.jpg"]


def test_the_real_celebas_test_split_is_read(data_root: Path) -> None:
    found = read("csv", data_root / "celeba")
    photos = [photo for person in found for photo in person.photos]
    assert len(photos) == 500
    assert all(photo.is_file() and photo.parent.name == "test" for photo in photos)


def test_a_missing_file_is_left_to_the_bench(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    assert people("csv", table(tmp_path, "file,id", "1.jpg,a", "2.jpg,a")) == {
        "a": ["1.jpg", "2.jpg"]
    }


BAD = {
    "no column of files": ("picture,identity", "1.jpg,a"),
    "no column of identities: .*there is file, who": ("file,who", "1.jpg,a"),
    "row 3: no identity": ("file,identity", "1.jpg,a", "1.jpg,"),
    "row 2: no file": ("file,identity", ",a"),
    "row 2: no identity": ("file,identity", "1.jpg"),
    "no rows": ("file,identity",),
    "there is nothing": ("",),
    r"row 2: '\.\./1\.jpg' isn't below": ("file,identity", "../1.jpg,a"),
    r"row 2: 'a/\.\./\.\./1\.jpg' isn't below": ("file,identity", "a/../../1.jpg,a"),
    "row 2: '/etc/passwd' isn't below": ("file,identity", "/etc/passwd,a"),
    "row 2: '.*' isn't below": ("file,identity", "1\0.jpg,a"),
    "none of its 1 files is there, such as .*nn": ("file,identity,split", f"{'n' * 300}.jpg,a,b"),
    "row 3: '1.jpg' is of 'a' and of 'b'": ("file,identity", "1.jpg,a", "1.jpg,b"),
    "none of its 1 files is there, such as .*2.jpg": ("file,identity", "2.jpg,a"),
    "not a readable CSV file": ("file,identity", f"{'x' * 200_000},a"),
}


@pytest.mark.parametrize("said", BAD)
def test_a_bad_table_is_one_line(tmp_path: Path, said: str) -> None:
    touch(tmp_path, "in/1.jpg", "1.jpg")
    with pytest.raises(InputError, match=said) as error:
        read("csv", table(tmp_path / "in", *BAD[said]))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "in" / "people.csv"))


def test_a_split_leads_nowhere_else(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "in/2.jpg")
    for split in ("..", str(tmp_path), "../in"):
        rows = (f"1.jpg,a,{split}", f"2.jpg,a,{split}")
        (person,) = read("csv", table(tmp_path / "in", "file,identity,split", *rows))
        assert person.photos == (tmp_path / "in" / "1.jpg", tmp_path / "in" / "2.jpg")


def test_a_table_must_be_text_and_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(b"file,identity\n\xff\xfe.jpg,a\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read("csv", tmp_path)
    table(tmp_path, "file,identity", name="more.csv")
    with pytest.raises(InputError, match=r"several CSV files \(more.csv, people.csv\): name one"):
        read("csv", tmp_path)
