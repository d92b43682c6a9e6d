"""Guarded child processes that commit chunks, and the supervisor that hands the chunks out and watches them."""
