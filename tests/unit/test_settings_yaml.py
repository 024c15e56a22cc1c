from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler_service.errors import Problem
from scheduler_service.settings.tree import Where, find, merge, plain, walk
from scheduler_service.settings.yaml_file import MAX_BYTES, parse_yaml, read_yaml


def values(text: str) -> object:
    problems: list[Problem] = []
    node = parse_yaml(text, Where("c.yaml"), problems)
    assert problems == []
    assert node is not None
    return plain(node)


def faults(text: str) -> list[str]:
    problems: list[Problem] = []
    parse_yaml(text, Where("c.yaml"), problems)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ON", "ON"),
        ("NO", "NO"),
        ("yes", "yes"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("TRUE", True),
        ("false", False),
        ("NULL", None),
        ("~", None),
        ("", None),
        ("010", 10),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("0x1F", "0x1F"),
        (".nan", ".nan"),
        ("1_000", "1_000"),
        ("9" * 5000, "9" * 5000),
        ("'TRUE'", "TRUE"),
        ('"1"', "1"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert values(f"a: {text}") == {"a": value}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert values("ON: 1\n5: 2\nnull: 3\n") == {"ON": 1, "5": 2, "null": 3}


def test_every_node_knows_its_place() -> None:
    node = parse_yaml("a:\n  b: [x, {c: 1}]\n", Where("c.yaml"), [])
    assert node is not None
    places = {path: f"{n.where.line}:{n.where.column}" for path, n in walk(node)}
    assert places == {"": "1:1", "a": "2:3", "a.b": "2:6", "a.b[0]": "2:7", "a.b[1]": "2:10", "a.b[1].c": "2:14"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["c.yaml:1:1: the file is empty; write at least one setting, such as `watchlist: [AAPL]`"]),
        ("# nothing\n", ["c.yaml:1:1: the file is empty; write at least one setting, such as `watchlist: [AAPL]`"]),
        ("- a\n", ["c.yaml:1:1: the file must hold settings as `key: value`; such as `watchlist: [AAPL]`"]),
        ("hello", ["c.yaml:1:1: the file must hold settings as `key: value`; such as `watchlist: [AAPL]`"]),
        ("a: 1\nb: 2\na: 3\n", ["c.yaml:3:1: the key 'a' stands here a second time; the first is at line 1; keep one"]),
        (
            "x:\n  a: 1\n  a: 2\n",
            ["c.yaml:3:3 x: the key 'a' stands here a second time; the first is at line 2; keep one"],
        ),
        ("a: &x 1\n", ["c.yaml:1:4 a: the anchor &x is not supported; remove it, and write values out"]),
        ("a: &a [*a]\n", None),
        (
            "a: !!python/object:os.system x\n",
            ["c.yaml:1:4 a: the tag !!python/object:os.system is not supported; remove it; text can be put in quotes"],
        ),
        (
            "a: 1\n---\nb: 2\n",
            ["c.yaml:2:1: a second document starts here; keep one per file; -c can be given several times"],
        ),
        ("a:\n\t- b\n", ["c.yaml:2:1: a tab stands where only spaces are allowed; indent with spaces"]),
        ("a: b: c\n", None),
        ("a: [1, 2\n", None),
        ("a: \x07\n", ["c.yaml:1:4: character U+0007 is not allowed; remove it"]),
        ("? [a]\n: 1\n", ["c.yaml:1:3: a key must be text; write `key: value`"]),
        ("a: " + "[" * 3000, ["c.yaml:1:23: nested deeper than 20 levels; no setting is that deep"]),
        ("a: " + "{a: " * 3000, ["c.yaml:1:80: nested deeper than 20 levels; no setting is that deep"]),
    ],
)
def test_it_says_what_is_wrong_and_where(text: str, expected: list[str] | None) -> None:
    found = faults(text)
    assert found
    assert expected is None or found == expected


def test_it_finds_every_fault_in_one_pass() -> None:
    text = "a: &x 1\nb: *x\nc: !!set {}\nd: 1\nd: 2\n"
    assert [fault.split(":")[1] for fault in faults(text)] == ["1", "2", "3", "5"]


def test_an_alias_bomb_is_refused_without_being_expanded() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    assert len(faults(bomb)) == 60 + 2 * 59


def test_control_characters_of_a_key_never_reach_a_message() -> None:
    (fault,) = faults('"a\\e[31m\\nb": {c: 1, c: 2}\n')
    assert fault.isprintable()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    problems: list[Problem] = []
    assert read_yaml(tmp_path / "no.yaml", problems) is None
    assert [str(p) for p in problems] == [
        f"{tmp_path}/no.yaml: the file does not exist; give the path of an existing one"
    ]


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    problems: list[Problem] = []
    assert read_yaml(tmp_path, problems) is None
    assert problems[0].wrong == "the file cannot be read: Is a directory"


def test_bytes_that_are_not_utf_8_are_shown_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("a: 1\nb: ü".encode("latin-1"))
    problems: list[Problem] = []
    assert read_yaml(path, problems) is None
    assert str(problems[0]) == f"{path}:2:4: byte 0xfc is not UTF-8; save the file as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    node = read_yaml(path, [])
    assert node is not None
    assert plain(node) == {"a": 1, "b": 2}


def test_a_file_over_a_megabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    problems: list[Problem] = []
    assert read_yaml(path, problems) is None
    assert problems[0].wrong == "the file is larger than 1000 KB"


def test_mappings_merge_lists_replace_and_named_lists_merge_by_name() -> None:
    base = parse_yaml("a: {x: 1, y: [1, 2]}\nschedules: [{id: s, n: 1, m: 1}, {id: t}]\n", Where("base"), [])
    over = parse_yaml("a: {y: [3]}\nschedules: [{id: u}, {id: s, n: 2}]\n", Where("over"), [])
    assert base is not None
    assert over is not None
    merged = merge(base, over)
    named = [{"id": "s", "n": 2, "m": 1}, {"id": "t"}, {"id": "u"}]
    assert plain(merged) == {"a": {"x": 1, "y": [3]}, "schedules": named}
    assert str(find(merged, ("schedules", 0, "n"))[1].where) == "over:2:33"
    assert str(find(merged, ("schedules", 0, "m"))[1].where) == "base:2:30"
    assert plain(merge(base, over, by_name=False)) == {
        "a": {"x": 1, "y": [3]},
        "schedules": [{"id": "u"}, {"id": "s", "n": 2}],
    }


@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"%@#?,. \n\t0~<"))
@example("%YAML 9.9\n---\na: 1\n")
@example("%TAG ! x\n%TAG ! y\n---\na: 1")
@example("a: !<x> 1")
@example('"\\UFFFFFFFF"')
@example("a: !e!x 1")
@example("\ufeff\ufeff")
def test_any_text_gives_a_tree_or_problems(text: str) -> None:
    problems: list[Problem] = []
    node = parse_yaml(text, Where("c.yaml"), problems)
    assert node is not None or problems
