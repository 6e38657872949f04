"""Kuzet: what is the same for every device."""
