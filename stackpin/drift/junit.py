"""Write a drift report as JUnit XML, the form CI systems show."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

from stackpin.drift.report import DriftReport, HostDrift

__all__ = ["junit_xml"]

# XML 1.0 has no way at all to carry these, not even escaped.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: DriftReport) -> str:
    """Return the report as a JUnit document: a suite per host, a case per operation and finding.

    Drift is a failure with the diff as its text, a host that could not be checked is an error.
    """
    root = ElementTree.Element(
        "testsuites", name=_clean(f"stackpin drift {report.inventory} {report.stack}")
    )
    for name, host in report.hosts.items():
        _suite(root, report, name, host)
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _suite(root: ElementTree.Element, report: DriftReport, name: str, host: HostDrift) -> None:
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_clean(f"{report.stack} on {name}"),
        hostname=_clean(name),
        timestamp=report.created.removesuffix("Z").partition("+")[0],
        time="0",
    )
    case = _case_maker(suite, f"{report.inventory}.{report.stack}.{name}")
    checked = case("host can be checked")
    if host.error:
        ElementTree.SubElement(checked, "error", message=_clean(host.error), type="not-checked")
    for op_name in host.in_sync_ops:
        case(op_name)
    for op_name in host.conditional:
        skipped = "runs only when another operation changes something"
        ElementTree.SubElement(case(op_name), "skipped", message=skipped)
    for op in host.pending:
        text = "\n".join((*op.summary, *op.diff))
        _fail(case(op.name), "pending-change", "would change", text)
    for finding in host.findings:
        text = f"expected: {finding.expected}\nfound: {finding.found}"
        _fail(case(f"finding: {finding.code}"), finding.code, finding.message, text)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))


def _case_maker(suite: ElementTree.Element, classname: str) -> Callable[[str], ElementTree.Element]:
    def case(name: str) -> ElementTree.Element:
        return ElementTree.SubElement(
            suite, "testcase", classname=_clean(classname), name=_clean(name), time="0"
        )

    return case


def _fail(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    failure = ElementTree.SubElement(case, "failure", message=_clean(message), type=_clean(kind))
    failure.text = _clean(text)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
