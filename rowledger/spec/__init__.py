"""What a user declares, and the plan of a load: table spec, source, transform, partition, manifest, chunk."""
