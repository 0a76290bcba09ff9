"""The drift report and its two machine forms: values in, values out."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from stackpin.drift.junit import junit_xml
from stackpin.drift.prometheus import prometheus_text
from stackpin.drift.report import DriftReport, build

CREATED = "2026-11-21T22:45:00+00:00"


def op(verdict: str, name: str = "Unit file", **change: Any) -> dict[str, Any]:
    changes = [{"kind": "file", "subject": "/etc/x", **change}] if change else []
    return {"name": name, "verdict": verdict, "changes": changes}


def parsed(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml.encode())  # noqa: S314 -- our own output


def plan(*ops: dict[str, Any], error: str | None = None, host: str = "a") -> dict[str, Any]:
    releases = {"crm": {"now": "v1.0.0-aa", "wanted": "v1.1.0-bb"}}
    entry = {"releases": releases, "ops": list(ops)}
    return {"hosts": {host: {**entry, "error": error}}}


def finding(code: str = "exe-deleted", **more: str) -> dict[str, str]:
    return {"code": code, "message": "m", "expected": "e", "found": "f", **more}


def report(plan_json: dict[str, Any], inspections: dict[str, Any]) -> DriftReport:
    return build(
        inventory="prod", stack="crm", created=CREATED, plan=plan_json, inspections=inspections
    )


CLEAN: dict[str, Any] = {"findings": []}


def test_in_sync_is_exit_0() -> None:
    assert report(plan(op("no-change")), {"a": CLEAN}).exit_code == 0


def test_a_pending_change_is_exit_2() -> None:
    assert report(plan(op("change")), {"a": CLEAN}).exit_code == 2


def test_a_finding_alone_is_exit_2() -> None:
    assert report(plan(op("no-change")), {"a": {"findings": [finding()]}}).exit_code == 2


def test_an_operation_that_only_follows_others_is_not_drift() -> None:
    assert report(plan(op("conditional")), {"a": CLEAN}).exit_code == 0


def test_an_unreachable_host_is_exit_1_even_when_another_drifts() -> None:
    plans = plan(op("change"))
    plans["hosts"]["b"] = {"ops": [], "error": "b: unreachable"}
    got = report(plans, {"a": CLEAN, "b": "b: unreachable"})
    assert got.exit_code == 1
    assert got.hosts["b"].error == "b: unreachable"  # said once, though both sides say it
    assert got.hosts["a"].drifted


def test_a_host_missing_on_either_side_is_not_checked() -> None:
    assert report(plan(op("no-change")), {}).exit_code == 1
    assert report({"hosts": {}}, {"a": CLEAN}).exit_code == 1


def test_no_host_at_all_is_an_error_not_in_sync() -> None:
    assert report({"hosts": {}}, {}).exit_code == 1


def test_findings_are_kept_when_the_plan_failed() -> None:
    got = report(plan(error="facts failed"), {"a": {"findings": [finding("stray-listener")]}})
    assert got.hosts["a"].error == "facts failed"
    assert got.hosts["a"].findings[0].code == "stray-listener"


def test_a_secret_change_shows_neither_side() -> None:
    secret = op("change", before="old-secret", after="new-secret", secret=True)
    text = str(report(plan(secret), {"a": CLEAN}).as_json())
    assert "old-secret" not in text
    assert "new-secret" not in text
    assert "secret, not shown" in text


def test_summary_says_absent_for_none() -> None:
    got = report(plan(op("change", before=None, after="0600 root")), {"a": CLEAN})
    assert got.hosts["a"].pending[0].summary == ("file /etc/x: absent -> 0600 root",)


def test_junit_counts_and_parses() -> None:
    plans = plan(op("change", diff=["- a", "+ b"]), op("no-change", "Dir"), op("conditional", "R"))
    xml = junit_xml(report(plans, {"a": {"findings": [finding()]}}))
    root = parsed(xml)
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "2", "0")
    assert root.get("tests") == "5"
    failure = suite.find("testcase[@name='Unit file']/failure")
    assert failure is not None
    assert "+ b" in (failure.text or "")


def test_junit_reports_an_unchecked_host_as_error() -> None:
    root = parsed(junit_xml(report(plan(error="no route"), {"a": "no route"})))
    error = root.find("testsuite/testcase/error")
    assert error is not None
    assert error.get("message") == "no route"
    assert root.get("errors") == "1"


@given(st.text(max_size=60))
def test_any_text_makes_well_formed_xml(text: str) -> None:
    got = report(plan(op("change", text, diff=[text])), {"a": {"findings": [finding(found=text)]}})
    parsed(junit_xml(got))


@given(st.text(max_size=60))
def test_any_host_name_stays_on_one_prometheus_line(text: str) -> None:
    got = report(plan(op("change"), host=text), {text: CLEAN})
    for line in prometheus_text(got).rstrip("\n").split("\n"):
        assert line.startswith(("# ", "stackpin_"))


def test_prometheus_values() -> None:
    findings = {"findings": [finding("stray-listener"), finding("stray-listener")]}
    text = prometheus_text(report(plan(op("change")), {"a": findings}))
    where = 'host="a",inventory="prod"'
    assert f'stackpin_drift_checked{{{where},stack="crm"}} 1.0\n' in text
    assert f'stackpin_drift_in_sync{{{where},stack="crm"}} 0.0\n' in text
    assert f'stackpin_drift_operations{{{where},stack="crm"}} 1.0\n' in text
    assert f'findings{{code="stray-listener",{where},stack="crm"}} 2.0\n' in text
    ids = 'live="v1.0.0-aa",part="crm",stack="crm",wanted="v1.1.0-bb"'
    assert f"stackpin_release_info{{{where},{ids}}} 1.0\n" in text
    assert 'stackpin_drift_time_seconds{inventory="prod",stack="crm"} 1.7953011e+09\n' in text


def test_prometheus_unchecked_host_is_not_in_sync() -> None:
    text = prometheus_text(report(plan(), {"a": "unreachable"}))
    assert 'stackpin_drift_checked{host="a",inventory="prod",stack="crm"} 0.0\n' in text
    assert 'stackpin_drift_in_sync{host="a",inventory="prod",stack="crm"} 0.0\n' in text
