"""Reporting aids."""
def filled(facts, sets):
    return {}
