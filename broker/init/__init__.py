"""`broker init`: the first settings, from the few values an admin has, or a command line.

It owns the way from answers to files. It decides no rule of the settings, and starts nothing.
"""

from broker.init.judging import Look
from broker.init.look import NetworkLook
from broker.init.set_up import NotWritten, Request, Written, next_steps, set_up
from broker.init.terminal import Person, Terminal

__all__ = ["Look", "NetworkLook", "NotWritten", "Person", "Request", "Terminal", "Written", "next_steps", "set_up"]
