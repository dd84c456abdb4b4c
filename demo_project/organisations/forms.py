from __future__ import annotations

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

from .csv_file import CsvFile, read_csv_file
from .models import Organisation


class OrganisationForm(forms.ModelForm):  # type: ignore[type-arg]  # cannot be subscripted at run time
    class Meta:
        model = Organisation
        fields = ["name", "category", "city", "email"]


class ImportForm(forms.Form):
    file = forms.FileField(
        label=_("CSV file"),
        help_text=_("UTF-8, with the columns name, category, city and, if you like, email."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_file(self) -> CsvFile:
        upload: UploadedFile[bytes] = self.cleaned_data["file"]
        return read_csv_file(upload)
