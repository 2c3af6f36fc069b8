"""Kills, freezes and cuts of real processes under load; each ends with the same four numbers."""
