"""Lists are read as they were written, and every fault in one is told."""

import numpy as np
import pytest

from dfcvae.data import open_images
from dfcvae.errors import UserError
from dfcvae.intake.lists import read_csv, read_identities, read_mapping
from tests.layouts import official_zip, small_album, write_lines

ALBUM = small_album()


@pytest.fixture
def zipped(tmp_path):
    return official_zip(tmp_path, ALBUM)


def test_labels_belong_to_file_names_not_to_lines(zipped):
    write_lines(zipped / "list_eval_partition.txt", ALBUM.partition_lines()[::-1])
    np.testing.assert_array_equal(open_images(zipped).split, ALBUM.split)
    head, rows = ALBUM.attribute_lines()[:2], ALBUM.attribute_lines()[2:]
    write_lines(zipped / "list_attr_celeba.txt", head + rows[::-1])
    np.testing.assert_array_equal(open_images(zipped).attributes, ALBUM.values)


def test_lists_may_have_windows_line_ends_and_blank_lines(zipped):
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        text = (zipped / name).read_text() + "\n\n"
        (zipped / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    images = open_images(str(zipped))
    np.testing.assert_array_equal(images.attributes, ALBUM.values)
    np.testing.assert_array_equal(images.split, ALBUM.split)


def edited(lines: list[str], number: int, old: str, new: str) -> list[str]:
    """Lines with one change in line ``number`` (counted from 1)."""
    assert old in lines[number - 1]
    return [*lines[: number - 1], lines[number - 1].replace(old, new, 1), *lines[number:]]


ATTRIBUTE_FAULTS = {
    "web page": (["<html>", "Quota exceeded"], "first line should be the number of images, not '<html>'"),
    "39 names": (
        edited(ALBUM.attribute_lines(), 2, "Attribute_7 ", ""),
        "Line 2 .* 40 attribute names, but holds 39 .39 diff",
    ),
    "name twice": (
        edited(ALBUM.attribute_lines(), 2, "Attribute_7 ", "Attribute_6 "),
        "but holds 40 .39 different",
    ),
    "no rows": (ALBUM.attribute_lines()[:2], "list_attr_celeba.txt lists no images"),
    "cut short": (
        ALBUM.attribute_lines()[:-4],
        "announces 24 images in its first line, but lists 20. It may be cut short",
    ),
    "cut row": (
        [*ALBUM.attribute_lines()[:-1], ALBUM.files[-1] + " 1 -1"],
        "Line 26 .* and 40 values out of -1, 1, but has 2 val",
    ),
    "long row": (edited(ALBUM.attribute_lines(), 5, ".jpg", ".jpg 1"), "Line 5 of .* but has 41 values"),
    "word": (edited(ALBUM.attribute_lines(), 4, " -1", " no"), "Line 4 of .* but has the value 'no'"),
    "zero": (edited(ALBUM.attribute_lines(), 9, " -1", " 0"), "Line 9 of .* but has the value '0'"),
    "file twice": (edited(ALBUM.attribute_lines(), 6, "000004", "000003"), "lists 000003.jpg more than once"),
}
PARTITION_FAULTS = {
    "empty": (["", ""], "list_eval_partition.txt lists no images"),
    "value": (
        edited(ALBUM.partition_lines(), 3, " 0", " 3"),
        "Line 3 .* and 1 value out of 0, 1, 2, but has the value '3'",
    ),
    "no value": (edited(ALBUM.partition_lines(), 3, " 0", ""), "Line 3 of .* but has 0 values"),
    "file twice": (edited(ALBUM.partition_lines(), 4, "000004", "000003"), "lists 000003.jpg more than once"),
    "too few": (
        ALBUM.partition_lines()[:-4],
        r"lacks images of .*list_attr_celeba.txt: 4 \(img_align_celeba/000021.jpg, .*\). Use lists that",
    ),
}


@pytest.mark.parametrize(("lines", "sentence"), ATTRIBUTE_FAULTS.values(), ids=ATTRIBUTE_FAULTS)
def test_a_malformed_attribute_list_is_told(zipped, lines, sentence):
    write_lines(zipped / "list_attr_celeba.txt", lines)
    with pytest.raises(UserError, match=sentence):
        open_images(zipped)


@pytest.mark.parametrize(("lines", "sentence"), PARTITION_FAULTS.values(), ids=PARTITION_FAULTS)
def test_a_malformed_partition_is_told(zipped, lines, sentence):
    write_lines(zipped / "list_eval_partition.txt", lines)
    with pytest.raises(UserError, match=sentence):
        open_images(zipped)


def test_a_csv_is_read_by_what_its_columns_hold():
    text = "Person,Image,Smiling,Hat,Tall,Age,Split\n7,a.jpg,1,True,no,31,train\n8,b.jpg,-1,false,YES,1,Valid\n"
    table = read_csv("labels.csv", text)
    assert table.filenames == ("a.jpg", "b.jpg")
    assert table.names == ("Smiling", "Hat", "Tall")
    assert table.attributes.tolist() == [[True, True, False], [False, False, True]]
    assert table.split.tolist() == [0, 1]
    assert table.identities == ("7", "8")
    assert table.unused == ("Age",)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_csv_may_be_separated_as_spreadsheets_do(mark):
    table = read_csv("x.csv", mark.join(["name", "Smiling"]) + "\r\n" + mark.join(['"a, b.jpg"', "1"]) + "\r\n")
    assert (table.filenames, table.names, table.attributes.tolist()) == (("a, b.jpg",), ("Smiling",), [[True]])


def test_the_first_column_of_a_csv_names_the_files_if_none_says_so():
    assert read_csv("x.csv", "what,Smiling\na.jpg,0\n").filenames == ("a.jpg",)


@pytest.mark.parametrize("text", ["", "name\na.jpg\n", "name,Smiling\n"])
def test_a_csv_without_rows_or_columns_is_no_table(text):
    assert read_csv("x.csv", text) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,Smiling\na.jpg,1\nb.jpg\n", "Row 3 of x.csv has 1 cells, but its header 2"),
        ("name,Smiling\na.jpg,1\na.jpg,0\n", "x.csv lists a.jpg more than once"),
        ("name,split\na.jpg,holdout\n", "x.csv names a split 'holdout'; use train, val and test"),
    ],
)
def test_a_malformed_csv_is_told(text, sentence):
    with pytest.raises(UserError, match=sentence):
        read_csv("x.csv", text)


