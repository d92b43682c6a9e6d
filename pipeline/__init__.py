"""The Dagster project of this repository: its definitions, tables and landing assets, and the demo."""
