import { Ollama } from "ollama";
import { assert, check, gather, host, PLAIN, QUESTION, runChecks } from "./checks.mjs";

const client = new Ollama({ host: `http://${host}` });
const hello = [{ role: "user", content: "hello" }];
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", parameters: city } }];

check("generate", async () => {
  const options = { temperature: 0, num_predict: 12 };
  const answer = await client.generate({ model: "smollm2", prompt: "Hello", raw: true, options });
  assert.equal(answer.eval_count, 12);
  const parts = await gather(await client.generate({ model: "caller", prompt: "x", stream: true }));
  assert.equal(parts.map((part) => part.response).join(""), PLAIN);
  assert.equal(parts.at(-1).done_reason, "stop");
});

check("chat", async () => {
  const answer = await client.chat({ model: "caller", messages: hello });
  assert.equal(answer.message.content, PLAIN);
  const parts = await gather(await client.chat({ model: "caller", messages: hello, stream: true }));
  assert.equal(parts.map((part) => part.message.content).join(""), PLAIN);
});

check("tools", async () => {
  const messages = [{ role: "user", content: "call it" }];
  const { message } = await client.chat({ model: "caller", messages, tools });
  assert.deepEqual(message.tool_calls[0].function.arguments, { city: "Paris" });
  messages.push(message, { role: "tool", tool_name: "get_weather", content: "sunny" });
  const answer = await client.chat({ model: "caller", messages, tools });
  assert.equal(answer.message.content, PLAIN);
});

check("think", async () => {
  const messages = [{ role: "user", content: "What is 3^3?" }];
  const { message } = await client.chat({ model: "thinker", messages, think: true });
  assert.equal(message.thinking, "Three times three times three.");
  assert.equal(message.content, "That makes 27.");
});

check("format", async () => {
  const messages = [{ role: "user", content: "Tell me a joke about cats." }];
  const text = { type: "string" };
  const properties = { setup: text, punchline: text };
  const format = { type: "object", properties, required: ["setup", "punchline"] };
  const { message } = await client.chat({ model: "caller", messages, format });
  assert.deepEqual(Object.keys(JSON.parse(message.content)), ["setup", "punchline"]);
});

check("embed", async () => {
  const answer = await client.embed({ model: "all-minilm", input: ["one", "two"] });
  assert.deepEqual(answer.embeddings.map((vector) => vector.length), [384, 384]);
  const old = await client.embeddings({ model: "all-minilm", prompt: "one" });
  assert.equal(old.embedding.length, 384);
});

check("models", async () => {
  const steps = await gather(
    await client.create({ model: "parrot", from: "smollm2", system: "Kraa.", stream: true }),
  );
  assert.equal(steps.at(-1).status, "success");
  await client.copy({ source: "parrot", destination: "cockatoo" });
  const shown = await client.show({ model: "cockatoo" });
  assert.match(shown.modelfile, /Kraa/);
  const names = (await client.list()).models.map((model) => model.name);
  assert.ok(names.includes("cockatoo:latest"));
  for (const model of ["parrot", "cockatoo"]) {
    assert.equal((await client.delete({ model })).status, "success");
  }
  await client.generate({ model: "smollm2", prompt: "" });
  const loaded = (await client.ps()).models.map((model) => model.name);
  assert.ok(loaded.includes("smollm2:latest"));
  assert.ok((await client.version()).version);
});

check("errors", async () => {
  await assert.rejects(client.chat({ model: "absent", messages: hello }), (error) => {
    assert.equal(error.status_code, 404);
    assert.match(error.message, /model 'absent' not found/);
    return true;
  });
  await assert.rejects(client.chat({ model: "smollm2", messages: hello, tools }), /tools/);
});

check("abort", async () => {
  const stream = await client.chat({ model: "smollm2", messages: [QUESTION], stream: true });
  await assert.rejects(
    (async () => {
      for await (const part of stream) {
        assert.ok(part.message);
        stream.abort();
      }
    })(),
    { name: "AbortError" },
  );
});

await runChecks();
