from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.contrib.staticfiles.views import serve
from django.urls import include, path

from crm_monitoring import unmonitored
from crm_monitoring.views import test_sentry

handler500 = "crm_monitoring.views.server_error"

urlpatterns = [
    path("", include("demo_project.organisations.urls")),
    path("health/", include("crm_monitoring.urls")),
    path("monitoring/", include("crm_monitoring.dashboard.urls")),
    path("admin/", admin.site.urls),
    path("test-sentry", test_sentry, name="test-sentry"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("language/", include("django.conf.urls.i18n")),
    # So that every server of the demo has them; a real site leaves them to its web server, or to WhiteNoise.
    path("static/<path:path>", unmonitored(serve), {"insecure": True}),
]
