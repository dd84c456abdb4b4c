"""The guide is the user's own, section by section, in two languages, and its code does what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile

from crm_monitoring.testing import capture_monitoring
from demo_project.organisations.models import Organisation
from tests.docs.conftest import Page
from tests.docs.markdown import DOCS, blocks, headings, name_of

FRENCH, ENGLISH = DOCS / "guide.fr.md", DOCS / "guide.md"
# The sections of the guide that the FastAPI module came with. Of two texts the second is how a section is called here.
SECTIONS = (
    (1, "Monitoring & Error Tracking - Guide Complet", "Monitoring et suivi des erreurs – guide complet"),
    (2, "Ce qui a été créé"),
    (2, "Installation"),
    (3, "1. Installer les dépendances"),
    (3, "2. Créer un compte Sentry (Gratuit)"),
    (3, "3. Configurer les variables d'environnement"),
    (2, "Intégration dans l'Application"),
    (3, "Mettre à jour `main.py`", "Mettre à jour `settings.py` et `urls.py`"),
    (2, "Utilisation dans les Routes", "Utilisation dans les vues"),
    (3, "Exemple simple"),
    (3, "Avec contexte utilisateur"),
    (3, "Avec performance monitoring"),
    (3, "Capture de messages (pas d'erreur)"),
    (2, "Dashboard Sentry"),
    (3, "Ce que vous verrez dans Sentry"),
    (2, "Configurer les Alertes"),
    (3, "Dans Sentry Dashboard", "Dans le dashboard Sentry"),
    (2, "Structured Logging"),
    (3, "Format des logs"),
    (3, "Utilisation"),
    (2, "Tester le Monitoring"),
    (3, "1. Tester Sentry localement"),
    (3, "2. Vérifier dans Sentry"),
    (3, "3. Tester les logs"),
    (2, "Health Check Monitoring"),
    (3, "Endpoint de santé"),
    (2, "Best Practices"),
    (3, "1. Ne pas logger d'informations sensibles"),
    (3, "2. Utiliser des noms d'événements clairs"),
    (3, "3. Ajouter du contexte"),
    (3, "4. Utiliser les bons niveaux de log"),
    (3, "5. Capturer le contexte avec breadcrumbs"),
    (2, "Métriques à Surveiller"),
    (3, "Dans Sentry"),
    (3, "Dashboard recommandé"),
    (2, "Troubleshooting"),
    (3, "Problème: Sentry ne capture rien"),
    (3, "Problème: Trop d'events (quota dépassé)", "Problème : trop d'événements (quota dépassé)"),
    (3, "Problème: Logs pas structurés"),
    (2, "Résumé"),
)

both = pytest.mark.parametrize("path", [FRENCH, ENGLISH], ids=name_of)


def test_every_section_of_the_users_guide_has_its_counterpart() -> None:
    expected = [(level, _plain(texts[-1])) for level, *texts in SECTIONS]

    assert [(heading.level, _plain(heading.text)) for heading in headings(FRENCH)] == expected


def _plain(text: str) -> str:
    return text.lower().replace(" :", ":")


def test_both_languages_say_the_same() -> None:
    french, english = headings(FRENCH), headings(ENGLISH)

    assert [heading.level for heading in french] == [heading.level for heading in english]
    assert [_code(FRENCH, block) for block in blocks(FRENCH)] == [_code(ENGLISH, block) for block in blocks(ENGLISH)]


def _code(path: Path, block: Any) -> list[str]:
    return [line.partition("#")[0].rstrip() for line in block.text.splitlines()]


@both
@pytest.mark.django_db
def test_its_views_answer(path: Path, page: Page, rf: Any) -> None:
    guide = page(path)
    post, upload, me = rf.post("/", b'{"name": "Alvar"}', "application/json"), rf.post("/"), rf.get("/")
    upload.FILES["file"] = SimpleUploadedFile("organisations.csv", b"")
    me.user = User(pk=7, email="a@example.org", username="alva")

    answers = {
        "create_organisation": guide["create_organisation"](post),
        "import_organisations": guide["import_organisations"](upload),
        "me": guide["me"](me),
        **{name: guide[name](rf.get("/")) for name in ("kpis", "list_organisations", "monitoring_health")},
    }

    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == dict.fromkeys(answers, 200) | {"create_organisation": 201}


@both
@pytest.mark.django_db
def test_an_error_that_is_logged_captured_and_raised_is_one_event(
    path: Path, page: Page, wsgi: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = page(path)
    from django.urls import path as route

    guide["urlpatterns"].append(route("organisations/", guide["list_organisations"]))
    settings.ROOT_URLCONF = guide["__name__"]
    monkeypatch.setattr(Organisation.objects, "values", None)

    with capture_monitoring() as captured:
        answer = wsgi.get("/organisations/")

    (event,) = captured.events
    assert answer.status == 500
    assert event["exception"]["values"][-1]["mechanism"]["handled"] is False
    assert event["extra"]["query"] == "organisations"
    assert captured.line("organisations_fetch_failed")["error"]


@both
@pytest.mark.django_db
def test_its_answer_of_the_health_view_has_the_shape_it_really_has(path: Path, page: Page, rf: Any) -> None:
    shown = next(block for block in (orjson.loads(b.text) for b in blocks(path, "json")) if "monitoring" in block)

    answered = orjson.loads(page(path)["monitoring_health"](rf.get("/")).content)

    assert _shape(shown) == _shape(answered)


def _shape(value: Any) -> Any:
    return {name: _shape(item) for name, item in value.items()} if isinstance(value, dict) else None


@both
def test_its_secret_does_not_reach_the_log(path: Path, page: Page, lines: Any) -> None:
    page(path)

    logins = lines.named("user_login")
    assert [line.get("password") for line in logins] == ["[Filtered]", None]


@both
def test_its_levels_are_those_it_names(path: Path, page: Page, lines: Any) -> None:
    page(path)

    levels = Counter((line["event"], line["level"]) for line in lines.all())
    assert levels["slow_query", "warning"] == levels["database_error", "error"] == 1
    assert not levels["variable_inspected", "debug"]
