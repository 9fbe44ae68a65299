"""Stand-ins for the systems outside: real servers on loopback that behave as was recorded of the originals."""
