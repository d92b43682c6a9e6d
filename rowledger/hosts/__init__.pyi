from .agent_thread import AgentThread as AgentThread
from .early_hosts import EarlyHosts as EarlyHosts
from .engine import (
    AgentHandle as AgentHandle,
    AgentUnable as AgentUnable,
    Engine as Engine,
    HostGone as HostGone,
    Method as Method,
    Place as Place,
)
from .host_pool import HostPool as HostPool, Sharing as Sharing
from .losses import HostLosses as HostLosses
from .messages import Open as Open
from .versions import code_versions as code_versions, contract_digest as contract_digest
