"""Onboarding: what operators wrote, decoded strictly, judged as a whole, compiled into the Book routing reads."""
