"""One state of 64 resources, brought about and checked by Stackpin and by other tools."""
