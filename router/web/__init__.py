"""The two listeners: HTTP in, problem+json out. Nothing here decides anything about a lead."""
