"""This repository's Dagster project: its definitions, tables and landing assets, and the demo."""
