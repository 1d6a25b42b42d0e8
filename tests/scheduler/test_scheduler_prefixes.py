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

    def ask(self, name: str) -> PrefixSharing:
        with self.admission.admit(name, (), "", "", None, lambda: None) as request:
            return request.sharing


def test_a_user_has_one_number() -> None:
    users = Users()
    numbers = {name: users.ask(name).account for name in ("ann", "bob", "cyd")}
    assert len({0, *numbers.values()}) == 4
    assert {name: users.ask(name).account for name in numbers} == numbers


def test_a_server_with_one_user_shares_all() -> None:
    users = Users()
    assert users.ask(OWNER_NAME) == OWN_PREFIXES
    alone = Users()
    assert [alone.ask("ann").after for _ in range(2)] == [0, 0]
    assert alone.ask("bob").after == alone.ask("ann").after == 3


def test_the_settings_of_an_administrator() -> None:
    for policy, after in (("system", 5), ("account", 0)):
        users = Users(prefix_sharing=policy, prefix_accounts=5)
        ann, bob = users.ask("ann"), users.ask("bob")
        assert (bob.after, bob.account == ann.account) == (after, False)
    users = Users(prefix_sharing="all")
    assert users.ask("ann") == users.ask("bob") == OWN_PREFIXES
