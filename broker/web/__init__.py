"""The site: routes, endpoints and pages; a request goes in, an answer comes out, and no rule lives here."""
