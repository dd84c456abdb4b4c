from __future__ import annotations

import re

import pytest

from crm_monitoring.lazy import pattern
from crm_monitoring.scrubbing import check_digits, key_values, path_segments, secret_forms

MODULES = (check_digits, key_values, path_segments, secret_forms)
LAZY = [value for module in MODULES for value in vars(module).values() if isinstance(value, type(pattern("")))]
FORMS = [form.pattern for form in (*secret_forms.FORMS, secret_forms.EMAIL)]


def test_a_pattern_is_compiled_when_it_is_first_used() -> None:
    broken = pattern("(")

    with pytest.raises(re.error):
        broken.search("")


def test_a_pattern_works_as_one_of_the_standard_library_again_and_again() -> None:
    word = pattern("[a-z]+", re.IGNORECASE)

    assert [word.findall("One two"), word.findall("Three")] == [["One", "two"], ["Three"]]
    assert word.sub("-", "One two") == "- -"


@pytest.mark.parametrize("secret", [*LAZY, *FORMS], ids=range(len(LAZY) + len(FORMS)))
def test_every_pattern_of_secrets_can_be_compiled(secret: re.Pattern[str]) -> None:
    assert secret.pattern
