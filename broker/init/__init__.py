"""`broker init`: write the first settings, from a person's answers or from options."""

from broker.init.probe import Probe
from broker.init.template import next_steps
from broker.init.wizard import NotWritten, Request, Written, set_up

__all__ = ["NotWritten", "Probe", "Request", "Written", "next_steps", "set_up"]
