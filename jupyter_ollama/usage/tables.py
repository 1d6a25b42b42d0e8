"""The tables of the usage file, and the statements that read and change them."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS usage (
    time REAL NOT NULL, user TEXT NOT NULL, groups TEXT NOT NULL, model TEXT NOT NULL,
    digest TEXT NOT NULL, path TEXT NOT NULL, status INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    generated_tokens INTEGER NOT NULL, waited_ms INTEGER NOT NULL, total_ms INTEGER NOT NULL,
    host TEXT NOT NULL DEFAULT '', request TEXT
);
CREATE INDEX IF NOT EXISTS usage_of_user ON usage (user, time);
CREATE INDEX IF NOT EXISTS usage_by_time ON usage (time);
CREATE UNIQUE INDEX IF NOT EXISTS usage_of_request ON usage (request);
CREATE TABLE IF NOT EXISTS blocked (user TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS overrides (field TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
COLUMNS = {"host": "TEXT NOT NULL DEFAULT ''", "request": "TEXT"}
"""The columns that files of earlier versions lack."""

INSERT = f"""INSERT INTO usage (time, user, groups, model, digest, path, status, prompt_tokens,
    cached_tokens, generated_tokens, waited_ms, total_ms, host, request)
    VALUES ({", ".join("?" * 14)}) ON CONFLICT (request) DO UPDATE SET status = excluded.status,
    prompt_tokens = excluded.prompt_tokens, cached_tokens = excluded.cached_tokens,
    generated_tokens = excluded.generated_tokens, waited_ms = excluded.waited_ms,
    total_ms = excluded.total_ms"""
OVERRIDE = "INSERT OR REPLACE INTO overrides VALUES (?, ?)"
NO_OVERRIDE = "DELETE FROM overrides WHERE field = ?"
OVERRIDES = "SELECT field, value FROM overrides"
USERS = "SELECT user, groups, max(time) FROM usage WHERE time > ? GROUP BY user"
"""Of the bare column, SQLite takes the value in the row of the maximum."""

RECORDED = "SELECT request FROM usage WHERE request >= ? AND request < ?"
BLOCKED = "SELECT user FROM blocked"
BLOCK = "INSERT OR IGNORE INTO blocked VALUES (?)"
UNBLOCK = "DELETE FROM blocked WHERE user = ?"
SPENT = """SELECT min(time), user, groups, model, sum(prompt_tokens + generated_tokens) FROM usage
    WHERE time >= ?1 AND time <= ?2 AND (?3 = '' OR host IN ('', ?3))
    GROUP BY user, groups, model, CAST(time / ?4 AS INTEGER)"""
PRUNE = "DELETE FROM usage WHERE time < ?"
SUMS = """count(*) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(cached_tokens) AS cached_tokens, sum(generated_tokens) AS generated_tokens"""
