"""Hosts on one machine: Linux network namespaces, joined by a bridge, that can be cut off, slowed down, frozen and killed.

A host has its own interfaces, its own loopback address and its own name, and shares files and processes' numbers with the
machine. Namespaces need root's rights on the machine's network (CAP_NET_ADMIN, CAP_SYS_ADMIN), and pyroute2.
"""

from pipeline.namespaces.network import Host, Network, NoNamespaces, Outside, may_make_namespaces, network_of_hosts

__all__ = ["Host", "Network", "NoNamespaces", "Outside", "may_make_namespaces", "network_of_hosts"]
