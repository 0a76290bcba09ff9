"""The program that runs on a deployed host: standard library only, Python 3.10 or later.

It travels as one zipapp (see `stackpin.engine.bundle`) and holds every step whose half-done
state would be unsafe, so that a cut connection cannot leave such a state behind.
"""
