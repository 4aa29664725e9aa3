"""Property tests run on machines that do other things too: no deadline per example."""

from hypothesis import settings

settings.register_profile("adplatform", deadline=None)
settings.load_profile("adplatform")
