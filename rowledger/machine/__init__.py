"""What the machine grants: CPUs and memory of the cgroup, free disk, threads."""
