"""`broker init`: the first settings, from the few values an admin has, or a command line.

It owns the way from answers to files. It decides no rule of the settings, and starts nothing.
"""

from broker.init.probe import NetworkProbe
from broker.init.set_up import NotWritten, Request, Written, next_steps, set_up
from broker.init.terminal import Person, Terminal
from broker.init.validation import Probe

__all__ = ["NetworkProbe", "NotWritten", "Person", "Probe", "Request", "Terminal", "Written", "next_steps", "set_up"]
