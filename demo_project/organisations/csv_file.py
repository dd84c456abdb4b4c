"""Read an uploaded CSV file to its end, before anything is saved, or say what is wrong with it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import StringIO

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

REQUIRED_COLUMNS = ("name", "category", "city")
COLUMNS = (*REQUIRED_COLUMNS, "email")
MAX_BYTES = 1_000_000
MAX_ROWS = 2_000

Record = tuple[int, list[str]]


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    values: dict[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CsvFile:
    name: str
    rows: list[Row]


def read_csv_file(upload: UploadedFile[bytes]) -> CsvFile:
    """
    Read every row of an uploaded file.

    Raises:
        ValidationError: The file as a whole is no use. The message says why.
    """
    text = decode(upload)
    records = read_records(text)
    if not records:
        raise ValidationError(_("The file is empty."))
    (_line, header), *rest = records
    columns = checked_columns(header)
    if not rest:
        raise ValidationError(_("The file has a header and no rows."))
    if len(rest) > MAX_ROWS:
        raise ValidationError(
            _("The file has %(rows)d rows; the limit is %(limit)d.") % {"rows": len(rest), "limit": MAX_ROWS}
        )
    return CsvFile(upload.name or "", [as_row(line, columns, cells) for line, cells in rest])


def decode(upload: UploadedFile[bytes]) -> str:
    if (upload.size or 0) > MAX_BYTES:
        raise ValidationError(_("The file is larger than %(limit)d kB.") % {"limit": MAX_BYTES // 1000})
    try:
        text = str(upload.read(), "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(_("The file is not UTF-8 text. Save it as “CSV UTF-8”.")) from error
    if "\0" in text:
        raise ValidationError(_("The file is not UTF-8 text. Save it as “CSV UTF-8”."))
    return text


def read_records(text: str) -> list[Record]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True)
    records = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValidationError(
            _("The file is not valid CSV near line %(line)d: %(reason)s.") % {"line": line, "reason": error}
        ) from error
    return records


def delimiter_of(text: str) -> str:
    # A French Excel writes semicolons.
    header = text.lstrip().partition("\n")[0]
    return ";" if header.count(";") > header.count(",") else ","


def checked_columns(header: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in header]
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    unknown = [column for column in columns if column not in COLUMNS]
    if missing:
        raise ValidationError(_("These columns are missing: %(names)s.") % {"names": ", ".join(missing)})
    if unknown:
        raise ValidationError(
            _("These columns are not known: %(names)s. Use %(columns)s.")
            % {"names": ", ".join(f"“{column}”" for column in unknown), "columns": ", ".join(COLUMNS)}
        )
    if len(set(columns)) < len(columns):
        raise ValidationError(_("The header names a column twice."))
    return columns


def as_row(line: int, columns: list[str], cells: list[str]) -> Row:
    values = dict(zip(columns, cells, strict=False))
    if len(cells) == len(columns):
        return Row(line, values)
    problem = _("%(found)d values where the header has %(expected)d.")
    return Row(line, values, problem % {"found": len(cells), "expected": len(columns)})
