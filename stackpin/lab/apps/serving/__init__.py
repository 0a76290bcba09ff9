"""A small HTTP/1.1 server, standard library only, which reference products are packed with."""
