"""MQTT in, one transaction, acknowledge."""
