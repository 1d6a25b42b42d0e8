import Anthropic from "@anthropic-ai/sdk";
import { assert, check, gather, host, PLAIN, runChecks } from "./checks.mjs";

const client = new Anthropic({ baseURL: `http://${host}`, apiKey: "unused", maxRetries: 0 });
const model = "caller";
const max_tokens = 2000;
const hello = [{ role: "user", content: "hello" }];
const asked = [{ role: "user", content: "call it" }];
const input_schema = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ name: "get_weather", input_schema }];

check("messages", async () => {
  const answer = await client.messages.create({ model, max_tokens, messages: hello });
  assert.deepEqual(answer.content.map((block) => block.text), [PLAIN]);
  assert.equal(answer.stop_reason, "end_turn");
});

check("messages stream", async () => {
  const stream = client.messages.stream({ model, max_tokens, messages: hello });
  assert.equal(await stream.finalText(), PLAIN);
  const request = { model, max_tokens, messages: hello, stream: true };
  const kinds = (await gather(await client.messages.create(request))).map((event) => event.type);
  assert.equal(kinds[0], "message_start");
  assert.equal(kinds.at(-1), "message_stop");
});

check("tools", async () => {
  const answer = await client.messages.create({ model, max_tokens, messages: asked, tools });
  const use = answer.content.at(-1);
  assert.deepEqual([use.type, use.input], ["tool_use", { city: "Paris" }]);
  const result = { type: "tool_result", tool_use_id: use.id, content: "sunny" };
  const messages = [
    ...asked,
    { role: "assistant", content: answer.content },
    { role: "user", content: [result] },
  ];
  const last = await client.messages.create({ model, max_tokens, messages, tools });
  assert.equal(last.content[0].text, PLAIN);
  const stream = client.messages.stream({ model, max_tokens, messages: asked, tools });
  assert.deepEqual((await stream.finalMessage()).content.at(-1).input, { city: "Paris" });
});

check("thoughts", async () => {
  const messages = [{ role: "user", content: "What is 3^3?" }];
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const request = { model: "thinker", max_tokens, messages, thinking };
  const answer = await client.messages.create(request);
  assert.deepEqual(answer.content.map((block) => block.type), ["thinking", "text"]);
});

check("count_tokens", async () => {
  const counted = await client.messages.countTokens({ model, messages: hello });
  const answer = await client.messages.create({ model, max_tokens: 1, messages: hello });
  const { input_tokens, cache_read_input_tokens } = answer.usage;
  assert.equal(counted.input_tokens, input_tokens + (cache_read_input_tokens ?? 0));
});

check("errors", async () => {
  await assert.rejects(
    client.messages.create({ model: "absent", max_tokens, messages: hello }),
    Anthropic.NotFoundError,
  );
  await assert.rejects(
    client.messages.create({ model, max_tokens, messages: [] }),
    Anthropic.BadRequestError,
  );
});

await runChecks();
