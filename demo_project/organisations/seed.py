"""Two hundred invented organisations, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.utils import timezone

from .models import Category, Interaction, Organisation

USERNAME = "demo"
COLLEAGUES = ("camille", "karim")
PASSWORD = "demo"  # noqa: S105 - shown on the login page

KINDS = {
    Category.INSTITUTION: "Institut",
    Category.FAMILY_OFFICE: "Family office",
    Category.ADVISER: "Cabinet",
    Category.PRIVATE_BANK: "Banque",
    Category.INSURER: "Mutuelle",
    Category.PENSION_FUND: "Caisse de retraite",
    Category.FOUNDATION: "Fondation",
    Category.CORPORATE: "Groupe",
}
NAMES = (
    *("Alvérane", "Bellorme", "Castelune", "Dorvallon", "Esterive", "Ferrandelle", "Galmière", "Hautecombelle"),
    *("Isembrune", "Jarvenne", "Kermorel", "Lormandie", "Maravaux", "Norvière", "Orsanne", "Pervalois"),
    *("Quintebelle", "Rochevigne", "Sauvelande", "Tourmarine", "Umbréval", "Valcendre", "Wissandre", "Yvelaine"),
    "Zéphorine",
)
CITIES = ("Paris", "Lyon", "Marseille", "Bordeaux", "Lille", "Nantes", "Strasbourg", "Toulouse", "Rennes", "Annecy")
FIRST_NAMES = ("Camille", "Louise", "Karim", "Hugo", "Inès", "Mathilde", "Thomas", "Aïcha", "Paul", "Jeanne", "Noé")
LAST_NAMES = ("Ardouin", "Belmont", "Carvalho", "Delmas", "Essaïdi", "Fontanel", "Guérin", "Hamelin", "Izard")


def create_users() -> None:
    """Create the demo's user, who may see and use the dashboard, and colleagues, who may not."""
    create_user(USERNAME, is_staff=True).user_permissions.add(
        *Permission.objects.filter(content_type__app_label="crm_monitoring_dashboard", codename__startswith="view_"),
        Permission.objects.get(content_type__app_label="crm_monitoring_dashboard", codename="change_issue"),
    )
    for name in COLLEAGUES:
        create_user(name, is_staff=False)


def create_user(name: str, *, is_staff: bool) -> User:
    user, created = User.objects.get_or_create(
        username=name, defaults={"email": f"{name}@crm.example", "is_staff": is_staff}
    )
    if created:
        user.set_password(PASSWORD)
        user.save()
    return user


@transaction.atomic
def create_organisations() -> int:
    """Create what is not there yet, and tell how many that were."""
    known = set(Organisation.objects.values_list("name", flat=True))
    created = [organisation for organisation in organisations() if organisation.name not in known]
    Organisation.objects.bulk_create(created)
    Interaction.objects.bulk_create(
        interaction for number, organisation in enumerate(created) for interaction in interactions(number, organisation)
    )
    return len(created)


def organisations() -> Iterator[Organisation]:
    for number, name in enumerate(NAMES):
        for category, kind in KINDS.items():
            yield Organisation(
                name=f"{kind} {name}",
                category=category,
                city=CITIES[(number + len(kind)) % len(CITIES)],
                email=f"contact@{category.name.lower().replace('_', '-')}-{number + 1}.example",
            )


def interactions(number: int, organisation: Organisation) -> Iterator[Interaction]:
    today = timezone.localdate()
    for turn in range(1, number % 7 + 2):
        yield Interaction(
            organisation=organisation,
            kind=Interaction.Kind.values[(number + turn) % len(Interaction.Kind.values)],
            contact=f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {LAST_NAMES[(number + turn) % len(LAST_NAMES)]}",
            happened_on=today - timedelta(days=number * turn * 13 % 365),
        )
