"""Django's settings for one stack: those of `startproject`, and what the stack's README adds."""

from __future__ import annotations

import os

from tests.benchmarks.stacks import STACKS

SECRET_KEY = "benchmark"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "tests.benchmarks.site"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
# One database in memory for all threads of the process.
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:benchmark?mode=memory&cache=shared"}}

STACK = STACKS[os.environ.get("BENCHMARK_STACK", "bare")]
STACK.load().configure(globals(), float(os.environ.get("BENCHMARK_RATE", "0")))
