"""The reference XingRin server: the worker API with its real habits, on PostgreSQL and Redis.

Inside the image this package is `xingrin`; only the standard library and psycopg2 are needed.
"""
