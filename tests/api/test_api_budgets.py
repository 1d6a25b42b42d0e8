"""Budgets of users, groups and models by the API: refusals, warnings, limits until a date."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from api_client import Fetch, error
from scripted_model import write_scripts
from shared_server import sharing
from store_models import add_model
from tornado.httpclient import HTTPResponse

from jupyter_ollama.budgets.budget import Key
from jupyter_ollama.library.library import Library

NOW = date.today()
TERM = (str(NOW - timedelta(days=3)), str(NOW + timedelta(days=3)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models "small" and "big", whose answers are always the same."""
    folder = tmp_path_factory.mktemp("scripted")
    library = Library.open(folder / "models")
    weights = write_scripts(folder / "model.gguf", {"SAY": "It is done."})
    for name in ("small", "big"):
        add_model(library, name, weights, parameters={"num_ctx": 256})
    return folder / "models"


async def ask(fetch: Fetch, model: str = "small", **fields: Any) -> HTTPResponse:
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": model, "messages": messages, "stream": False} | fields
    return await fetch("POST", "/api/chat", body)


async def cost(fetch: Fetch, model: str = "small") -> int:
    """Ask once and return the tokens that it cost."""
    response = await ask(fetch, model)
    assert response.code == 200, response.body
    end = json.loads(response.body)
    return int(end["prompt_eval_count"] + end["eval_count"])


async def usage(fetch: Fetch) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await fetch("GET", "/usage")).body)
    return found


async def test_members_of_a_group_share_a_pot(store: Path) -> None:
    pot = {"group:students": {"tokens_per_month": 2, "soft": 0.5}}
    async with sharing(models_dir=str(store), shared_budgets=pot) as shared:
        spent = await cost(shared.user("ann/students/staff"))
        refused = await ask(shared.user("bob/students"))
        assert refused.code == 429
        text = f"the members of the group 'students' have used {spent} tokens, their limit is 2"
        assert error(refused).startswith(f"{text} a month; try again in ")
        wait = int(refused.headers["Retry-After"])
        ends = datetime.now().astimezone() + timedelta(seconds=wait)
        assert 0 < wait <= 31 * 86400
        assert (ends + timedelta(hours=2)).day == 1
        (budget,) = (await usage(shared.user("bob/students")))["budgets"]
        assert datetime.fromisoformat(budget.pop("ends_at")).day == 1
        assert budget == {
            "of": "group:students",
            "period": "month",
            "limit": 2,
            "used": spent,
            "left": 0,
            "soft": 0.5,
        }
        assert (await ask(shared.user("cyd/staff"))).code == 200


async def test_a_model_has_a_budget_of_its_own(store: Path) -> None:
    limits = {"*": {"per_model": {"big*": {"tokens_per_term": 1}}}}
    traits: dict[str, Any] = {"limits": limits, "terms": [TERM]}
    async with sharing(models_dir=str(store), **traits) as shared:
        ann = shared.user("ann")
        spent = await cost(ann, "big")
        refused = await ask(ann, "big")
        assert refused.code == 429
        text = f"you have used {spent} tokens of big*, the limit is 1 a term; try again in "
        assert error(refused).startswith(text)
        await cost(ann, "small")
        assert (await ask(shared.user("bob"), "big")).code == 200


async def test_all_users_share_a_budget(store: Path) -> None:
    async with sharing(
        models_dir=str(store), shared_budgets={"*": {"tokens_per_day": 1}}
    ) as shared:
        spent = await cost(shared.user("ann"))
        refused = await ask(shared.user("bob"))
        assert error(refused).startswith(f"all users together have used {spent} tokens, their")


async def test_requests_of_a_group_at_once_exceed_its_pot_by_one_at_most(store: Path) -> None:
    async with sharing(models_dir=str(store)) as shared:
        each = await cost(shared.user("ann"))
    limit = 5 * each - 1
    pots = {"group:g": {"tokens_per_day": limit}}
    async with sharing(models_dir=str(store), shared_budgets=pots) as shared:
        users = [shared.user(f"user{number}/g") for number in range(20)]
        # The answers of two models, so that one queue has to wait for the other.
        answers = await asyncio.gather(
            *(ask(user, ("small", "big")[number % 2]) for number, user in enumerate(users))
        )
        codes = [one.code for one in answers]
        assert {*codes} == {200, 429}
        assert codes.count(200) == 5
        counter = shared.server.admission.ledger.counter(Key("group:g", "", "day"))
        assert (counter.total, counter.reserved) == (5 * each, 0)


async def test_a_warning_comes_before_the_end(store: Path) -> None:
    limits = {"*": {"tokens_per_day": 10_000, "soft": 0.001}}
    async with sharing(models_dir=str(store), limits=limits) as shared:
        ann = shared.user("ann")
        first = await ask(ann, stream=True)
        assert "X-Ollama-Budget" not in first.headers  # its begin knew nothing of its cost
        end = json.loads(first.body.splitlines()[-1])
        spent = end["prompt_eval_count"] + end["eval_count"]
        warning = f"you have used {spent} tokens, the limit is 10000 a day"
        assert end["budget_warning"] == warning
        openai = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
        second = await ann("POST", "/v1/chat/completions", openai)
        assert second.headers["X-Ollama-Budget"] == warning.replace(str(spent), str(2 * spent))


