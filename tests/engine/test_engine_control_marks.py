"""Texts of users, documents and tools never become control tokens, in any template."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from scripted_model import write_scripts

from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.pooled_text import text_tokens
from jupyter_ollama.engine.prompting import Prompter
from jupyter_ollama.engine.protocol import ChatPrompt, RawPrompt, SuffixPrompt
from jupyter_ollama.prompt.messages import Message, ToolCall, ToolCallFunction
from jupyter_ollama.prompt.renderers.table import RENDERERS

MARKS = """
<|im_start|> <|im_end|> <|endoftext|> <|begin_of_text|> <|start_header_id|> <|end_header_id|>
<|eot_id|> <|python_tag|> <s> </s> [INST] [/INST] [TOOL_CALLS] [AVAILABLE_TOOLS] [SYSTEM_PROMPT]
<bos> <eos> <start_of_turn> <end_of_turn> <|turn> <turn|> <|channel> <channel|> <|tool_call>
<|start|> <|channel|> <|message|> <|call|> <|return|> <|user|> <|assistant|> <|system|>
<|observation|> [gMASK] <sop> <|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|USER_TOKEN|>
<|CHATBOT_TOKEN|> <|START_THINKING|> <|END_THINKING|> <|tool_list_start|> <|tool_list_end|>
<|tool_response_start|> <|tool_response_end|> <start_function_call> <end_function_call>
""".split()  # noqa: SIM905 - a list of that many quotes is not easier to read
MARKS += [
    "<\uff5cbegin▁of▁sentence\uff5c>",
    "<\uff5cend▁of▁sentence\uff5c>",
    "<\uff5cUser\uff5c>",
    "<\uff5cAssistant\uff5c>",
    "<\uff5ctool▁calls▁begin\uff5c>",
    "<\uff5ctool▁call▁end\uff5c>",
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
GO = (
    "{{ if .Tools }}{{ .Tools }}{{ end }}{{ range .Messages }}<|start_header_id|>{{ .Role }}"
    "<|end_header_id|>\n\n{{ .Content }}{{ range .ToolCalls }}{{ .Function.Name }}"
    "{{ .Function.Arguments }}{{ end }}<|eot_id|>{{ end }}"
)
WORDS = [
    "Hello",
    " world",
    "\n",
    " ",
    "system",
    "user",
    "assistant",
    "é",
    "日本",
    "🙂",
    "<",
    "|>",
    "{",
    '"',
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LlamaModel:
    """A vocabulary of bytes, and of the control tokens of all families."""
    path = tmp_path_factory.mktemp("marks") / "model.gguf"
    write_scripts(path, {"x": "An answer."}, template=CHATML, special=MARKS)
    return LlamaModel(str(path))


def some_text(rng: random.Random, marks: list[str]) -> str:
    return "".join(rng.choice((*WORDS, *marks)) for _ in range(rng.randrange(1, 12)))


def without_tags(text: str) -> str:
    """Remove the tags of thoughts: templates look for them in the model's messages."""
    for tag in ("<|channel>", "<channel|>", "<|START_THINKING|>", "<|END_THINKING|>"):
        text = text.replace(tag, "")
    return text


def conversation(text: list[str]) -> list[Message]:
    """A conversation with texts of others in every place that has one."""
    call = ToolCall(ToolCallFunction("look", {"where": text[2], text[3]: [text[4]]}), id="call-1")
    return [
        Message("system", text[0]),
        Message("user", text[1]),
        Message("assistant", without_tags(text[5]), tool_calls=[call]),
        Message("tool", text[6], tool_name="look", tool_call_id="call-1"),
        Message("user", text[7]),
    ]


def tools(text: list[str]) -> list[dict[str, object]]:
    properties = {"where": {"type": "string", "description": text[8]}}
    parameters = {"type": "object", "properties": properties, "required": ["where"]}
    function = {"name": "look", "description": text[9], "parameters": parameters}
    return [{"type": "function", "function": function}]


WAYS = {
    "jinja": {},
    "go": {"template": GO},
    **{f"renderer {name}": {"renderer": name, "parser": name} for name in RENDERERS},
}


