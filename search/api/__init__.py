"""The doors of the service for people: run a sweep, look at its front, take models along."""
