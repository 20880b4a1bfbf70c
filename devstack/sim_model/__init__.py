"""A simulated model: an OpenAI-compatible HTTP server whose answers are a function of the request.

It serves test keys, tests and benchmarks, and never poses as a real model: its models are called `sim-small` and
`sim-large`, every plain answer begins with "Simulated answer", and nothing in it learns or reasons.

    python -m devstack.sim_model --port 18080 [--host 127.0.0.1] [--token-delay 0.0]

prints one line `{"ready": true, "port": 18080, "base_url": "http://127.0.0.1:18080/v1"}` and serves until SIGTERM or
SIGINT. Port 0 picks a free one. Keys are neither asked for nor looked at.

Routes
------
`GET  /health`                 `{"status": "ok", "simulated": true}`
`GET  /v1/models`              OpenAI's list; `/v1/models/{id}` one of it
`POST /v1/chat/completions`    stream and not; honours model, messages (text parts too), stream,
                               stream_options.include_usage, max_tokens and max_completion_tokens, stop, seed,
                               response_format (text, json_object, json_schema), tools, tool_choice; n is 1
`POST /faults`                 `{"fault": F, "times": N, "match": TEXT}`: the next N requests (1 unless said, null for
                               all) whose messages contain TEXT (all if left out) meet F; one standing fault a request,
                               oldest first
`GET  /faults`, `DELETE /faults`
`GET  /requests?since=N`       chat requests that arrived after number N: `{"count", "last", "requests": [{"number",
                               "model", "stream", "outcome"}]}`; outcome is running, served, fault or client_gone. The
                               newest 1000 are listed, all are counted. Message text is never kept

Answers
-------
The same model, messages, seed, tools, and response_format give the same answer; any change of them gives another.
- Plain: "Simulated answer …" of 24 to 56 tokens. The marker `[sim:tokens:N]` asks for exactly N.
- `json_schema`: a document valid under the schema (checked before it is sent; a schema beyond the generator is answered
  400 `unsupported_schema`). Optional properties are present. `json_object`: a small object.
- Evaluation, that is a schema with a boolean `accepted` and a string `reason`: accepted, unless a user's message holds the
  marker `[sim:refuse]`.
- The verification document's own example (`add` that returns `a - b`) is found out: where a schema asks for `call`,
  `expected`, `verdict`, `evidence`, `assertion` and the like, the values name that defect.
- Code from a task (`verification_interface`, `_specifications`, `_scenarios`, `_constraints`, `_code`, `_second_code`, `_repair`): `add`, a
  sliding-window rate limiter, else a function that gives back its first argument, with test cases that hold. The marker
  `[sim:defect]` makes the first code defective; its correction is right.
- Claims about code (`verification_tests`, `_reference`, `_remedy`): of `add` calls with their sums, an addition, and the correction of a
  subtraction; of any other function calls with values that nobody seconds, and implementations that only raise.
- `tool_choice` "required" or a named function: one tool call with arguments valid under the tool's parameters.
- Cut at `stop` first, then at max_tokens (finish_reason `length`), also when that breaks a JSON answer, as real ones do.

Tokens
------
A token is up to eight word characters, or one other character, with the white space before it; white space at the very
end is one more. Joined they give the text back, and each is streamed as one chunk. A prompt costs its tokens plus 3 a
message plus 3.

Faults
------
Named in any message text as `[sim:FAULT]`, in the header `X-Sim-Fault: FAULT` or by `POST /faults`; several joined with
commas (header, control) or as several markers. S is seconds, N a number of content chunks.

`latency:S`         S before the status line
`ttft:S`            S between the first (role) chunk and the first token
`pace:S`            S before each further token
`total:S`           the tokens are spread over S
`status:C[:R]`      an error response with status C (400 to 599) and Retry-After R (1 unless said; 429 and 503 only)
`drop`              the connection is reset before any answer
`disconnect[:N]`    the connection is reset after N chunks (0 unless said); not streaming: after half of the body
`truncate[:N]`      the stream ends politely after N chunks, with no finish_reason, usage or `[DONE]`
`error_event[:N]`   after N chunks the stream carries `{"error": …}` and ends
`hang[:N]`          silence: before the status line, or after N chunks, until the client goes away
`garbage_json`      the body, or the first event after the role, is not JSON
`garbage_content`   the content is prose that no schema accepts
`no_usage`          usage is left out, asked for or not
`usage_late[:S]`    the usage chunk comes S after the finish chunk (0.3 unless said)
`gzip`              the response is gzip-encoded, flushed a chunk at a time
`empty`             no content, finish_reason stop
`refusal`           the message has a `refusal` and no content

An unknown marker or fault is answered 400 `unknown_fault`, so that a misspelt one can't pass for a good answer.
"""
