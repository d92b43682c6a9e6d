"""What one does with a table: load its partitions, verify them, read their status. One file, one story."""
