"""`broker demo`: the broker between an OpenID provider and a Comm100 stand-in, all on this machine."""

from broker.demo.launch import run

__all__ = ["run"]
