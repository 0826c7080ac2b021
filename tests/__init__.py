"""Renders every combination of the questionnaire, and proves it."""
