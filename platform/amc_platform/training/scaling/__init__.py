"""`amc bench scale`: what training costs on several workers, measured here and computed for more."""
