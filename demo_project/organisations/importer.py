from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from crm_monitoring import add_breadcrumb, capture_message, get_logger, monitored

from .csv_file import CsvFile, Row
from .forms import OrganisationForm
from .models import Category

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RowResult:
    line: int
    name: str
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class ImportReport:
    rows: list[RowResult]

    @property
    def rejected(self) -> list[RowResult]:
        return [row for row in self.rows if row.reasons]

    @property
    def errors(self) -> int:
        return len(self.rejected)

    @property
    def success(self) -> int:
        return len(self.rows) - self.errors


@monitored("import_organisations")
def import_organisations(file: CsvFile) -> ImportReport:
    """Save the good rows in one transaction, and report the others with their line and the reason."""
    capture_message(f"Starting import from {file.name}", level="info")
    add_breadcrumb("Processing rows", category="import", data={"row_count": len(file.rows)})

    with transaction.atomic():
        report = ImportReport([import_row(row) for row in file.rows])

    capture_message(
        f"Import completed: {report.success} success, {report.errors} errors",
        level="info" if report.errors == 0 else "warning",
    )
    logger.info(
        "import_completed",
        filename=file.name,
        success_count=report.success,
        error_count=report.errors,
    )
    return report


def import_row(row: Row) -> RowResult:
    name = row.values.get("name", "").strip()
    if row.problem:
        return RowResult(row.line, name, [row.problem])
    form = OrganisationForm({**row.values, "category": category_of(row.values["category"])})
    if not form.is_valid():
        return RowResult(row.line, name, reasons_of(form))
    form.save()
    return RowResult(row.line, name, [])


def category_of(text: str) -> str:
    """Accept a category as it is stored or as it is shown, in any case; leave the rest to the form."""
    wanted = text.strip().casefold()
    for category in Category:
        if wanted in (category.value.casefold(), str(category.label).casefold()):
            return category.value
    return text


def reasons_of(form: OrganisationForm) -> list[str]:
    return [f"{form[field].label}: {error}" for field, errors in form.errors.items() for error in errors]
