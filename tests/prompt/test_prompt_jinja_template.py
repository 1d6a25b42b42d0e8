"""Chat templates in Jinja: rendered conversations, and refused templates."""

from __future__ import annotations

from datetime import datetime

import pytest

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message, ToolCall, ToolCallFunction

SYSTEM = Message(role="system", content="Be brief.")
ASK = Message(role="user", content="Why?")
ANSWER = Message(role="assistant", content="Because.")
CHAT = [SYSTEM, ASK, ANSWER, ASK]

# From the model SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0).
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"
    " + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LLAMA3 = """{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' }}
    {{- message.content | trim ~ '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content'] + '\n\n' %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set first = '' %}
    {%- set turns = messages %}
{%- endif %}
{%- for turn in turns %}
    {%- if (turn.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate') }}
    {%- endif %}
    {%- set role = 'model' if turn.role == 'assistant' else turn.role %}
    {{- '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}
    {{- turn.content + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\n' }}
{%- endif %}
"""

MISTRAL = """{{- bos_token }}
{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{%- for m in messages %}
    {%- if m.role == 'system' %}
        {{- raise_exception('Only user, assistant and tool roles are supported') }}
    {%- elif m.role == 'user' %}
        {{- '[INST]' + m.content + '[/INST]' }}
    {%- elif m.tool_calls is defined %}
        {%- for call in m.tool_calls %}
            {%- set f = call.function %}
            {{- '[CALL]' + call.id + f.name + (f.arguments | tojson) + '[/CALL]' }}
        {%- endfor %}
    {%- elif m.role == 'tool' %}
        {{- '[RESULT]' + m.tool_call_id + m.name + m.content + '[/RESULT]' }}
    {%- else %}
        {{- m.content + eos_token }}
    {%- endif %}
{%- endfor %}"""


def test_smollm2_adds_its_own_system_text() -> None:
    assert JinjaTemplate(SMOLLM2).render([ASK]) == (
        "<|im_start|>system\n"
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_smollm2_with_a_system_text() -> None:
    assert JinjaTemplate(SMOLLM2).render(CHAT) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\nBecause.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_llama3() -> None:
    template = JinjaTemplate(LLAMA3, bos_token="<|begin_of_text|>")
    assert template.render([SYSTEM, Message(role="user", content=" Why? ")]) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_gemma_puts_the_system_text_into_the_first_turn() -> None:
    assert JinjaTemplate(GEMMA, bos_token="<bos>").render([SYSTEM, ASK, ANSWER, ASK]) == (
        "<bos><start_of_turn>user\nBe brief.\n\nWhy?<end_of_turn>\n"
        "<start_of_turn>model\nBecause.<end_of_turn>\n"
        "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n"
    )


def test_a_template_may_refuse_a_conversation() -> None:
    with pytest.raises(TemplateError, match=r"^Roles must alternate$"):
        JinjaTemplate(GEMMA).render([ASK, ASK])
    with pytest.raises(TemplateError, match=r"^Only user, assistant and tool roles"):
        JinjaTemplate(MISTRAL).render([SYSTEM, ASK])


def test_mistral_with_a_tool_round_trip() -> None:
    tool = {"type": "function", "function": {"name": "add", "description": "a < b & 'é'"}}
    calls = [ToolCall(ToolCallFunction("add", {"b": 2, "a": [1]}), "call_1")]
    messages = [
        ASK,
        Message(role="assistant", tool_calls=calls),
        Message(role="tool", content="3", tool_name="add", tool_call_id="call_1"),
        ANSWER,
    ]
    assert JinjaTemplate(MISTRAL, "<s>", "</s>").render(messages, [tool]) == (
        '<s>[AVAILABLE_TOOLS][{"type": "function", "function": {"name": "add", '
        '"description": "a < b & \'é\'"}}][/AVAILABLE_TOOLS]'
        '[INST]Why?[/INST][CALL]call_1add{"b": 2, "a": [1]}[/CALL]'
        "[RESULT]call_1add3[/RESULT]Because.</s>"
    )


def test_empty_fields_of_messages_are_undefined() -> None:
    source = "{{ messages[0].tool_calls is defined }} {{ 'name' in messages[0] }}"
    assert JinjaTemplate(source).render([ASK]) == "False False"


@pytest.mark.parametrize(
    ("think", "shown"),
    [
        (None, "unset unset unset"),
        (True, "True True unset"),
        (False, "False False unset"),
        ("low", "True True low"),
    ],
)
def test_thinking(think: bool | str | None, shown: str) -> None:
    source = (
        "{{ enable_thinking | default('unset') }} {{ thinking | default('unset') }} "
        "{{ reasoning_effort | default('unset') }}"
    )
    assert JinjaTemplate(source).render([ASK], think=think) == shown


def test_thinking_of_earlier_answers() -> None:
    source = "{{ messages[0].reasoning_content }}={{ messages[0].thinking }}"
    message = Message(role="assistant", content="4", thinking="2+2")
    assert JinjaTemplate(source).render([message]) == "2+2=2+2"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("  {% if true %}\nx\n  {% endif %}\ny", "x\ny"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% for i in [1, 2] %}{{ loop.length }}{{ loop.last }}{% endfor %}", "2False2True"),
        ("{% for i in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
        (
            "{% for i in [1, [2]] recursive %}{{ i if i is number else loop(i) }}{% endfor %}",
            "12",
        ),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}!", "Why?!"),
        ("{{ {'b': '<é>', 'a': 1} | tojson }}", '{"b": "<é>", "a": 1}'),
        ("{{ [1] | tojson(indent=1) }}", "[\n 1\n]"),
        ("{{ 'a' ~ 1 ~ nothing ~ 'b' }}{{ '<' }}", "a1b<"),
        ("{{ 2 + 3 * 2 ** 3 }}{{ [1] + [2] }}{{ 'ab' * 2 }}", "26[1, 2]abab"),
        ("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}", "1"),
        ("{{ messages[0].content.split('h') }}", "['W', 'y?']"),
    ],
)
def test_the_language(source: str, text: str) -> None:
    assert JinjaTemplate(source).render([ASK]) == text


def test_the_date() -> None:
    year = datetime.now().year
    assert JinjaTemplate("{{ strftime_now('%Y') }}").render([]) in {str(year), str(year + 1)}


def test_a_template_serves_many_conversations() -> None:
    template = JinjaTemplate(SMOLLM2)
    first = template.render([ASK])
    assert template.render(CHAT) != first
    assert template.render([ASK]) == first


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(TemplateError, match=r"^line 2: .*nosuch"):
        JinjaTemplate("x\n{% nosuch %}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ messages[0].nope.more }}", "no attribute 'nope'"),
        ("{{ messages[0].content + 1 }}", "concatenate"),
        ("{{ nothing | tojson }}", "Undefined"),
        ("{% include 'other' %}", "no loader"),
    ],
)
def test_failures_at_run_time(source: str, message: str) -> None:
    template = JinjaTemplate(source)
    with pytest.raises(TemplateError, match=message):
        template.render([ASK])
