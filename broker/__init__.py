"""An OpenID Connect relying party that hands Comm100 the JWT it expects."""
