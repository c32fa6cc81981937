"""Settings for the tests of verifiers."""

from hypothesis import settings

# A busy machine may take long for one example; how long says nothing about a verifier.
settings.register_profile("verifiers", deadline=None, max_examples=30)
settings.load_profile("verifiers")
