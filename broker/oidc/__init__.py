"""The relying party's side of OpenID Connect: one file per message, no provider known by name.

Each file holds a pair: build the request, check the answer. Only `client` opens a socket.
"""
