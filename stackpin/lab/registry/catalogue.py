"""Which of the lab's own images a push is about, chosen by words as on the command line."""

from collections.abc import Callable, Sequence
from pathlib import Path

from stackpin.errors import Refused
from stackpin.lab.commands import Report
from stackpin.lab.registry.model import BuiltImage

__all__ = ["NAMESPACES", "choose", "namespace_of"]

Images = dict[tuple[str, str], BuiltImage]
NAMESPACES = {"xingrin": "yyhuni", "infracore": "infracore"}
"""Product -> the folder of its images in the lab's registry."""
ALWAYS = frozenset({"postgres", "redis"})
"""Images with versions of their own, which every version of XingRin needs."""


def choose(words: Sequence[str], cache: Path, report: Report) -> list[BuiltImage]:
    """Build what is not in the lab's `cache` and return the images that `words` name.

    A word is `all`, a product (`xingrin`, `infracore`), a product's version (`infracore:v1.1.0`) or
    a version of XingRin (`v1.1.0`). Refused for a product or version that there is not.
    """
    wanted: dict[str, set[str]] = {}
    for word in words:
        for product, tag in _parts(word):
            wanted.setdefault(product, set()).add(tag)
    chosen: Images = {}
    for product, tags in wanted.items():
        chosen |= _of_product(product, tags, PRODUCTS[product](cache, report))
    return [image for _, image in sorted(chosen.items())]


def namespace_of(name: str) -> str:
    """Return the folder of the image `name`; the databases' are beside XingRin's."""
    return NAMESPACES["infracore" if name.startswith("infracore-") else "xingrin"]


def _parts(word: str) -> list[tuple[str, str]]:
    """Return product and tag, without a tag for all of them."""
    if word == "all":
        return [(product, "") for product in PRODUCTS]
    product, colon, tag = word.partition(":")
    if not colon and product not in PRODUCTS:
        product, tag = "xingrin", word
    if product not in PRODUCTS:
        raise Refused(f"no lab images of {product}; there are {', '.join(PRODUCTS)}")
    return [(product, tag)]


def _of_product(product: str, tags: set[str], built: Images) -> Images:
    known = {tag for name, tag in built if name not in ALWAYS}
    if unknown := sorted(tags - known - {""}):
        there = ", ".join(sorted(known))
        raise Refused(f"no {product} image has the tag {', '.join(unknown)}; there are {there}")
    return {
        key: image
        for key, image in built.items()
        if key[0] in ALWAYS or "" in tags or key[1] in tags
    }


def _xingrin(cache: Path, report: Report) -> Images:
    # Here, because most uses of a lab build no image.
    from stackpin.lab.apps.xingrin.images import build  # noqa: PLC0415

    return build(cache, report)


def _infracore(cache: Path, report: Report) -> Images:
    from stackpin.lab.apps.infracore.images import build  # noqa: PLC0415

    return build(cache, report)


PRODUCTS: dict[str, Callable[[Path, Report], Images]] = {
    "xingrin": _xingrin,
    "infracore": _infracore,
}
