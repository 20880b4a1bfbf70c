// OpenAI's own Node package against a base URL: prints what it saw as one JSON object. Its answers are judged in Python.
import OpenAI from "openai";

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const asked = (text) => [{ role: "user", content: `${text} (${Math.random()})` }];
const tool = {
  type: "function",
  function: {
    name: "find_weather",
    parameters: {
      type: "object",
      properties: { town: { type: "string" } },
      required: ["town"],
      additionalProperties: false,
    },
  },
};
const schema = {
  type: "object",
  properties: { name: { type: "string" } },
  required: ["name"],
  additionalProperties: false,
};

async function refusal(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return { class: error.constructor.name, status: error.status ?? null, code: error.code ?? null, param: error.param ?? null };
  }
}

const complete = (members, options) =>
  client.chat.completions.create({ model, messages: asked("Say something short."), ...members }, options);

const seen = {};
seen.models = (await client.models.list()).data.map((one) => one.id);
seen.completion = await complete({ max_tokens: 64 });

seen.stream = { text: "", usage: null, finish: null };
for await (const chunk of await complete({ stream: true, stream_options: { include_usage: true } })) {
  seen.stream.text += chunk.choices[0]?.delta?.content ?? "";
  seen.stream.finish = chunk.choices[0]?.finish_reason ?? seen.stream.finish;
  seen.stream.usage = chunk.usage ?? seen.stream.usage;
}

seen.tool = (await complete({ tools: [tool], tool_choice: "required" })).choices[0].message.tool_calls[0].function;
const stream = client.chat.completions.stream({ model, messages: asked("Which?"), tools: [tool], tool_choice: "required" });
seen.streamedTool = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0].function;
seen.document = (
  await complete({ response_format: { type: "json_schema", json_schema: { name: "thing", schema, strict: true } } })
).choices[0].message.content;

seen.refusals = {
  key: await refusal(() => new OpenAI({ baseURL, apiKey: "nonsense", maxRetries: 0 }).chat.completions.create({ model, messages: asked("Hi.") })),
  model: await refusal(() => complete({ model: "nothing" })),
  parameter: await refusal(() => complete({ n: 2 })),
  policy: await refusal(() => complete({ policy: { policy_version: "1.0", allow_regions: ["moon"] } })),
  upstream: await refusal(() => complete({ messages: asked("[sim:drop]") })),
  streamed: await refusal(() => complete({ messages: asked("[sim:drop]"), stream: true })),
  timeout: await refusal(() => complete({ messages: asked("[sim:ttft:3]") }, { timeout: 500 })),
};

console.log(JSON.stringify(seen));
