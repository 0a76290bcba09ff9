"""The reference XingRin: five images in several versions, made without any public base image.

`images.py` says what is in each image, `debian.py` and `layers.py` make it, `server/` and `files/`
are what runs inside. Some versions carry a fault on purpose (`versions.py`).
"""
