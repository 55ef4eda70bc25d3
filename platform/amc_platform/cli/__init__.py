"""The `amc` command: thin verbs over the rooms of the platform. Heavy imports live inside the verbs."""
