"""The inbox: events as they leave, kept as issues in the database of the project."""
