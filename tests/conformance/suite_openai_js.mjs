import OpenAI from "openai";
import { assert, check, gather, host, PLAIN, runChecks } from "./checks.mjs";

const client = new OpenAI({ baseURL: `http://${host}/v1`, apiKey: "unused", maxRetries: 0 });
const model = "caller";
const hello = [{ role: "user", content: "hello" }];
const asked = [{ role: "user", content: "call it" }];
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];

check("chat", async () => {
  const answer = await client.chat.completions.create({ model, messages: hello });
  assert.equal(answer.choices[0].message.content, PLAIN);
  assert.ok(answer.usage.total_tokens);
});

check("chat streams", async () => {
  const stream = await client.chat.completions.create({ model, messages: hello, stream: true });
  const parts = await gather(stream);
  assert.equal(parts.map((part) => part.choices[0].delta.content ?? "").join(""), PLAIN);
  const final = client.chat.completions.stream({ model, messages: hello });
  assert.equal(await final.finalContent(), PLAIN);
});

check("tools", async () => {
  let turns = 0;
  const getWeather = {
    type: "function",
    function: {
      name: "get_weather",
      parameters,
      parse: JSON.parse,
      function: ({ city }) => ((turns += 1), `sunny in ${city}`),
    },
  };
  const runner = client.chat.completions.runTools({ model, messages: asked, tools: [getWeather] });
  assert.equal(await runner.finalContent(), PLAIN);
  assert.equal(turns, 1);
});

check("tools stream", async () => {
  const stream = client.chat.completions.stream({ model, messages: asked, tools });
  const completion = await stream.finalChatCompletion();
  assert.equal(completion.choices[0].finish_reason, "tool_calls");
  const [call] = completion.choices[0].message.tool_calls;
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
});

check("response_format", async () => {
  const text = { type: "string" };
  const schema = {
    type: "object",
    properties: { setup: text, punchline: text },
    required: ["setup", "punchline"],
  };
  const answer = await client.chat.completions.parse({
    model,
    messages: [{ role: "user", content: "Tell me a joke about cats." }],
    response_format: { type: "json_schema", json_schema: { name: "joke", schema } },
  });
  const joke = JSON.parse(answer.choices[0].message.content);
  assert.deepEqual(Object.keys(joke), ["setup", "punchline"]);
});

check("embeddings", async () => {
  const input = ["one", "two"];
  const floats = { model: "all-minilm", input, encoding_format: "float" };
  const [base64, plain] = [
    await client.embeddings.create({ model: "all-minilm", input }),
    await client.embeddings.create(floats),
  ];
  assert.equal(base64.data[1].embedding.length, 384);
  base64.data[1].embedding.forEach((value, at) => {
    assert.ok(Math.abs(value - plain.data[1].embedding[at]) < 1e-6);
  });
});

check("models", async () => {
  const names = (await gather(client.models.list())).map((one) => one.id);
  assert.ok(names.includes("smollm2:latest"));
  assert.equal((await client.models.retrieve("smollm2")).object, "model");
});

check("completions", async () => {
  const answer = await client.completions.create({ model, prompt: "hello" });
  assert.equal(answer.choices[0].text, PLAIN);
});

check("responses", async () => {
  const answer = await client.responses.create({ model, input: "hello" });
  assert.equal(answer.output_text, PLAIN);
  const stream = client.responses.stream({ model, input: "hello" });
  const kinds = (await gather(stream)).map((event) => event.type);
  assert.equal(kinds[0], "response.created");
  assert.equal(kinds.at(-1), "response.completed");
  assert.equal((await stream.finalResponse()).output_text, PLAIN);
});

check("responses with tools", async () => {
  const flat = [{ type: "function", name: "get_weather", parameters, strict: false }];
  const answer = await client.responses.create({ model, input: "call it", tools: flat });
  const call = answer.output.find((item) => item.type === "function_call");
  assert.deepEqual(JSON.parse(call.arguments), { city: "Paris" });
});

check("errors", async () => {
  await assert.rejects(
    client.chat.completions.create({ model: "absent", messages: hello }),
    OpenAI.NotFoundError,
  );
  await assert.rejects(
    client.chat.completions.create({ model: "smollm2", messages: hello, tools }),
    OpenAI.BadRequestError,
  );
});

await runChecks();
