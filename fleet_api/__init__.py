"""The HTTP interface: what people and other programs see."""
