"""Accounts of devices at the MQTT broker: who may sign in, what for, and the files from which the brokers know it."""
