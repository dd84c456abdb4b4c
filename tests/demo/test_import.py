from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from demo_project.organisations.csv_file import MAX_BYTES, MAX_ROWS
from demo_project.organisations.models import Organisation

HEADER = "name,category,city,email\n"
GOOD = HEADER + "Cabinet Alvérane,CGP,Lyon,contact@alverane.example\nFondation Bellorme,Foundation,Nantes,\n"


@pytest.fixture
def send(member):
    def post(content: str | bytes, path: str = "/api/v1/organisations/import", **headers: str):
        data = content.encode() if isinstance(content, str) else content
        return member.post(path, {"file": SimpleUploadedFile("organisations.csv", data)}, headers=headers)

    return post


def names() -> list[str]:
    return list(Organisation.objects.values_list("name", flat=True))


def test_good_file_is_saved(send):
    response = send(GOOD)

    assert response.json() == {"success": 2, "errors": 0, "rejected": []}
    assert names() == ["Cabinet Alvérane", "Fondation Bellorme"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace(",", ";"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\n\n"),
        GOOD.replace("name,category", "Name , CATEGORY"),
        GOOD.replace("Foundation", "foundation"),
    ],
    ids=["BOM", "semicolons", "CRLF", "blank lines", "header in any case", "category in any case"],
)
def test_what_spreadsheets_write_is_understood(send, content):
    assert send(content).json()["success"] == 2


def test_category_may_be_named_in_the_language_of_the_page(send):
    response = send(GOOD.replace("Foundation", "Fondation"), accept_language="fr")

    assert response.json()["success"] == 2
    assert Organisation.objects.get(name="Fondation Bellorme").category == "Foundation"


def test_bad_rows_are_reported_with_their_line_and_good_ones_saved(send):
    response = send(HEADER + 'A,CGP,"Ly\non",\n,CGP,Lyon,\nB,Nobody,Lyon,\nC,CGP\nA,CGP,Nice,\nD,CGP,Nice,\n')

    report = response.json()
    assert (report["success"], report["errors"]) == (2, 4)
    assert [row["line"] for row in report["rejected"]] == [4, 5, 6, 7]
    assert [row["reasons"][0] for row in report["rejected"]] == [
        "Name: This field is required.",
        "Category: Select a valid choice. Nobody is not one of the available choices.",
        "2 values where the header has 4.",
        "Name: Organisation with this Name already exists.",
    ]
    assert names() == ["A", "D"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "The submitted file is empty."),
        ("\n \n", "The file is empty."),
        (HEADER, "The file has a header and no rows."),
        ("nom,ville\nA,Lyon\n", "These columns are missing: name, category, city."),
        (GOOD.replace("email", "mail"), "These columns are not known: “mail”. Use name, category, city, email."),
        (GOOD.replace("email", "city"), "The header names a column twice."),
        (GOOD.encode("latin-1"), "The file is not UTF-8 text. Save it as “CSV UTF-8”."),
        (GOOD + "A\0,CGP,Lyon,\n", "The file is not UTF-8 text. Save it as “CSV UTF-8”."),
        (GOOD + '"A,CGP,Lyon,\n', "The file is not valid CSV near line 4: unexpected end of data."),
        (GOOD + "A,CGP,Lyon,\n" * MAX_ROWS, f"The file has {MAX_ROWS + 2} rows; the limit is {MAX_ROWS}."),
        (GOOD + " " * MAX_BYTES, "The file is larger than 1000 kB."),
    ],
)
def test_bad_file_gets_a_clear_400_and_nothing_is_saved(send, content, reason):
    response = send(content)

    assert response.status_code == 400
    assert response.json()["errors"] == {"file": [reason]}
    assert names() == []


def test_request_without_a_file_gets_a_400(member):
    response = member.post("/api/v1/organisations/import")

    assert response.status_code == 400
    assert response.json()["errors"] == {"file": ["This field is required."]}


def test_page_shows_the_result_of_each_row(send):
    response = send(GOOD + ",CGP,Lyon,\n", path="/organisations/import/")

    page = response.content.decode()
    assert "2 created, 1 rejected." in page
    assert "Name: This field is required." in page


def test_page_shows_what_is_wrong_with_the_file(send):
    response = send("nom,ville\nA,Lyon\n", path="/organisations/import/")

    assert response.status_code == 400
    assert "These columns are missing: name, category, city." in response.content.decode()
