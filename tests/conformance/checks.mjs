// Runs checks one after the other and prints {name: "passed" or the error} as JSON.
import assert from "node:assert/strict";

const checks = [];

export const host = process.argv[2];
export const QUESTION = { role: "user", content: "What is the capital of France?" };
export const PLAIN = "There is nothing to be called, so here is some text.";
export { assert };

export function check(name, run) {
  checks.push([name, run]);
}

export async function gather(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

export async function runChecks() {
  const results = {};
  for (const [name, run] of checks) {
    try {
      await run();
      results[name] = "passed";
    } catch (error) {
      results[name] = String(error.stack);
    }
  }
  process.stdout.write(JSON.stringify(results));
}
