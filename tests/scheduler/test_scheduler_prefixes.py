"""The prefixes that the requests of a user may use, as they are sent to runners."""

from __future__ import annotations

from typing import Any

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.protocol import OWN_PREFIXES, PrefixSharing
from jupyter_ollama.scheduler.account import OWNER_NAME


class Users:
    """The users of a server."""

    def __init__(self, **traits: Any) -> None:
        self.admission = OllamaServer(**traits).admission

    def ask(self, name: str, *groups: str) -> PrefixSharing:
        with self.admission.admit(name, groups, "", "", None, lambda: None) as request:
            return request.sharing


def test_a_user_has_one_number() -> None:
    users = Users()
    numbers = {name: users.ask(name).account for name in ("ann", "bob", "cyd")}
    assert len({0, *numbers.values()}) == 4
    assert {name: users.ask(name).account for name in numbers} == numbers


def test_a_server_with_one_user_shares_all() -> None:
    users = Users(prefix_disk_bytes=0)
    assert users.ask(OWNER_NAME) == OWN_PREFIXES
    alone = Users()
    assert [alone.ask("ann").after for _ in range(2)] == [0, 0]
    assert alone.ask("bob").after == alone.ask("ann").after == 3


def test_the_settings_of_an_administrator() -> None:
    for policy, after in (("system", 5), ("account", 0)):
        users = Users(prefix_sharing=policy, prefix_accounts=5)
        ann, bob = users.ask("ann"), users.ask("bob")
        assert (bob.after, bob.account == ann.account) == (after, False)
    users = Users(prefix_sharing="all", prefix_disk_bytes=0)
    assert users.ask("ann") == users.ask("bob") == OWN_PREFIXES


def test_members_of_the_same_groups_share() -> None:
    users = Users(prefix_sharing="group")
    ann, bob = users.ask("ann", "physics"), users.ask("bob", "physics")
    assert ann == bob
    assert ann.after == 0
    tutor = users.ask("cyd", "physics", "tutors")
    assert tutor == users.ask("dan", "tutors", "physics")
    others = [users.ask("eve", "history"), users.ask("flo"), users.ask("gus"), tutor, ann]
    assert len({one.account for one in others}) == len(others)
    assert (users.ask(OWNER_NAME).account, users.ask(OWNER_NAME).after) == (0, 0)


def scope_of(name: str, *groups: str, before: tuple[str, ...] = (), **traits: Any) -> str:
    """Return who shares the system prompts of a user on the disk, in a server that has started."""
    users = Users(**traits)
    for other in before:
        users.ask(other)
    return users.ask(name, *groups).scope


def test_system_prompts_on_the_disk_are_read_by_those_who_share_them() -> None:
    common = {"shared": True}
    assert scope_of("ann", **common) == scope_of("bob", before=("cyd",)) != ""
    physics = scope_of("ann", "physics", "tutors", prefix_sharing="group")
    assert physics == scope_of("bob", "tutors", "physics", prefix_sharing="group")
    everyone = scope_of("ann", prefix_sharing="all")
    assert everyone == scope_of(OWNER_NAME, prefix_sharing="all")
    alone = scope_of("ann")
    assert alone == scope_of("ann")
    apart = [
        scope_of("ann", **common),
        scope_of("ann", **common, prefix_accounts=4),
        physics,
        scope_of("ann", "physics", prefix_sharing="group"),
        everyone,
        scope_of(OWNER_NAME),
        alone,
        scope_of("bob"),
    ]
    assert len(set(apart)) == len(apart)
    assert "" not in apart
    for traits in (
        {"prefix_sharing": "account"},
        {"prefix_sharing": "account", "shared": True},
        {"prefix_sharing": "group"},
        {"prefix_disk_bytes": 0},
        {"prefix_disk_bytes": 0, "shared": True},
        {"prefix_disk_bytes": 0, "prefix_sharing": "all"},
    ):
        assert scope_of("ann", **traits) == ""
