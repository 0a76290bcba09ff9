"""What is asked of InfraCore's deploy, line by line: each line names the tests that prove it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SYSTEMD, CARE, FAULTS = (
    "lab/test_infracore.py",
    "lab/test_infracore_care.py",
    "lab/infracore_faults.py",
)
MADE, UNIT = "lab/test_infracore_artifacts.py", "unit/test_config_infracore.py"

PROVEN: dict[str, list[tuple[str, str]]] = {
    "12 five units under the user infracore, five answers": [
        (SYSTEMD, "test_first_deploy_from_bare"),
    ],
    "13 gate binds port 80 without root, with one capability": [
        (CARE, "test_gate_may_bind_its_port_itself"),
    ],
    "14 hardening is really set, /etc cannot be written": [
        (SYSTEMD, "test_units_are_hardened"),
    ],
    "15 the configuration is read from the tree, and the checks follow it": [
        (SYSTEMD, "test_configuration_is_read_from_the_tree_and_followed"),
    ],
    "16 tokens stay valid over deploys": [
        (SYSTEMD, "test_upgrade_under_load_loses_nothing"),
    ],
    "17 a port of somebody else's stops a deploy, our own does not": [
        (SYSTEMD, "test_a_foreign_program_on_a_port_is_named"),
        (SYSTEMD, "test_a_second_deploy_changes_nothing"),
    ],
    "18 preflight tells its findings one by one and changes nothing": [
        (SYSTEMD, "test_a_failing_preflight_tells_all_and_changes_nothing"),
    ],
    "19 the gate judges status and body of the product's ports": [
        (SYSTEMD, "test_a_bad_version_is_taken_back"),
        (UNIT, "test_an_error_or_a_page_is_not_healthy"),
    ],
    "20 the score, and required services beside it": [
        (SYSTEMD, "test_a_dead_required_service_fails_the_score_and_another_only_lowers_it"),
        ("unit/test_cli_verify.py", "test_a_part_that_is_not_required_is_told"),
    ],
    "21 a backup is consistent, also of what is only in the WAL": [
        (CARE, "test_a_backup_has_what_is_only_in_the_wal_and_is_restored"),
    ],
    "22 retention keeps exactly N of ours, and other files": [
        (CARE, "test_retention_keeps_exactly_as_many_of_ours"),
    ],
    "23 rollback brings back executables, configuration and, when asked, data": [
        (SYSTEMD, "test_a_bad_version_is_taken_back"),
        (SYSTEMD, "test_rollback_goes_to_the_version_before"),
        (CARE, "test_rollback_with_data"),
    ],
    "24 killed or cut off half-way, the old release serves and the next run recovers": [
        (FAULTS, "test_kill_9_in_the_middle_of_a_service"),
        (FAULTS, "test_the_network_cut_before_a_switch_is_confirmed"),
        (FAULTS, "test_the_network_cut_again_and_again_at_every_other_stage"),
    ],
    "25 a second deploy is refused, a dead one's lock is taken over": [
        (FAULTS, "test_two_operators_do_not_mix"),
        (FAULTS, "test_kill_9_before_anything_is_touched"),
    ],
    "26 current is never missing": [
        (SYSTEMD, "test_current_is_never_missing"),
    ],
    "27 an upgrade under load fails no request": [
        (SYSTEMD, "test_upgrade_under_load_loses_nothing"),
        ("lab/test_infracore_compose.py", "test_upgrade_under_load_loses_nothing"),
    ],
    "28 every verb acts on this deployment alone": [
        (CARE, "decoys"),
        (CARE, "test_status_shows_every_service"),
        (CARE, "test_logs_of_one_service_and_of_all"),
        (CARE, "test_restart_of_one_service_leaves_the_others"),
        (CARE, "test_stop_and_start"),
        (CARE, "test_configure_sets_a_variable_in_place"),
        (CARE, "test_doctor_explains_and_bundles_without_secrets"),
    ],
    "29 uninstall removes what it lists, and keeps backups": [
        (CARE, "test_uninstall_removes_what_it_lists_and_keeps_backups"),
    ],
    "30 mirrors reach docker and the builds": [
        (MADE, "test_the_mirrors_reach_docker"),
        (MADE, "test_a_build_host_builds_the_next_one_behind_mirrors"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("line", PROVEN)
def test_every_line_has_its_tests(line: str) -> None:
    for path, name in PROVEN[line]:
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        assert name in {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}


def test_no_line_is_left_out() -> None:
    assert [int(line.split()[0]) for line in PROVEN] == list(range(12, 31))
