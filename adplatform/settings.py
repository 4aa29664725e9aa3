"""The one settings file: values from the environment, each with a default that runs on a bare machine.

Django reads this module, and so does the ads process, which must not load Django: import none of it here.
A wrong value stops the start with a numbered hint (docs/operations.md lists them).
"""

from __future__ import annotations

import os
from pathlib import Path

from adplatform.core import env

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(env.text("ADPLATFORM_VAR", str(BASE_DIR / "var"))).resolve()

# --- servers: external ones by URL, else the embedded ones that the launcher recorded --------------------------------
_embedded = env.services(VAR)
DATABASE_URL = env.text(
    "DATABASE_URL", _embedded.get("DATABASE_URL", "postgresql://adplatform@127.0.0.1:5432/adplatform")
)
REDIS_URL = env.redis_url(
    "REDIS_URL", env.text("REDIS_URL", _embedded.get("REDIS_URL", "redis://127.0.0.1:6379/0")), number=2
)
EVENTS_URL = env.redis_url(
    "EVENTS_URL", env.text("EVENTS_URL", _embedded.get("EVENTS_URL", "redis://127.0.0.1:6380/0")), number=3
)
DATABASES = {"default": env.database(DATABASE_URL, number=1)}

# --- secrets and addresses --------------------------------------------------------------------------------------------
SECRET_KEY = env.secret("SECRET_KEY", VAR)
# Signs impression, view and click tokens. The first key signs, every key verifies, so that keys rotate without loss.
TOKEN_KEYS = env.names("TOKEN_KEYS") or [env.secret("TOKEN_KEY", VAR)]
# Turns a first-party id into the keyed pseudonym under which facts are stored.
PSEUDONYM_KEY = env.secret("PSEUDONYM_KEY", VAR)
DEBUG = env.flag("DEBUG", default=False, number=4)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
PORT = env.integer("PORT", 8000, least=1, most=65535, number=5)
ADS_PORT = env.integer("ADS_PORT", 8001, least=1, most=65535, number=6)
BASE_URL = env.text("BASE_URL", f"http://localhost:{PORT}")
ADS_URL = env.text("ADS_URL", BASE_URL)
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS")
SECURE_COOKIES = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_NAME = "adplatform_session"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_COOKIES else 0
# A trusted proxy in front (its name or address); only then are X-Forwarded-For and the country header believed.
TRUST_PROXY = env.flag("TRUST_PROXY", default=False, number=7)

# --- models -----------------------------------------------------------------------------------------------------------
ENCODER = env.text(
    "ADPLATFORM_ENCODER", ""
)  # a Hugging Face folder or id; empty: the weights of requirements-models.txt
# int8: workers encode with the int8 form of that transformer, made once under MODELS_DIR, where it passes its gate.
ENCODER_PRECISION = env.choice("ADPLATFORM_ENCODER_PRECISION", "full", ("full", "int8"), number=13)
MODELS_DIR = VAR / "models"
SNAPSHOT_DIR = VAR / "snapshots"
PROFILE_HALF_LIFE_DAYS = 14  # after which what a visitor did counts half in the profile
PROFILE_REFRESH_SECONDS = 600  # how often embed_visitors runs; training sees profiles as old as serving did
QUALITY_THRESHOLDS = env.numbers(
    "ADPLATFORM_QUALITY", number=8
)  # other than the defaults of ml.quality.report
DECISION_EPSILON = 0.02  # share of auctions that explore uniformly
# Share of an auction's expected worth that exploring may cost, and below how many impressions an ad is left to its
# prediction (measured on headline tests).
EXPLORATION_BUDGET = env.integer("EXPLORATION_BUDGET_PERCENT", 5, least=0, most=100, number=9) / 100
NEAR_GREEDY_IMPRESSIONS = 500
CHOICE_SETS_LOGGED = 0.05  # share of decisions that keep who else could be chosen, for off-policy estimates
# What the gate lets pass: promote it at once, let it answer CANARY_PERCENT of the visitors first, or score in the shadow.
MODEL_ROLLOUT = env.choice("MODEL_ROLLOUT", "promote", ("promote", "canary", "shadow"), number=10)
CANARY_PERCENT = env.integer("CANARY_PERCENT", 10, least=1, most=100, number=11)
# Impressions that trees are grown on; of more than that all clicks and a share of the rest, whose odds are put right.
TRAINING_ROWS = env.integer("TRAINING_ROWS", 2_000_000, least=10_000, most=1_000_000_000, number=12)
RANKED_CANDIDATES = 50  # how many retrieved candidates reach the blender
# Files of networks (CIDR, one a line) whose visitors are machines, in addition to the lists of a package.
SERVER_NETWORK_FILES = env.names("SERVER_NETWORK_FILES")
TRAFFIC_THRESHOLDS = env.numbers(
    "ADPLATFORM_TRAFFIC", number=14
)  # other than the defaults of events.thresholds
DECISION_TOKEN_HOURS = 24  # an impression, view or click later than this is recorded as late and never billed

