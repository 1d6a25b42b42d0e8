import type {
  CompletionHandler,
  IInlineCompletionContext,
  IInlineCompletionItem,
  IInlineCompletionList,
  IInlineCompletionProvider
} from '@jupyterlab/completer';
import type { LabIcon } from '@jupyterlab/ui-components';

import type { GenerateRequest, OllamaApi } from '../api';
import { cellMark, gapOf, type ISurroundings, scopeComment, trimmed } from './context';

/** The settings of the user. */
export interface ICompleterSettings {
  model: string;
  maxTokens: number;
  prefixCharacters: number;
  suffixCharacters: number;
  delayMilliseconds: number;
  languages: readonly string[];
  /** Whether the names that the kernel knows are sent. */
  namesInScope: boolean;
}

export interface IProviderOptions {
  api: Pick<OllamaApi, 'generate' | 'show'>;
  /** The model, if the settings name none. */
  defaultModel: () => string | undefined;
  /** Return the text around the cursor, and call `onLeave` when it changes or the cursor moves. */
  surroundings: (
    request: CompletionHandler.IRequest,
    context: IInlineCompletionContext,
    onLeave: () => void
  ) => ISurroundings;
  name: string;
  icon?: LabIcon.ILabIcon;
}

interface ICompletionOptions {
  temperature: number;
  num_predict: number;
  stop: string[];
}

interface IWaiting {
  request: GenerateRequest;
  around: ISurroundings;
  controller: AbortController;
}

const LANGUAGE = /(?:text|application)\/(?:x-)?([\w+#-]+?)(?:src)?$/;
/** JupyterLab's MIME types of cells. */
const CELLS: Readonly<Record<string, string>> = { ipython: 'python', ipythongfm: 'markdown' };

/** Return the language of a MIME type: "python" of "text/x-ipython", "r" of "text/x-rsrc". */
export function languageOf(mimeType: string | undefined): string {
  const name = LANGUAGE.exec(mimeType ?? '')?.[1] ?? '';
  return CELLS[name] ?? name;
}

/** Completions of a model at the cursor. One request runs at a time. */
export class OllamaCompleter implements IInlineCompletionProvider<IInlineCompletionItem> {
  readonly identifier = 'jupyter-ollama:completer';
  readonly name: string;
  readonly icon?: LabIcon.ILabIcon;

  constructor(private readonly _options: IProviderOptions) {
    this.name = _options.name;
    this.icon = _options.icon;
  }

  enabled = true;
  settings: ICompleterSettings = {
    model: '',
    maxTokens: 128,
    prefixCharacters: 4000,
    suffixCharacters: 1000,
    delayMilliseconds: 150,
    languages: [],
    namesInScope: true
  };

  /** Return one empty item, which `stream` fills. */
  async fetch(
    request: CompletionHandler.IRequest,
    context: IInlineCompletionContext
  ): Promise<IInlineCompletionList<IInlineCompletionItem>> {
    this.abort();
    const controller = new AbortController();
    this._running = controller;
    const { languages, namesInScope, prefixCharacters, suffixCharacters } = this.settings;
    const model = this.settings.model || this._options.defaultModel();
    const language = languageOf(request.mimeType);
    if (!this.enabled || !model || (languages.length && !languages.includes(language))) {
      return { items: [] };
    }
    const around = this._options.surroundings(request, context, () => controller.abort());
    const known = this.restOfLast(model, around);
    if (known) {
      return { items: [{ insertText: known }] };
    }
    const mark = cellMark(language);
    const code = gapOf(around, prefixCharacters, suffixCharacters, mark);
    if (!code.prompt.trim()) {
      return { items: [] };
    }
    const scope = namesInScope ? scopeComment(around.scope ?? [], language) : '';
    // At the beginning it stays in the server's prefix cache while the user types.
    const gap = { ...code, prompt: scope + code.prompt };
    const options = { temperature: 0, num_predict: this.settings.maxTokens, stop: [mark] };
    const body = (await this.canInsert(model))
      ? { model, ...gap, suffix: gap.suffix || '\n', options }
      : continuation(model, gap.prompt, options);
    if (controller.signal.aborted) {
      return { items: [] };
    }
    const token = String(++this._count);
    this._waiting.clear();
    this._waiting.set(token, { request: body, around, controller });
    return { items: [{ insertText: '', isIncomplete: true, token }] };
  }

  /** Fill an item, a token at a time. A key ends the stream without an error. */
  async *stream(token: string): AsyncGenerator<{ response: IInlineCompletionItem }> {
    const waiting = this._waiting.get(token);
    this._waiting.delete(token);
    if (!waiting) {
      return;
    }
    const { signal } = waiting.controller;
    const { around } = waiting;
    const { suffix } = around;
    let written = '';
    try {
      await pause(this.settings.delayMilliseconds, signal);
      for await (const event of this._options.api.generate(waiting.request, signal)) {
        written += event.response ?? '';
        const insertText = trimmed(written, suffix);
        const isCut = insertText.length < written.trimEnd().length;
        if (event.done || isCut) {
          this._last = { model: waiting.request.model, around, written: insertText };
        }
        yield { response: { insertText, isIncomplete: !event.done && !isCut } };
        if (isCut) {
          break;
        }
      }
    } catch (error) {
      if (!signal.aborted) {
        const message = (error as Error).message;
        yield {
          response: { insertText: trimmed(written, suffix), error: { message } }
        };
      }
    }
  }

  /** Abort the running request. */
  abort(): void {
    this._running?.abort();
  }

  /** Return the rest of the last completion if the user types its text. */
  private restOfLast(model: string, { prefix, suffix }: ISurroundings): string {
    if (this._last?.model !== model || this._last.around.suffix !== suffix) {
      return '';
    }
    const { around, written } = this._last;
    const whole = around.prefix + written;
    const isOnTheWay = prefix.length >= around.prefix.length && whole.startsWith(prefix);
    return isOnTheWay ? whole.slice(prefix.length) : '';
  }

  private async canInsert(model: string): Promise<boolean> {
    let known = this._canInsert.get(model);
    if (known === undefined) {
      try {
        known = !!(await this._options.api.show(model)).capabilities?.includes('insert');
        this._canInsert.set(model, known);
      } catch {
        // The request itself reports an error of the model.
        known = false;
      }
    }
    return known;
  }

  private _last: { model: string; around: ISurroundings; written: string } | null = null;
  private readonly _canInsert = new Map<string, boolean>();
  private readonly _waiting = new Map<string, IWaiting>();
  private _running: AbortController | null = null;
  private _count = 0;
}

/** Return a request to continue a text, without the template of the model. */
function continuation(model: string, prompt: string, options: ICompletionOptions): GenerateRequest {
  // Such a model does not stop by itself; text after an empty line is rarely useful.
  return { model, prompt, raw: true, options: { ...options, stop: [...options.stop, '\n\n'] } };
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