async def test_limits_until_a_date(store: Path, tmp_path: Path) -> None:
    traits: dict[str, Any] = {
        "models_dir": str(store),
        "limits": {"*": {"tokens_per_day": 1, "concurrent": 2}},
        "record_usage": True,
        "usage_file": str(tmp_path / "usage.sqlite"),
    }
    until = str(NOW + timedelta(days=2))
    more = {"of": "user:ann", "limits": {"tokens_per_day": 100_000}, "until": until}
    async with sharing(**traits) as shared:
        ann, admin = shared.user("ann"), shared.user("admin")
        await cost(ann)
        assert (await ask(ann)).code == 429
        assert (await admin("PUT", "/admin/limits", more)).code == 200
        spent = await cost(ann)
        found = await usage(ann)
        assert found["limits"] == {"tokens_per_day": 100_000, "concurrent": 2}
        (override,) = found["overrides"]
        ends = datetime.fromisoformat(override.pop("until"))
        assert ends == datetime.fromisoformat(until).astimezone() + timedelta(days=1)
        assert override == {
            "of": "user:ann",
            "shared": False,
            "limits": {"tokens_per_day": 100_000},
        }
        assert (await usage(shared.user("bob")))["overrides"] == []
        listed = json.loads((await admin("GET", "/admin/limits")).body)
        assert listed["limits"] == traits["limits"]
        assert [(one["of"], one["used"]) for one in listed["budgets"]] == [
            ("user:ann", 2 * spent),
            ("user:bob", 0),
        ]
    async with sharing(**traits) as shared:
        ann, admin = shared.user("ann"), shared.user("admin")
        await cost(ann)
        assert (await admin("DELETE", "/admin/limits", {"of": "user:ann"})).code == 200
        assert (await ask(ann)).code == 429
        assert (await admin("DELETE", "/admin/limits", {"of": "user:ann"})).code == 404


async def test_a_limit_ends_with_its_date(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sharing(models_dir=str(store), limits={"*": {"tokens_per_day": 1}}) as shared:
        ann, admin = shared.user("ann"), shared.user("admin")
        soon = (datetime.now() + timedelta(hours=1)).isoformat()
        body = {"of": "*", "limits": {"tokens_per_day": None}, "until": soon}
        assert (await admin("PUT", "/admin/limits", body)).code == 200
        await cost(ann)
        assert (await usage(ann))["limits"] == {}
        later = SimpleNamespace(time=lambda: time.time() + 3601)
        monkeypatch.setattr("jupyter_ollama.scheduler.overrides.time", later)
        assert (await ask(ann)).code == 429


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"of": "ann"}, "'ann' is neither \"*\" nor"),
        ({"of": "user:ann", "shared": True}, '\'user:ann\' is neither "*" nor "group:NAME"'),
        ({"limits": {"tokens": 1}}, "Object contains unknown field `tokens`"),
        ({"limits": {}}, "limits are required"),
        ({"limits": {"per_model": {"a": {}}}}, "limits of single models are set in the config"),
        ({"until": "2020-01-01"}, "until is over: 2020-01-01"),
        ({"until": "soon"}, "until must be a date or a time"),
    ],
)
async def test_limits_that_make_no_sense(store: Path, fields: dict[str, Any], message: str) -> None:
    async with sharing(models_dir=str(store)) as shared:
        body = {"of": "*", "limits": {"queue": 1}, "until": str(NOW + timedelta(days=1))} | fields
        refused = await shared.user("admin")("PUT", "/admin/limits", body)
        assert refused.code == 400
        assert message in error(refused)


async def test_months_and_terms_survive_a_restart(store: Path, tmp_path: Path) -> None:
    traits: dict[str, Any] = {
        "models_dir": str(store),
        "record_usage": True,
        "usage_file": str(tmp_path / "usage.sqlite"),
        "terms": [TERM],
        "limits": {
            "*": {
                "tokens_per_minute": 10_000,
                "tokens_per_day": 10_000,
                "tokens_per_month": 10_000,
                "tokens_per_term": 10_000,
                "per_model": {"big*": {"tokens_per_month": 10_000}},
            }
        },
        "shared_budgets": {"group:g": {"tokens_per_term": 10_000}},
    }
    expected: list[int] = []
    for turn in (1, 2):
        async with sharing(**traits) as shared:
            if turn == 2:
                found = (await usage(shared.user("ann/g")))["budgets"]
                assert [one["used"] for one in found] == expected
            big, small = await cost(shared.user("ann/g"), "big"), await cost(shared.user("bob/g"))
            big += await cost(shared.user("ann"), "big")
            expected = [turn * big] * 5 + [turn * (big // 2 + small)]
            found = (await usage(shared.user("ann/g")))["budgets"]
            assert [one["used"] for one in found] == expected
