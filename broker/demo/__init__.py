"""The embedded default: the broker between a real OpenID provider library and a Comm100 stand-in, all on loopback."""

from broker.demo.launch import run

__all__ = ["run"]