def test_identities_and_mapping():
    assert read_identities("i.txt", "a.jpg 5\nb.jpg 6\n").identities == ("5", "6")
    assert read_identities("i.txt", "image identity\na.jpg 5\n").filenames == ("a.jpg",)
    with pytest.raises(UserError, match=r"Row 2 of i.txt should be a file name and a number, not 'b.jpg'"):
        read_identities("i.txt", "a.jpg 5\nb.jpg\n")
    assert read_mapping("m.txt", "idx orig_idx orig_file\n0   119613   119614.jpg\n") == {"0": "119614.jpg"}
    assert read_mapping("m.txt", "0 119613 119614.jpg\n") == {"0": "119614.jpg"}
    with pytest.raises(UserError, match=r"m.txt should have rows of three"):
        read_mapping("m.txt", "idx orig_idx orig_file\n0 119614.jpg\n")


def test_the_column_that_holds_the_images_names_them_whatever_it_is_called():
    files = {"0.jpg", "1.jpg", "2.jpg", "0", "1", "2"}
    rows = [(0, "faces/2.jpg", 1), (1, "faces\\0.jpg", 0), (2, "1.jpg", 0)]
    for header in (",image_path,Smiling", "id,where,Smiling", "image_id,file,Smiling"):
        text = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
        table = read_csv("x.csv", text, files)
        assert table.filenames == ("faces/2.jpg", "faces\\0.jpg", "1.jpg")
        assert table.attributes[:, table.names.index("Smiling")].tolist() == [True, False, False]


def test_a_csv_that_names_no_image_is_no_table_however_malformed():
    assert read_csv("pairs.csv", "name,n,m\nGul,1\nGul,2,3,4\n", {"Gul_0001.jpg", "Gul_0001"}) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0.jpg,1\n1.jpg,0\n", r"first row of x.csv names an image, but should be a header"),
        ("file,Hat,Hat\n0.jpg,1,0\n", r"x.csv has two columns of the same name in its header"),
    ],
)
def test_a_csv_without_a_proper_header_is_told(text, sentence):
    with pytest.raises(UserError, match=sentence):
        read_csv("x.csv", text, {"0.jpg", "1.jpg", "0", "1"})


def test_numbers_as_spreadsheets_write_them_are_yes_and_no():
    assert read_csv("x.csv", "file,a,b\n0.jpg,1.0,-1.0\n").attributes.tolist() == [[True, False]]
