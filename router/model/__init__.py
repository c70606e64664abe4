"""Frozen values and codes that every room speaks in. No behaviour beyond parsing and printing them."""
