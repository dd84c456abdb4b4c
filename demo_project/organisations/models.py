from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _


class Category(models.TextChoices):
    INSTITUTION = "Institution", _("Institution")
    FAMILY_OFFICE = "Family office", _("Family office")
    ADVISER = "CGP", _("Wealth adviser")
    PRIVATE_BANK = "Private bank", _("Private bank")
    INSURER = "Insurer", _("Insurer")
    PENSION_FUND = "Pension fund", _("Pension fund")
    FOUNDATION = "Foundation", _("Foundation")
    CORPORATE = "Corporate", _("Corporate")


class OrganisationQuerySet(models.QuerySet["Organisation"]):
    def search(self, query: str) -> OrganisationQuerySet:
        query = query.strip()
        return self.filter(Q(name__icontains=query) | Q(category__icontains=query) | Q(city__icontains=query))


class Organisation(models.Model):
    name = models.CharField(_("name"), max_length=200, unique=True)
    category = models.CharField(_("category"), max_length=30, choices=Category)
    city = models.CharField(_("city"), max_length=100)
    email = models.EmailField(_("email"), blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = OrganisationQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name = _("organisation")
        verbose_name_plural = _("organisations")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("organisations:detail", args=[self.pk])

    def as_dict(self) -> dict[str, str | int]:
        return {
            "id": self.pk,
            "name": self.name,
            "category": self.category,
            "city": self.city,
            "email": self.email,
            "created_at": self.created_at.isoformat(),
        }


class Interaction(models.Model):
    """A call, a mail or a meeting with somebody at an organisation."""

    class Kind(models.TextChoices):
        CALL = "call", _("Call")
        EMAIL = "email", _("E-mail")
        MEETING = "meeting", _("Meeting")

    organisation = models.ForeignKey(Organisation, models.CASCADE, related_name="interactions")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    contact = models.CharField(_("contact"), max_length=100)
    happened_on = models.DateField(_("date"))

    class Meta:
        ordering = ["-happened_on"]
        verbose_name = _("interaction")
        verbose_name_plural = _("interactions")

    def __str__(self) -> str:
        return f"{self.kind} - {self.contact}"
