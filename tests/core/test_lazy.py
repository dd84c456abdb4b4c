from __future__ import annotations

import re

import pytest

from crm_monitoring.lazy import pattern
from crm_monitoring.scrubbing import secret_forms

LAZY = [value for value in vars(secret_forms).values() if isinstance(value, type(pattern("")))]
RULES = [rule.pattern for rule in (*secret_forms.RULES, secret_forms.EMAIL)]


def test_a_pattern_is_compiled_when_it_is_first_used() -> None:
    broken = pattern("(")

    with pytest.raises(re.error):
        broken.search("")


def test_a_pattern_works_as_one_of_the_standard_library_again_and_again() -> None:
    word = pattern("[a-z]+", re.IGNORECASE)

    assert [word.findall("One two"), word.findall("Three")] == [["One", "two"], ["Three"]]
    assert word.sub("-", "One two") == "- -"


@pytest.mark.parametrize("secret", [*LAZY, *RULES], ids=range(len(LAZY) + len(RULES)))
def test_every_pattern_of_secrets_can_be_compiled(secret: re.Pattern[str]) -> None:
    assert secret.pattern
