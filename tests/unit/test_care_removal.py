"""What an uninstall lists is readable for every kind of thing."""

from stackpin.care.removal import lines


def test_every_kind_of_thing_is_named_in_plain_words():
    digest = "sha256:" + "a" * 64
    answer = {
        "remove": [
            {"path": "/opt/xingrin-worker", "why": "releases"},
            {"unit": "crm@blue.service", "why": "process"},
            {"user": "crm", "why": "account"},
            {"container": "xingrin-agent", "id": "b" * 64, "why": "made by Stackpin"},
            {"image": f"r:5000/x/xingrin-agent:v1.1.0@{digest}", "why": "of a release"},
        ],
        "keep": [],
    }
    assert list(lines(answer)) == [
        "remove /opt/xingrin-worker (releases)",
        "remove unit crm@blue.service (process)",
        "remove user crm (account)",
        "remove container xingrin-agent bbbbbbbbbbbb (made by Stackpin)",
        "remove image r:5000/x/xingrin-agent:v1.1.0 (of a release)",
    ]