@pytest.mark.parametrize("way", WAYS)
def test_texts_add_no_control_tokens(model: LlamaModel, way: str) -> None:
    prompter = Prompter(model)
    control = {model.tokenize(mark, special=False)[0] for mark in MARKS}
    rng = random.Random(way)

    def controls_of(text: list[str]) -> list[int]:
        prompt = ChatPrompt(messages=conversation(text), tools=tools(text), **WAYS[way])
        rendered = prompter.render(prompt, 10**6)
        tokens = prompter.tokens(prompt, rendered).tokens
        assert model.detokenize(tokens, special=True) == rendered.text
        return [token for token in tokens if token in control]

    for _ in range(40):
        with_marks = [some_text(rng, MARKS) for _ in range(10)]
        # The same texts, the names of tokens cut in two.
        without = [cut(text) for text in with_marks]
        assert controls_of(with_marks) == controls_of(without)


def cut(text: str) -> str:
    for mark in sorted(MARKS, key=len, reverse=True):
        text = text.replace(mark, f"{mark[0]}.{mark[1:]}")
    return text


def test_ten_thousand_texts_are_the_tokens_of_plain_text(smollm2_f16: Path) -> None:
    model = LlamaModel(str(smollm2_f16))
    prompter = Prompter(model)
    names = [name for name in MARKS if len(model.tokenize(name, special=False)) == 1]
    assert {"<|im_start|>", "<|im_end|>"} <= set(names)
    start, end = (model.tokenize(name, special=False)[0] for name in ("<|im_start|>", "<|im_end|>"))
    rng = random.Random(0)
    forged = 0
    for _ in range(10_000):
        text = some_text(rng, MARKS)
        prompt = ChatPrompt(messages=[Message("system", "x"), Message("user", text)])
        tokens = prompter.tokens(prompt, prompter.render(prompt, 4096)).tokens
        begin = len(tokens) - 1 - tokens[::-1].index(end)
        first = [place for place, token in enumerate(tokens[:begin]) if token == start][-1]
        plain = model.tokenize(f"user\n{text}", special=False, parse_special=False)
        assert tokens[first + 1 : begin] == plain
        forged += any(name in text for name in names)
    assert forged > 1000


@pytest.mark.parametrize("way", WAYS)
def test_prompts_without_marks_are_tokenized_as_before(model: LlamaModel, way: str) -> None:
    prompter = Prompter(model)
    rng = random.Random(way)
    for _ in range(20):
        text = [some_text(rng, []) for _ in range(10)]
        prompt = ChatPrompt(messages=conversation(text), tools=tools(text), **WAYS[way])
        rendered = prompter.render(prompt, 10**6)
        tokens = prompter.tokens(prompt, rendered).tokens
        assert tokens == model.tokenize(rendered.text, special=True)


def test_raw_prompts_keep_their_marks(model: LlamaModel) -> None:
    prompter = Prompter(model)
    prompt = RawPrompt("<|im_start|>user\nHi \ufdd0\ufdd0<|im_end|>\n")
    rendered = prompter.render(prompt, 4096)
    assert rendered.text == prompt.text
    assert prompter.tokens(prompt, rendered).tokens == model.tokenize(prompt.text, special=True)


def test_texts_around_a_gap_add_no_control_tokens(model: LlamaModel) -> None:
    prompter = Prompter(model)
    template = "<|start|>{{ .Prompt }}<|message|>{{ .Suffix }}<|return|>"
    prompt = SuffixPrompt("a<|message|>b", "c<|return|>d", template)
    rendered = prompter.render(prompt, 4096)
    tokens = prompter.tokens(prompt, rendered).tokens
    assert model.detokenize(tokens, special=True) == rendered.text
    control = [model.tokenize(mark, special=False)[0] for mark in MARKS]
    names = [MARKS[control.index(token)] for token in tokens if token in control]
    assert names == ["<|start|>", "<|message|>", "<|return|>"]


def test_texts_to_embed_and_to_rank_are_text(model: LlamaModel) -> None:
    text = "Hello <|im_end|> world"
    tokens = text_tokens(model, text, 512, truncate=True)
    assert tokens == model.tokenize(text, special=True, parse_special=False)
    assert len(tokens) == len(text.encode())


def test_images_beside_forged_marks(model: LlamaModel) -> None:
    pieces = model.control_marks.pieces(
        f"<|im_start|>{model.control_marks.guarded('[img-0]<|im_end|>')}<|im_end|>"
    )
    assert [(piece.text, piece.is_markup) for piece in pieces] == [
        ("<|im_start|>", True),
        ("[img-0]<|im_end|>", False),
        ("<|im_end|>", True),
    ]
