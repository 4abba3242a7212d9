"""The relying party of OpenID Connect: for each message one file, which builds the request and checks the response.

Only `client` and `transport` open sockets. No provider is known by name.
"""
