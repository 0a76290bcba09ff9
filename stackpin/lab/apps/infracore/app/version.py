"""The release this copy of the program is. The builder replaces this one line."""

VERSION = "v1.0.0"
