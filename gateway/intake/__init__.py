"""Intake: the doors by which observations and commands enter the journal."""