# --- money ------------------------------------------------------------------------------------------------------------
# Who sells: on invoices, in payment files. Without a country no VAT is charged.
SELLER = {
    "name": env.text("PLATFORM_NAME", "AdPlatform"),
    "address": env.text("PLATFORM_ADDRESS"),
    "country": env.text("PLATFORM_COUNTRY").upper(),
    "vat_id": env.text("PLATFORM_VAT_ID"),
    "iban": env.text("PLATFORM_IBAN").replace(" ", ""),
    "bic": env.text("PLATFORM_BIC"),
}
STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY")  # cards are offered when both are set
STRIPE_WEBHOOK_SECRET = env.text("STRIPE_WEBHOOK_SECRET")
STRIPE_API_BASE = env.text("STRIPE_API_BASE")  # a server that speaks Stripe's protocol, other than Stripe's
FOUR_EYES_UNITS = env.integer("FOUR_EYES_UNITS", 5_000, least=0, most=1_000_000_000, number=15)
PAYOUT_HOLD_DAYS = env.integer("PAYOUT_HOLD_DAYS", 30, least=0, most=365, number=16)
PAYOUT_MINIMUM_UNITS = env.integer("PAYOUT_MINIMUM_UNITS", 50, least=0, most=1_000_000, number=17)
LOW_BALANCE_DAYS = env.integer("LOW_BALANCE_DAYS", 2, least=1, most=60, number=18)
ANCHORS_DIR = env.text("ANCHORS_DIR", str(VAR / "anchors"))  # best on a disk that the database cannot write

# --- privacy ----------------------------------------------------------------------------------------------------------
# Seal bank details and addresses in the database. The first key seals, every key opens; `rotate_keys` seals anew.
ENCRYPTION_KEYS = env.names("ENCRYPTION_KEYS") or [env.secret("ENCRYPTION_KEY", VAR)]
# Raw: pages and their words, replaced consent strings. Pseudonyms: thirteen months. Sums are kept for ever.
RETENTION_RAW_DAYS = env.integer("RETENTION_RAW_DAYS", 30, least=2, most=3_650, number=19)
RETENTION_PSEUDONYM_DAYS = env.integer("RETENTION_PSEUDONYM_DAYS", 396, least=2, most=3_650, number=20)
ERASURES_DIR = env.text("ERASURES_DIR", str(VAR / "erasures"))  # best where the database's backups are not

# --- Django -----------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "adplatform.accounts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "lucide",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_celery_beat",
    "adplatform.core",
    "adplatform.jobs",
    "adplatform.inventory",
    "adplatform.audience",
    "adplatform.campaigns",
    "adplatform.events",
    "adplatform.billing",
    "adplatform.learning",
    "adplatform.bidding",
    "adplatform.insights",
    "adplatform.privacy",
    "adplatform.serving",
    "adplatform.api",
    "adplatform.portal",
    "adplatform.console",
    "adplatform.backups",
    "adplatform.demo",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "adplatform.accounts.middleware.NameMembers",
    "adplatform.api.middleware.InsideTenant",
]
ROOT_URLCONF = "adplatform.urls"
WSGI_APPLICATION = "adplatform.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "frame-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = env.text("ACCOUNT_EMAIL_VERIFICATION", "none")
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # who has no account here gets no mail, and leaves no address behind
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "account_login"
EMAIL_URL_FILE = VAR / "mail"
EMAIL_BACKEND = env.text("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = str(EMAIL_URL_FILE)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
    }
}
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
USE_TZ = True
TIME_ZONE = "UTC"
USE_THOUSAND_SEPARATOR = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static", ("vendor", str(VAR / "assets"))]
WHITENOISE_USE_FINDERS = True
SILENCED_SYSTEM_CHECKS = ["staticfiles.W004"]  # var/assets appears at set-up

# --- Celery -----------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL", REDIS_URL)
CELERY_TASK_ALWAYS_EAGER = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {"httpx": {"level": "WARNING"}, "django.request": {"level": "ERROR"}},
}
