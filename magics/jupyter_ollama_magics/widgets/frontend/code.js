// Colours of code, for the languages of notebooks. Their names are classes; chat.css colours them.

import DOMPurify from "dompurify";
import highlighter from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import cpp from "highlight.js/lib/languages/cpp";
import diff from "highlight.js/lib/languages/diff";
import ini from "highlight.js/lib/languages/ini";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import julia from "highlight.js/lib/languages/julia";
import python from "highlight.js/lib/languages/python";
import r from "highlight.js/lib/languages/r";
import sql from "highlight.js/lib/languages/sql";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";

const languages = { bash, cpp, diff, ini, javascript, json, julia, python, r, sql, xml, yaml };
for (const [name, language] of Object.entries(languages)) {
  highlighter.registerLanguage(name, language);
}
highlighter.registerAliases(["python3", "jupyter"], { languageName: "python" });
highlighter.registerAliases(["shell", "console"], { languageName: "bash" });
highlighter.registerAliases(["typescript", "ts"], { languageName: "javascript" });
highlighter.registerAliases(["postgresql", "sqlite", "mysql"], { languageName: "sql" });

const ALLOWED = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };

/** Highlight the `code` element of a block in the language of its class. */
export function colour(code) {
  const language = /(?:^| )language-(\S+)/.exec(code.className)?.[1];
  if (!language || !highlighter.getLanguage(language)) return;
  const { value } = highlighter.highlight(code.textContent, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, ALLOWED));
}
