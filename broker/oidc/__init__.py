"""The relying party of OpenID Connect: a file for each message builds the request and checks the response.

Only `client` and `transport` open sockets. The code knows no provider by name.
"""
