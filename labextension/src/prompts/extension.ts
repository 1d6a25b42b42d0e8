import { type Language, language } from '@codemirror/language';
import {
  Compartment,
  EditorState,
  type Extension,
  Prec,
  StateEffect,
  StateField,
  type Text
} from '@codemirror/state';
import {
  Decoration,
  type DecorationSet,
  EditorView,
  hoverTooltip,
  ViewPlugin
} from '@codemirror/view';

import { isChat } from '../cells';
import { type IPrompt, type IVariable, promptOf } from './prompt';

const MAGIC = Decoration.mark({ class: 'jpo-prompt-magic' });
const MODEL = Decoration.mark({ class: 'jpo-prompt-model' });
const FIELD = Decoration.mark({ class: 'jpo-prompt-field' });

const REFRESH = StateEffect.define<null>();
/** No language besides that of the kernel. */
const KERNELS: Extension = [];

/** Describe a variable of the kernel of an editor; null if the kernel does not know it. */
export type Inspect = (view: EditorView, name: string) => Promise<IVariable | null>;

/** An extension of the editors of cells, which can be switched off for all of them. */
export class PromptCells {
  constructor(
    private readonly _inspect: Inspect,
    private readonly _markdown: () => Promise<Language | undefined>,
    private readonly _unknown: string
  ) {}

  /** Whether cells that ask a model are shown as prose. */
  set isEnabled(value: boolean) {
    this._isEnabled = value;
    this.refresh();
  }

  /** Return the extension of one editor, which has a text already. */
  extension(source: string): Extension {
    const slot = new Compartment();
    const prompt = StateField.define<IPrompt | undefined>({
      create: state => this.promptIn(state.doc),
      update: (value, change) =>
        change.docChanged || change.effects.some(one => one.is(REFRESH))
          ? this.promptIn(change.state.doc)
          : value,
      provide: field => EditorView.decorations.from(field, decorations)
    });
    const views = this._views;
    return [
      prompt,
      slot.of(this.languageOf(source)),
      EditorState.transactionExtender.of(change => {
        const wanted = this.languageOf(change.newDoc.line(1).text);
        const isChanged = wanted !== slot.get(change.startState);
        return isChanged ? { effects: slot.reconfigure(wanted) } : null;
      }),
      hoverTooltip(async (view, position) => {
        const field = view.state
          .field(prompt)
          ?.fields.find(one => one.from <= position && position <= one.to);
        if (!field) {
          return null;
        }
        const variable = await this._inspect(view, field.name);
        const dom = tooltip(field.name, variable, this._unknown);
        return { pos: field.from, end: field.to, above: true, create: () => ({ dom }) };
      }),
      ViewPlugin.define(view => {
        views.add(view);
        // The settings may have arrived since the extension was made.
        if (this.languageOf(source) !== slot.get(view.state)) {
          queueMicrotask(() => this.refresh());
        }
        return { destroy: () => void views.delete(view) };
      })
    ];
  }

  private promptIn(text: Text): IPrompt | undefined {
    const isPrompt = this._isEnabled && isChat(text.line(1).text);
    return isPrompt ? promptOf(text.toString()) : undefined;
  }

  /** Return the language that replaces that of the kernel, if a cell begins like a prompt. */
  private languageOf(start: string): Extension {
    if (!this._isEnabled || !isChat(start)) {
      return KERNELS;
    }
    void (this._loading ??= this.load());
    return this._prose;
  }

  /** Load the language of prompts with the first one. Until then cells keep their language. */
  private async load(): Promise<void> {
    const markdown = await this._markdown().catch(() => undefined);
    if (markdown) {
      this._prose = Prec.highest(language.of(markdown));
      this.refresh();
    }
  }

  private refresh(): void {
    this._views.forEach(view => view.dispatch({ effects: REFRESH.of(null) }));
  }

  private readonly _views = new Set<EditorView>();
  private _loading: Promise<void> | null = null;
  private _prose = KERNELS;
  private _isEnabled = true;
}

function decorations(prompt: IPrompt | undefined): DecorationSet {
  if (!prompt) {
    return Decoration.none;
  }
  const { magic, model, fields } = prompt;
  return Decoration.set([
    MAGIC.range(magic.from, magic.to),
    ...(model ? [MODEL.range(model.from, model.to)] : []),
    ...fields.map(field => FIELD.range(field.from, field.to))
  ]);
}

function tooltip(name: string, variable: IVariable | null, unknown: string): HTMLElement {
  const node = document.createElement('div');
  node.className = 'jpo-prompt-tooltip';
  const add = (tag: string, className: string, text: string) => {
    const part = node.appendChild(document.createElement(tag));
    part.className = className;
    part.textContent = text;
  };
  add('code', '', name);
  add('span', 'jpo-detail', variable?.type ?? unknown);
  if (variable?.value) {
    add('pre', '', variable.value);
  }
  return node;
}
